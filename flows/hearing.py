"""What is refused where it is heard, before it is recorded as content: each is a ContentError with its reason word."""

import numpy as np

from models.drawing import DrawRequest
from models.embedding import Vector
from models.errors import ContentError
from models.picture import Picture

NORM_TOLERANCE = 1e-3


def refuse_unsafe(text: str) -> None:
    """ContentError for text that UTF-8 cannot hold, and so no lake can."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ContentError("unsafe_text", f"the reply is no valid text: {error.reason}") from error


def refuse_broken(picture: Picture) -> None:
    """ContentError for bytes that are not the whole picture that they are said to be."""
    try:
        decoded = Picture.from_bytes(picture.data)
    except ValueError as error:
        raise ContentError("broken_picture", str(error)) from error
    if decoded != picture:
        raise ContentError("broken_picture", "the picture is not what its hashes and size say")


def refuse_another_size(picture: Picture, request: DrawRequest) -> None:
    """ContentError for a picture of another size than was asked for: what is recorded as asked would not be so."""
    if (picture.width, picture.height) != (request.width, request.height):
        raise ContentError(
            "wrong_size",
            f"the picture is {picture.width}x{picture.height}; {request.width}x{request.height} was asked for",
        )


def refuse_unfit(vector: Vector, dims: int) -> None:
    """ContentError for a vector that cannot be compared: another type or length, not finite, not of unit norm."""
    if vector.dtype != np.float32 or vector.shape != (dims,):
        raise ContentError("unfit_vector", f"the vector is {vector.dtype} {vector.shape}, not float32 ({dims},)")
    norm = float(np.sqrt(np.sum(np.square(vector, dtype=np.float64))))
    if not abs(norm - 1) <= NORM_TOLERANCE:
        raise ContentError("unfit_vector", f"the vector has norm {norm}, not 1")
