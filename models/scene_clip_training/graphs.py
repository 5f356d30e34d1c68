"""Writes the two towers as ONNX graphs that hold no weights: every one is a piece of the safetensors file beside them.

So what ONNX Runtime runs and what open_clip loads are the same bytes; the graphs only turn float16 into float32.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.scene_clip_training.network import MODEL_CONFIG, PREPROCESS_CONFIG

WEIGHTS_FILE = "open_clip_model.safetensors"
OPSET = 20
_IR_VERSION = 10
_EPSILON = 1e-5


def write_graphs(folder: Path) -> None:
    """Write `image.onnx` and `text.onnx` beside the weights that lie in `folder`."""
    pieces = _pieces_of(folder / WEIGHTS_FILE)
    onnx.save(_image_graph(_Graph(pieces)), folder / "image.onnx")
    onnx.save(_text_graph(_Graph(pieces)), folder / "text.onnx")


def _pieces_of(path: Path) -> dict[str, tuple[list[int], int, int]]:
    """Shape, offset in the file and length in bytes of every tensor (https://github.com/huggingface/safetensors)."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    header.pop("__metadata__", None)
    assert all(entry["dtype"] == "F16" for entry in header.values())
    return {
        name: (entry["shape"], 8 + size + entry["data_offsets"][0], entry["data_offsets"][1] - entry["data_offsets"][0])
        for name, entry in header.items()
    }


class _Graph:
    """Collects nodes; every method adds what it is named after and returns the name of the result."""

    def __init__(self, pieces: dict[str, tuple[list[int], int, int]]) -> None:
        self._pieces = pieces
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._weights: dict[str, str] = {}

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        result = f"{kind.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [result], **attributes))
        return result

    def weight(self, name: str) -> str:
        """A tensor of the weights file, as float32."""
        if name not in self._weights:
            shape, offset, length = self._pieces[name]
            tensor = TensorProto(name=name, data_type=TensorProto.FLOAT16, dims=shape)
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", WEIGHTS_FILE), ("offset", offset), ("length", length)):
                tensor.external_data.add(key=key, value=str(value))
            self._constants.append(tensor)
            self._weights[name] = self.add("Cast", name, to=TensorProto.FLOAT)
        return self._weights[name]

    def constant(self, value: Any) -> str:
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, dtype=np.int64))

    def norm(self, x: str, name: str) -> str:
        scale, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.add("LayerNormalization", x, scale, bias, epsilon=_EPSILON)

    def linear(self, x: str, weight: str, bias: str) -> str:
        turned = self.add("Transpose", self.weight(weight), perm=[1, 0])
        return self.add("Add", self.add("MatMul", x, turned), self.weight(bias))

    def blocks(self, x: str, prefix: str, *, layers: int, width: int, heads: int, mask: str | None) -> str:
        """The layers of a transformer over `x` of shape (1, n, width)."""
        for layer in range(layers):
            name = f"{prefix}transformer.resblocks.{layer}"
            seen = self._attention(self.norm(x, f"{name}.ln_1"), f"{name}.attn", width, heads, mask)
            x = self.add("Add", x, seen)
            inner = self.linear(self.norm(x, f"{name}.ln_2"), f"{name}.mlp.c_fc.weight", f"{name}.mlp.c_fc.bias")
            inner = self.add("Gelu", inner)
            x = self.add("Add", x, self.linear(inner, f"{name}.mlp.c_proj.weight", f"{name}.mlp.c_proj.bias"))
        return x

    def _attention(self, x: str, name: str, width: int, heads: int, mask: str | None) -> str:
        whole = self.linear(x, f"{name}.in_proj_weight", f"{name}.in_proj_bias")
        split = self.add("Reshape", whole, self.integers(-1, 3, heads, width // heads))
        turned = self.add("Transpose", split, perm=[1, 2, 0, 3])  # (3, heads, n, head width)
        query, key, value = (self.add("Gather", turned, self.constant(np.int64(part)), axis=0) for part in range(3))
        scale = self.constant(np.float32((width // heads) ** -0.5))
        scores = self.add("MatMul", self.add("Mul", query, scale), self.add("Transpose", key, perm=[0, 2, 1]))
        scores = self.add("Add", scores, mask) if mask else scores
        mixed = self.add("MatMul", self.add("Softmax", scores, axis=-1), value)
        joined = self.add("Reshape", self.add("Transpose", mixed, perm=[1, 0, 2]), self.integers(1, -1, width))
        return self.linear(joined, f"{name}.out_proj.weight", f"{name}.out_proj.bias")

    def unit(self, x: str) -> str:
        """The vector of shape (1, dims) at length 1, as shape (dims,)."""
        length = self.add("ReduceL2", x, self.integers(1), keepdims=1)
        return self.add("Reshape", self.add("Div", x, length), self.integers(-1))

    def finish(self, name: str, given: Any, result: str) -> Any:
        self._nodes.append(helper.make_node("Identity", [result], ["vector"]))
        made = helper.make_tensor_value_info("vector", TensorProto.FLOAT, [MODEL_CONFIG["embed_dim"]])
        graph = helper.make_graph(self._nodes, name, [given], [made], initializer=self._constants)
        opset = helper.make_opsetid("", OPSET)
        return helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION, producer_name="interlake")


def _image_graph(graph: _Graph) -> Any:
    """`pixels`, uint8 of shape (side, side, 3), to `vector`."""
    vision = MODEL_CONFIG["vision_cfg"]
    side, patch, width = vision["image_size"], vision["patch_size"], vision["width"]
    shades = graph.add("Div", graph.add("Cast", "pixels", to=TensorProto.FLOAT), graph.constant(np.float32(255)))
    mean, std = (graph.constant(np.array(PREPROCESS_CONFIG[key], dtype=np.float32)) for key in ("mean", "std"))
    shades = graph.add("Div", graph.add("Sub", shades, mean), std)
    planes = graph.add("Unsqueeze", graph.add("Transpose", shades, perm=[2, 0, 1]), graph.integers(0))
    patches = graph.add("Conv", planes, graph.weight("visual.conv1.weight"), strides=[patch, patch])
    patches = graph.add("Transpose", graph.add("Reshape", patches, graph.integers(1, width, -1)), perm=[0, 2, 1])
    first = graph.add("Reshape", graph.weight("visual.class_embedding"), graph.integers(1, 1, width))
    x = graph.add("Concat", first, patches, axis=1)
    x = graph.norm(graph.add("Add", x, graph.weight("visual.positional_embedding")), "visual.ln_pre")
    heads = width // vision["head_width"]
    x = graph.blocks(x, "visual.", layers=vision["layers"], width=width, heads=heads, mask=None)
    pooled = graph.norm(graph.add("Gather", x, graph.constant(np.int64(0)), axis=1), "visual.ln_post")
    vector = graph.unit(graph.add("MatMul", pooled, graph.weight("visual.proj")))
    return graph.finish("image", helper.make_tensor_value_info("pixels", TensorProto.UINT8, [side, side, 3]), vector)


def _text_graph(graph: _Graph) -> Any:
    """`tokens`, int64 of shape (n,) with the end mark last, to `vector`."""
    text = MODEL_CONFIG["text_cfg"]
    width, context = text["width"], text["context_length"]
    length = graph.add("Shape", "tokens")
    rows = graph.add("Gather", graph.weight("token_embedding.weight"), "tokens", axis=0)
    places = graph.add("Slice", graph.weight("positional_embedding"), graph.integers(0), length)
    x = graph.add("Unsqueeze", graph.add("Add", rows, places), graph.integers(0))
    causal = graph.constant(np.triu(np.full((context, context), -np.inf, dtype=np.float32), 1))
    both = graph.add("Concat", length, length, axis=0)
    mask = graph.add("Slice", causal, graph.integers(0, 0), both)
    x = graph.blocks(x, "", layers=text["layers"], width=width, heads=text["heads"], mask=mask)
    last = graph.add("Gather", graph.norm(x, "ln_final"), graph.constant(np.int64(-1)), axis=1)
    vector = graph.unit(graph.add("MatMul", last, graph.weight("text_projection")))
    return graph.finish("text", helper.make_tensor_value_info("tokens", TensorProto.INT64, ["length"]), vector)
