"""Which proposed names are new: what is no name, there already, refused before or too similar is told apart. Pure."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from flows.topics.alike import fold_name
from flows.topics.catalogue import fold_space
from flows.topics.incoming import UNSEEN
from flows.topics.likeness import KnownNames, Nearest, ReadNames

MOST_WORDS, MOST_CHARACTERS = 8, 60
SENTENCE_ENDS = (".", "!", "?", ":", ";")


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """A name that was left out, and why: `no name`, `known`, `proposed`, `refused`, `similar` to the nearest one."""

    name: str
    reason: str
    nearest: str | None = None
    similarity: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewName:
    """A name that nobody had, and what is most like it."""

    name: str
    nearest: Nearest | None


class Sieve:
    """Knows the names of a lake, those that were proposed before and those that were refused; learns what passes."""

    def __init__(
        self,
        *,
        known: Iterable[str],
        proposed: Iterable[str],
        refused: Iterable[str],
        branches: Iterable[str] = (),
        read: ReadNames | None = None,
    ) -> None:
        """`known` are the topics' names; of what is `refused` nothing is similar, the very name alone comes not again.

        `branches` are names of categories and domains: they are no topics. What is reckoned of names is kept in `read`,
        for the next sieve over nearly the same ones.
        """
        known, proposed, self._read = list(known), list(proposed), read or ReadNames()
        self._why = {fold_name(name): "no name" for name in branches}
        for names, why in ((refused, "refused"), (proposed, "proposed"), (known, "known")):
            self._why |= {self._read.fold(name): why for name in names}
        self._names = KnownNames([*known, *proposed], self._read)

    def sift(self, name: str, alike: float) -> NewName | Removed:
        """Whether a name is new; then it is known from now on. What is as similar as `alike` is not new."""
        name = fold_space(name).strip("\"'*-\u2022 ")
        why = "no name" if not _is_name(name) else self._why.get(fold_name(name))
        if why:
            return Removed(name=name, reason=why)
        nearest = self._names.nearest(name)
        if nearest and nearest.similarity >= alike:
            return Removed(name=name, reason="similar", nearest=nearest.name, similarity=nearest.similarity)
        self._why[fold_name(name)] = "proposed"
        self._names.add([name])
        return NewName(name=name, nearest=nearest)


def _is_name(name: str) -> bool:
    """A few words with a letter in them, and nothing that cannot be seen; no sentence."""
    return (
        0 < len(name) <= MOST_CHARACTERS
        and len(name.split()) <= MOST_WORDS
        and any(sign.isalpha() for sign in name)
        and not name.endswith(SENTENCE_ENDS)
        and not any(unicodedata.category(sign) in UNSEEN for sign in name)
    )
