"""Makes `wordbook.npz` anew from the weights of SmolLM2: `python -m flows.topics.wordbook_making`.

The table of token vectors is read from the GGUF file; of spellings that differ by case the mean is taken, the common
part and the strongest direction (which tell how often a word comes, not what it means) are removed, the rest is turned
to its principal axes, so that rounding to two bits spreads its error, and rounded by the word's own spread.
"""

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from flows.topics.wordbook import FILE
from models.llama_chat import find_weights

WORD = re.compile(r"\u0120[A-Za-z]+")
"""A token that begins a word, as the vocabulary writes it."""
ANY = re.compile(r"\u0120?[A-Za-z]+")
TABLE, TOKENS = "token_embd.weight", "tokenizer.ggml.tokens"
Q8_0, BLOCK = 8, np.dtype([("scale", "<f2"), ("numbers", "i1", (32,))])
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9


def main() -> None:
    tokens, table = read_table(find_weights())
    words, ranks, vectors = distil(tokens, table)
    text = np.frombuffer("\n".join(words).encode("ascii"), dtype=np.uint8)
    np.savez_compressed(FILE, words=text, ranks=np.array(ranks, dtype=np.int32), vectors=vectors)


def distil(tokens: list[str], table: NDArray[np.float64]) -> tuple[list[str], list[int], NDArray[np.uint8]]:
    """Words, their ranks, and their vectors, four numbers of two bits in a byte."""
    groups: dict[str, list[int]] = {}
    for rank, token in enumerate(tokens):
        if ANY.fullmatch(token):
            groups.setdefault(token.lower() if token[0] != "\u0120" else token[0] + token[1:].lower(), []).append(rank)
    means = np.array([table[ranks].mean(axis=0) for ranks in groups.values()])
    means -= means.mean(axis=0)
    _, axes = np.linalg.eigh(means.T @ means)
    turned = means @ axes[:, ::-1][:, 1:]
    turned = np.pad(turned, ((0, 0), (0, -turned.shape[1] % 4)))
    spread = turned.std(axis=1, keepdims=True)
    codes = ((turned > 0) * 2 + np.where(turned > 0, turned > spread, turned > -spread)).astype(np.uint8)
    packed = sum(codes[:, place::4] << 2 * place for place in range(4))
    kept = [number for number, word in enumerate(groups) if WORD.fullmatch(word)]
    words, ranks = list(groups), [ranks[0] for ranks in groups.values()]
    return [words[number][1:] for number in kept], [ranks[number] for number in kept], np.asarray(packed)[kept]


def read_table(path: Path) -> tuple[list[str], NDArray[np.float64]]:
    """The vocabulary, most frequent first, and its vectors, of a GGUF file whose table is quantised as Q8_0."""
    with path.open("rb") as file:
        assert file.read(4) == b"GGUF", f"{path} is no GGUF file"
        _, tensors, pairs = _read(file, "IQQ")
        values = dict(_read_pairs(file, pairs))
        places = {name: (shape, kind, offset) for name, shape, kind, offset in _read_tensors(file, tensors)}
        alignment = values.get("general.alignment", 32)
        start = -(-file.tell() // alignment) * alignment
        (width, height), kind, offset = places[TABLE]
        assert kind == Q8_0, f"{TABLE} is of type {kind}"
        file.seek(start + offset)
        blocks = np.frombuffer(file.read(height * width // 32 * BLOCK.itemsize), dtype=BLOCK)
    numbers = blocks["scale"].astype(np.float64)[:, None] * blocks["numbers"]
    return values[TOKENS], numbers.reshape(height, width)


def _read_pairs(file: BinaryIO, count: int) -> Iterator[tuple[str, Any]]:
    for _ in range(count):
        yield _read_string(file), _read_value(file, *_read(file, "I"))


def _read_tensors(file: BinaryIO, count: int) -> Iterator[tuple[str, tuple[int, ...], int, int]]:
    for _ in range(count):
        name = _read_string(file)
        (dims,) = _read(file, "I")
        shape = _read(file, f"{dims}Q")
        yield name, shape, *_read(file, "IQ")


def _read_value(file: BinaryIO, kind: int) -> Any:
    if kind == STRING:
        return _read_string(file)
    if kind == ARRAY:
        inner, count = _read(file, "IQ")
        return [_read_value(file, inner) for _ in range(count)]
    return _read(file, NUMBERS[kind])[0]


def _read_string(file: BinaryIO) -> str:
    (length,) = _read(file, "Q")
    return file.read(length).decode("utf-8", "replace")


def _read(file: BinaryIO, form: str) -> tuple[Any, ...]:
    return struct.unpack(f"<{form}", file.read(struct.calcsize(f"<{form}")))


if __name__ == "__main__":
    main()
