"""Lets PyPI's torchvision be imported beside a torch without CUDA: declares the two operators that its compiled part
would bring. `prepare` copies this file into the environment of the server, where each start of Python imports it."""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


class BeforeTorchvision(MetaPathFinder):
    """Finds no module; when torchvision is looked for, declares the operators. Torch is not imported before that."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        del path, target
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            _declare_operators()
        return None


def _declare_operators() -> None:
    from torch.library import Library

    library = Library("torchvision", "DEF")
    for operator in OPERATORS:
        library.define(operator)
    sys.modules[__name__].__dict__["library"] = library  # the operators live as long as it does


sys.meta_path.insert(0, BeforeTorchvision())
