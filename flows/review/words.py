"""What persons said of turns, as those who decide anew go by it."""

from dataclasses import dataclass

from dedup.decide import DuplicateTurn
from dedup.similarity import cosine
from dedup.turns import TurnKey
from storage.embeddings import embedded_turns
from storage.kept_rows import KeptVectors
from storage.lake import Lake
from storage.reviews import Turn, Word, read_words
from storage.versions import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """Turns that a person keeps, and those that a person calls duplicates, with whose and how near they are."""

    spared: frozenset[TurnKey]
    told: dict[TurnKey, DuplicateTurn]


def read_settled(lake: Lake, version: Version, encoder: str) -> Settled:
    """The latest word on each turn up to a version; similarities are those of the recorded vectors of an encoder."""
    words = read_words(lake, version)
    repeated = [word for word in words.values() if word.outcome == "duplicate"]
    return Settled(
        spared=frozenset(
            TurnKey(sample_id=word.sample_id, turn=word.turn) for word in words.values() if word.outcome == "kept"
        ),
        told=told_duplicates(lake, version, encoder, repeated),
    )


def told_duplicates(lake: Lake, version: Version, encoder: str, words: list[Word]) -> dict[TurnKey, DuplicateTurn]:
    """For each turn that a person calls a duplicate, the pair with its exact similarities."""
    sample_ids = {name for word in words for name in (word.sample_id, word.keeper[0])}
    found = embedded_turns(lake, version, encoder, sample_ids) if sample_ids else ()
    vectors = {(turn.sample_id, turn.turn): turn for turn in found}
    return {TurnKey(sample_id=word.sample_id, turn=word.turn): _pair(word, vectors) for word in words}


def _pair(word: Word, vectors: dict[Turn, KeptVectors]) -> DuplicateTurn:
    mine, theirs = vectors[word.sample_id, word.turn], vectors[word.keeper]
    return DuplicateTurn(
        sample_id=word.sample_id,
        turn=word.turn,
        kept_sample_id=word.keeper[0],
        kept_turn=word.keeper[1],
        image_similarity=cosine(mine.image, theirs.image),
        text_similarity=cosine(mine.text, theirs.text),
    )
