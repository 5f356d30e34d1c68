"""Moving a lake to another encoder: new vectors, decisions made anew, one version, and nothing asked twice."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from flows import reembedding
from flows.asked import BuildOptions
from flows.errors import UserError
from flows.reembedding import Moved, open_reembedding
from flows.settings import Settings
from models.embedding import Embedding, EmbedRequest, Encoder, Vector
from models.errors import TerminalError
from models.fakes import FakeEncoder
from models.identity import ModelIdentity
from storage import turn_rows
from storage.embeddings import embedded_turns, read_standing
from storage.errors import LakeBusy, LakeDamaged
from storage.kept_rows import kept_vectors
from storage.lake import Lake
from storage.lock import hold
from storage.query import query
from storage.records import CallRow, EmbeddingRow
from storage.turns_table import rebuild
from tests.flows.casts import Troupe, fake_lake, grow

GROWN = BuildOptions(new_topics=3, samples_per_topic=2, turns=2)


class OtherEncoder(FakeEncoder):
    """Another encoder, with longer vectors; `alike` subjects all have one vector, `fails` may refuse one."""

    def __init__(
        self, *, alike: bool = False, fails: Callable[[EmbedRequest], Exception | None] = lambda _: None
    ) -> None:
        super().__init__(dims=48)
        self._other = ModelIdentity(name="other-encoder", revision="1", licence="MIT")
        self._alike = alike
        self._fails = fails
        self.asked: list[str] = []

    @property
    def identity(self) -> ModelIdentity:
        return self._other

    async def embed(self, request: EmbedRequest) -> Embedding:
        error = self._fails(request)
        if error is not None:
            raise error
        self.asked.append(request.key())
        subject = "the same" if self._alike else request.subject
        return await super().embed(EmbedRequest(model="fake-encoder", revision="1", subject=subject))


@dataclass(slots=True)
class Source:
    """A studio that has nothing but an encoder."""

    model: Encoder = field(default_factory=OtherEncoder)

    def __call__(self, _: Settings) -> "Source":
        return self

    async def encoder(self) -> Encoder:
        return self.model

    async def close(self) -> None:
        pass


def move(lake: Lake, encoder: Encoder) -> Moved | None:
    with open_reembedding(lake.path, studio=Source(encoder)) as found:
        if found is None:
            return None
        for number in range(len(found.batches)):
            found.embed(number)
        return found.settle()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = fake_lake(tmp_path / "lake")
    grow(lake.path, GROWN)
    return lake


def vectors(lake: Lake, version: int) -> dict[tuple[str, int], tuple[str, Vector]]:
    turns = kept_vectors(lake, lake.version(version))
    return {(turn.sample_id, turn.turn): (turn.encoder, turn.image) for turn in turns}


def test_a_lake_moves_to_another_encoder_and_grows_on_with_it(lake: Lake) -> None:
    before = lake.version().number
    moved = move(lake, encoder := OtherEncoder())
    assert moved == Moved(
        encoder="other-encoder", version=lake.version().number - 1, turns=12,
        kept_before=6, kept=6, duplicate_before=0, duplicate=0,
    )  # fmt: skip
    assert len(encoder.asked) == 24
    old, new = vectors(lake, before), vectors(lake, moved.version)
    assert old.keys() == new.keys()
    assert {len(vector) for _, vector in old.values()} == {32}
    assert {len(vector) for _, vector in new.values()} == {48}
    grow(lake.path, GROWN, Troupe(encoder=OtherEncoder()))
    assert {encoder for encoder, _ in vectors(lake, lake.version().number).values()} == {next(iter(new.values()))[0]}
    assert query(lake, "SELECT outcome, count(*) FROM samples GROUP BY ALL").rows() == [("kept", 12)]


def test_the_lake_that_was_moved_is_the_lake_that_was_built_with_that_encoder(lake: Lake, tmp_path: Path) -> None:
    move(lake, OtherEncoder())
    other = fake_lake(tmp_path / "other")
    grow(other.path, GROWN, Troupe(encoder=OtherEncoder()))
    ours, theirs = vectors(lake, lake.version().number), vectors(other, other.version().number)
    assert {key: (name, vector.tobytes()) for key, (name, vector) in ours.items()} == {
        key: (name, vector.tobytes()) for key, (name, vector) in theirs.items()
    }


def test_decisions_are_made_anew_and_can_be_taken_back_by_the_next_move(lake: Lake) -> None:
    before = lake.version().number
    moved = move(lake, OtherEncoder(alike=True))
    assert moved is not None
    assert (moved.kept, moved.duplicate) == (1, 5)
    assert query(lake, "SELECT count(*) FROM duplicates WHERE image_similarity = 1").rows() == [(10,)]
    assert query(lake, "SELECT kind, state, planned FROM runs ORDER BY started_at").rows() == [
        ("build", "finished", 6),
        ("reembed", "finished", 0),
    ]
    back = move(lake, FakeEncoder())
    assert back is not None
    assert (back.turns, back.kept, back.duplicate_before) == (0, 6, 5)
    assert {name: v.tobytes() for name, (_, v) in vectors(lake, back.version).items()} == {
        name: v.tobytes() for name, (_, v) in vectors(lake, before).items()
    }
    assert len(vectors(lake, moved.version)) == 2
    rebuild(lake, lake.version())
    assert len(vectors(lake, back.version)) == 12


def test_a_move_that_was_interrupted_goes_on_and_asks_nothing_twice(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reembedding, "TURNS_PER_BATCH", 4)
    seen: list[str] = []

    def give_up(request: EmbedRequest) -> Exception | None:
        seen.append(request.key())
        return TerminalError("the card fell out of the machine") if len(seen) > 13 else None

    first = OtherEncoder(fails=give_up)
    with pytest.raises(TerminalError, match="fell out"):
        move(lake, first)
    assert {name for name, _ in vectors(lake, lake.version().number).values()} != {"other-encoder"}
    assert query(lake, "SELECT state FROM runs WHERE kind = 'reembed'").rows() == [("stopped",)]
    grow(lake.path, BuildOptions(new_topics=1, samples_per_topic=1, turns=1))  # tidies up; the spool stays
    second = OtherEncoder()
    moved = move(lake, second)
    assert moved is not None
    assert not set(first.asked) & set(second.asked)
    assert len(first.asked) + len(second.asked) == 26
    calls = [row for row in lake.rows(CallRow, lake.version()) if row.purpose.startswith("reembed")]
    assert len(calls) == len({row.call_id for row in calls}) == 26
    assert list(lake.runs.iterdir()) == []


def test_what_a_build_commits_meanwhile_is_embedded_too(lake: Lake) -> None:
    with open_reembedding(lake.path, studio=Source()) as found:
        assert found is not None
        found.embed(0)
        grow(lake.path, BuildOptions(new_topics=1, samples_per_topic=1, turns=1))
        moved = found.settle()
    assert (moved.turns, moved.kept) == (13, 7)


def test_a_build_with_the_old_encoder_is_refused_after_the_move_and_told_the_way_out(lake: Lake) -> None:
    with pytest.raises(UserError, match="'interlake reembed'"):
        grow(lake.path, GROWN, Troupe(encoder=OtherEncoder()))
    move(lake, OtherEncoder())
    with pytest.raises(UserError, match="put the setting back"):
        grow(lake.path, GROWN)


def test_nothing_is_written_when_the_lake_is_there_already_or_empty(lake: Lake, tmp_path: Path) -> None:
    head = lake.version()
    assert move(lake, FakeEncoder()) is None
    assert lake.version() == head
    assert move(fake_lake(tmp_path / "empty"), OtherEncoder()) is None


def test_vectors_are_the_same_whether_looked_for_by_name_or_among_all(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read() -> list[tuple[str, int, bytes, bytes]]:
        head = lake.version()
        (encoder,) = read_standing(lake, head).encoders
        turns = embedded_turns(lake, head, encoder, read_standing(lake, head).kept)
        return [(turn.sample_id, turn.turn, turn.image.tobytes(), turn.text.tobytes()) for turn in turns]

    by_name = read()
    monkeypatch.setattr(turn_rows, "FEW", 1)
    assert read() == by_name
    assert len(by_name) == 12
    with pytest.raises(LakeDamaged, match="no package has vector"):
        turn_rows.find_vectors(lake, lake.version(1), lake.rows(EmbeddingRow, lake.version()))


def test_two_moves_at_once_are_one_too_many(lake: Lake) -> None:
    with hold(lake.path / reembedding.LOCK, purpose="a move", timeout=0), pytest.raises(LakeBusy):
        move(lake, OtherEncoder())
