"""Which turns repeat an earlier one and which samples that leaves. Knows vectors and ids, no files and no models."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby
from typing import Literal, TypeAlias, get_args

import numpy as np

from dedup.kept import KeptTurns, Span
from dedup.screen import Pairs
from dedup.similarity import cosine
from dedup.turns import TurnKey, TurnRows, TurnVectors, check_dims, in_order

BLOCK_ROWS = 1024
"""As many turns are compared with as many at once, or fewer with more: a product of matrices wants to be large."""

Excused: TypeAlias = Mapping[str, Collection[str]]
"""By sample id: other samples that it is not compared with."""
NOBODY: Excused = {}
NO_TURNS: Collection[TurnKey] = frozenset()

Policy: TypeAlias = Literal["both", "image", "text", "either"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """From which similarities, in [-1, 1] and inclusive, two turns are the same; they mean something for one encoder.

    `policy` says which must be reached: `both`, `image` (the text is only recorded), `text`, or `either`.
    """

    image: float
    text: float
    policy: Policy = "both"

    def __post_init__(self) -> None:
        for name, value in (("image", self.image), ("text", self.text)):
            if not -1.0 <= value <= 1.0:
                raise ValueError(f"{name} threshold: a similarity lies in [-1, 1], not {value}")
        if self.policy not in get_args(Policy):
            raise ValueError(f"policy is one of {', '.join(get_args(Policy))}, not {self.policy!r}")

    def are_reached(self, *, image: float, text: float) -> bool:
        """Whether a pair with these two similarities is a duplicate."""
        image_reached, text_reached = image >= self.image, text >= self.text
        match self.policy:
            case "both":
                return image_reached and text_reached
            case "image":
                return image_reached
            case "text":
                return text_reached
            case "either":
                return image_reached or text_reached


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateTurn:
    """A flagged turn, the keeper it repeats, and both similarities whatever the policy."""

    sample_id: str
    turn: int
    kept_sample_id: str
    kept_turn: int
    image_similarity: float
    text_similarity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What became of the newcomers, each part in the order of sample id and turn.

    `keepers` are the unflagged turns of kept samples: add them to the index once the decision is committed.
    """

    kept_samples: tuple[str, ...] = ()
    dropped_samples: tuple[str, ...] = ()
    duplicates: tuple[DuplicateTurn, ...] = ()
    keepers: tuple[TurnVectors, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """By what a turn repeats another: the thresholds, whom it is not compared with, and what is settled without."""

    thresholds: Thresholds
    excused: Excused
    spared: Collection[TurnKey] = NO_TURNS
    told: Mapping[TurnKey, DuplicateTurn] = field(default_factory=dict)

    def first_match(self, turn: TurnVectors, keepers: Iterable[TurnVectors]) -> DuplicateTurn | None:
        """The first of `keepers` that `turn` repeats, by exact similarities; none for one that is spared."""
        if turn.key in self.spared:
            return None
        spared = self.excused.get(turn.sample_id, ())
        for keeper in keepers:
            if keeper.sample_id in spared:
                continue
            image, text = cosine(turn.image, keeper.image), cosine(turn.text, keeper.text)
            if self.thresholds.are_reached(image=image, text=text):
                return DuplicateTurn(
                    sample_id=turn.sample_id,
                    turn=turn.turn,
                    kept_sample_id=keeper.sample_id,
                    kept_turn=keeper.turn,
                    image_similarity=image,
                    text_similarity=text,
                )
        return None


def decide(
    kept: KeptTurns,
    newcomers: Iterable[TurnVectors],
    thresholds: Thresholds,
    *,
    excused: Excused = NOBODY,
    spared: Collection[TurnKey] = NO_TURNS,
    told: Mapping[TurnKey, DuplicateTurn] | None = None,
    block: int = BLOCK_ROWS,
) -> Decision:
    """Decide the turns of one version, whatever order they come in, against `kept` and each other.

    A turn is a duplicate when a keeper of another sample reaches the thresholds: one in `kept`, or one of a smaller
    sample id among the newcomers. The first such keeper is named, in the order of `kept`, then of sample id and turn.
    A sample is dropped when all its turns are duplicates; otherwise its unflagged turns are keepers for what follows.
    By `excused` a newcomer is no duplicate of some samples, whatever their vectors: those that it is made to take the
    place of. Somebody else's word comes before the thresholds: `spared` turns are no duplicates, those in `told` are
    duplicates as it says. `kept` is not changed. `block` bounds the memory (block * block similarities) and has no
    other effect. The newcomers' vectors must be of `kept.encoder` (see `KeptTurns.require_encoder`). ValueError for
    other dims, for a turn given twice, and for a sample that is in `kept` already, since a sample is decided whole.
    """
    ordered = in_order(newcomers)
    check_dims(ordered, kept.dims)
    decided = [turn.sample_id for turn in ordered if turn.sample_id in kept]
    if decided:
        raise ValueError(f"sample {decided[0]} was kept before; a sample is decided once, with all its turns")
    fresh = KeptTurns(encoder=kept.encoder)
    measure = Measure(thresholds=thresholds, excused=excused, spared=frozenset(spared), told=told or {})
    parts: list[Decision] = []
    for chunk in _whole_samples(ordered, block):
        part = _decide_chunk((kept, fresh), chunk, measure, block)
        fresh.add(part.keepers, encoder=kept.encoder)
        parts.append(part)
    return _joined(parts)


def near_misses(
    kept: KeptTurns,
    keepers: Iterable[TurnVectors],
    thresholds: Thresholds,
    *,
    excused: Excused = NOBODY,
    block: int = BLOCK_ROWS,
) -> tuple[DuplicateTurn, ...]:
    """Which keepers of one decision would repeat an earlier one by lower thresholds, which all of them count for.

    They are compared as in `decide`, with `kept` and with the keepers of other samples before them, and stay keepers.
    """
    ordered = in_order(keepers)
    measure = Measure(thresholds=thresholds, excused=excused)
    found = _first_matches(kept, ordered, measure, block)
    rivals = _earlier_rivals(ordered, thresholds, block)
    for turn in ordered:
        if turn.key not in found:
            others = (rival for rival in rivals.get(turn.key, ()) if rival.sample_id != turn.sample_id)
            match = measure.first_match(turn, others)
            if match:
                found[turn.key] = match
    return tuple(found[turn.key] for turn in ordered if turn.key in found)


def _decide_chunk(indexes: Sequence[KeptTurns], chunk: Sequence[TurnVectors], measure: Measure, block: int) -> Decision:
    """Decide some whole samples in order, against the indexes (earlier ones first) and then each other."""
    found = {turn.key: measure.told[turn.key] for turn in chunk if turn.key in measure.told}
    for index in indexes:
        unsettled = [turn for turn in chunk if turn.key not in found]
        found |= _first_matches(index, unsettled, measure, block)
    rivals = _earlier_rivals([turn for turn in chunk if turn.key not in found], measure.thresholds, block)
    parts: list[Decision] = []
    keepers: set[TurnKey] = set()
    for _, turns in groupby(chunk, key=lambda turn: turn.sample_id):
        sample = list(turns)
        for turn in sample:
            # A sample's own turns become keepers only after all of them are decided, so they never stand here.
            standing = (rival for rival in rivals.get(turn.key, ()) if rival.key in keepers)
            match = found.get(turn.key) or measure.first_match(turn, standing)
            if match:
                found[turn.key] = match
        parts.append(_decide_sample(sample, found))
        keepers.update(turn.key for turn in parts[-1].keepers)
    return _joined(parts)


def _decide_sample(sample: Sequence[TurnVectors], found: dict[TurnKey, DuplicateTurn]) -> Decision:
    """The fate of one sample whose duplicate turns are known."""
    duplicates = tuple(found[turn.key] for turn in sample if turn.key in found)
    name = (sample[0].sample_id,)
    if len(duplicates) == len(sample):
        return Decision(dropped_samples=name, duplicates=duplicates)
    keepers = tuple(turn for turn in sample if turn.key not in found)
    return Decision(kept_samples=name, duplicates=duplicates, keepers=keepers)


def _first_matches(
    index: KeptTurns, turns: Sequence[TurnVectors], measure: Measure, block: int
) -> dict[TurnKey, DuplicateTurn]:
    """For each turn that has one, its first match in the index."""
    found: dict[TurnKey, DuplicateTurn] = {}
    if not turns or not len(index):
        return found
    unsettled = np.ones(len(turns), dtype=np.bool_)
    for pairs in _screened(TurnRows.of(turns), index, measure.thresholds, block):
        wanted = pairs[unsettled[pairs[:, 0]]]
        for row, places in groupby(wanted.tolist(), key=lambda pair: int(pair[0])):
            match = measure.first_match(turns[row], (index.turn(place) for _, place in places))
            if match:
                found[turns[row].key] = match
                unsettled[row] = False
        if not unsettled.any():
            break
    return found


def _earlier_rivals(
    turns: Sequence[TurnVectors], thresholds: Thresholds, block: int
) -> dict[TurnKey, list[TurnVectors]]:
    """For each turn, those before it, in order, that could be the same; whether they are keepers is left open."""
    rivals: dict[TurnKey, list[TurnVectors]] = {}
    if not turns:
        return rivals
    all_of_them = KeptTurns(encoder="")
    all_of_them.add(turns, encoder="")
    for pairs in _screened(TurnRows.of(turns), all_of_them, thresholds, block):
        for row, place in pairs[pairs[:, 1] < pairs[:, 0]].tolist():
            rivals.setdefault(turns[row].key, []).append(turns[place])
    return rivals


def _screened(new: TurnRows, kept: KeptTurns, thresholds: Thresholds, block: int) -> Iterator[Pairs]:
    """Pairs (new row, place) that could be duplicates by the policy, for one part of the places after another."""
    waiting = list(kept.spans(len(new), block))[::-1]
    while waiting:
        first, last = waiting.pop()
        pairs = _screen(new, kept, thresholds, (first, last), room=max(block * block, len(new)))
        if pairs is None:  # so many come near that they are looked at in halves
            middle = (first + last) // 2
            waiting += [(middle, last), (first, middle)]
        else:
            yield pairs


def _screen(new: TurnRows, kept: KeptTurns, thresholds: Thresholds, span: Span, room: int) -> Pairs | None:
    """The pairs of one span; None where there are too many at a time.

    With the policy `both`, texts are compared only where the pictures come near.
    """
    match thresholds.policy:
        case "both":
            pairs = kept.near("image", new, thresholds.image, span, room)
            return None if pairs is None else kept.narrow("text", new, pairs, thresholds.text)
        case "image":
            return kept.near("image", new, thresholds.image, span, room)
        case "text":
            return kept.near("text", new, thresholds.text, span, room)
        case "either":
            images = kept.near("image", new, thresholds.image, span, room)
            texts = kept.near("text", new, thresholds.text, span, room)
            return None if images is None or texts is None else np.unique(np.concatenate([images, texts]), axis=0)


def _whole_samples(ordered: Sequence[TurnVectors], size: int) -> Iterator[list[TurnVectors]]:
    """Runs of whole samples of at most `size` turns, or of one sample that is longer."""
    chunk: list[TurnVectors] = []
    for _, turns in groupby(ordered, key=lambda turn: turn.sample_id):
        sample = list(turns)
        if chunk and len(chunk) + len(sample) > size:
            yield chunk
            chunk = []
        chunk = chunk + sample
    if chunk:
        yield chunk


def _joined(parts: Sequence[Decision]) -> Decision:
    """One decision of several, in their order."""
    return Decision(
        kept_samples=tuple(chain.from_iterable(part.kept_samples for part in parts)),
        dropped_samples=tuple(chain.from_iterable(part.dropped_samples for part in parts)),
        duplicates=tuple(chain.from_iterable(part.duplicates for part in parts)),
        keepers=tuple(chain.from_iterable(part.keepers for part in parts)),
    )
