"""Editions of the way in which judges are asked. The newest one judges; earlier ones stay, to be replayed.

| edition | texts of the candidate | pictures for a judge that sees | an answer of signs that nobody sees |
|---|---|---|---|
| 1 | as they are | with the marks of their PNG | is an answer |
| 2 | marks of chat templates broken by a dot | pixels alone | is none: TCC and ITS are 0 |

An edition is part of a judge's hash, so that verdicts of two editions never stand for one another.
"""

from typing import Literal, TypeAlias

Edition: TypeAlias = Literal["1", "2"]

EDITIONS: tuple[Edition, ...] = ("2", "1")
"""The newest one first."""
NEWEST: Edition = "2"
