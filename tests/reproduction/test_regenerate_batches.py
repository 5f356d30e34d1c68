"""Calls that were answered in a batch are asked in that batch again; where that cannot be, it is said."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from flows.asked import BuildOptions
from flows.regenerate.choosing import RegenerateOptions
from flows.regenerate.regenerating import regenerate_lake_at
from flows.regenerate.report import Outcome, Regeneration
from models.company import companies_of
from models.drawing import Drawing, DrawRequest
from models.fakes import FakePainter
from models.identity import Json
from models.picture import ALGORITHMIC, Picture
from models.request_batches import RequestBatches
from storage.lake import Lake
from storage.records import CallRow
from tests.flows.casts import fake_lake, grow
from tests.reproduction.test_regenerate import own

SIX = BuildOptions(new_topics=3, samples_per_topic=2, turns=1)


class CompanyPainter(FakePainter):
    """Draws in batches; every picture depends on all that are drawn with it and on its place among them.

    `tell` is what it tells of a picture's batch, given the requests and the place.
    """

    def __init__(
        self,
        *,
        batch: int,
        window: float = 0.05,
        tell: Callable[[Sequence[DrawRequest], int], Mapping[str, Json]] | None = None,
    ) -> None:
        super().__init__()
        self.batch = batch
        self.drawn: list[list[str]] = []
        self._tell = tell or (lambda requests, place: companies_of(requests)[place])
        self._batches = RequestBatches[DrawRequest, Drawing](
            self._work, kind=lambda request: request.width, size=lambda: self.batch, window=window
        )

    async def draw(self, request: DrawRequest) -> Drawing:
        return await self._batches.ask(request)

    def _work(self, asked: Sequence[DrawRequest], _: Event) -> "asyncio.Future[Sequence[Drawing | Exception]]":
        self.drawn.append([request.key() for request in asked])
        return asyncio.ensure_future(self._draw_all(asked))

    async def _draw_all(self, asked: Sequence[DrawRequest]) -> list[Drawing | Exception]:
        return [await self._draw(asked, place) for place in range(len(asked))]

    async def _draw(self, asked: Sequence[DrawRequest], place: int) -> Drawing:
        drawing = await super().draw(asked[place])
        pixels = drawing.picture.pixels().copy()
        for other, request in enumerate(asked if len(asked) > 1 else ()):
            pixels[other, :32] = list(bytes.fromhex(request.key()[:6]))
        pixels[place, 32:] = place
        picture = Picture.from_pixels(pixels, source=ALGORITHMIC, marks={})
        return replace(drawing, picture=picture, backend=self._tell(asked, place))


class Gatherer(CompanyPainter):
    """One whose batch can be set; it waits long for its members, as the settings say when calls are asked again."""

    def __init__(self, **options: Any) -> None:
        super().__init__(batch=1, window=60.0, **options)

    def gather(self, batch: int) -> None:
        self.batch = batch


def drawn_lake(path: Path, painter: CompanyPainter) -> Lake:
    lake = fake_lake(path, settings={"batch_size = 8": "batch_size = 6"})
    grow(path, SIX, own(painter=painter))
    return lake


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Six samples whose pictures were drawn four at a time. Nobody writes into it."""
    return drawn_lake(tmp_path_factory.mktemp("lake") / "lake", CompanyPainter(batch=4))


def draws(lake: Lake) -> list[CallRow]:
    return [row for row in lake.rows(CallRow, lake.version()) if row.purpose == "draw"]


def regenerate(lake: Lake, painter: FakePainter, **options: Any) -> Regeneration:
    return regenerate_lake_at(lake.path, RegenerateOptions(**options), studio=own(painter=painter))


def outcomes(found: Regeneration) -> Mapping[str, Outcome]:
    return {outcome.call_id: outcome for outcome in found.outcomes()}


def test_batches_form_again_member_by_member(lake: Lake) -> None:
    painter = Gatherer()
    found = regenerate(lake, painter)
    assert found.is_identical and not found.outcomes()
    rows = {row.request_key: row for row in draws(lake)}
    sizes = {len(batch) for batch in painter.drawn}
    assert max(sizes) == 4
    assert sorted(key for batch in painter.drawn for key in batch) == sorted(rows), "each was drawn once"


def test_those_who_are_not_meant_are_asked_for_company_and_not_reported(lake: Lake) -> None:
    row = next(row for row in draws(lake) if row.backend and '"batch":4' in row.backend)
    painter = Gatherer()
    found = regenerate(lake, painter, call=row.call_id)
    assert found.is_identical
    assert sum(model.total() for model in found.models) == 1
    (batch,) = painter.drawn
    assert len(batch) == 4 and row.request_key in batch


def test_a_painter_that_draws_alone_drifts_and_it_is_said_that_the_company_is_another(lake: Lake) -> None:
    found = outcomes(regenerate(lake, CompanyPainter(batch=1)))
    seated = {row.call_id: row for row in draws(lake) if row.backend and '"batch":1' not in row.backend}
    assert found.keys() == seated.keys()
    assert {outcome.verdict for outcome in found.values()} == {"drifted"}
    for call_id, outcome in found.items():
        size = 4 if '"batch":4' in str(seated[call_id].backend) else None
        assert outcome.company and outcome.company.startswith("it was answered alone, not in a batch of ")
        assert size is None or outcome.company.endswith("4")
        assert list(outcome.lines())[-1] == f"  composition not restored: {outcome.company}"


def test_identical_pictures_in_another_company_are_told_and_are_no_failure(tmp_path: Path) -> None:
    class Plain(CompanyPainter):
        async def _draw(self, asked: Sequence[DrawRequest], place: int) -> Drawing:
            drawing = await FakePainter.draw(self, asked[place])
            return replace(drawing, backend=companies_of(asked)[place])

    lake = drawn_lake(tmp_path / "lake", Plain(batch=3))
    found = regenerate(lake, FakePainter())
    assert found.is_identical
    told = outcomes(found)
    assert {outcome.verdict for outcome in told.values()} == {"identical"}
    assert len(told) == sum('"batch":1' not in str(row.backend) for row in draws(lake)) > 0
    assert found.line().endswith(f": all identical; composition not restored for {len(told)}")


def test_a_member_that_is_not_in_the_record_is_missed_and_the_others_are_asked(tmp_path: Path) -> None:
    def tell(requests: Sequence[DrawRequest], place: int) -> Mapping[str, Json]:
        keys = [request.key()[:16] for request in requests]
        return {"batch": len(keys) + 1, "place": place, "keys": [*keys, "0123456789abcdef"]}

    lake = drawn_lake(tmp_path / "lake", CompanyPainter(batch=2, tell=tell))
    painter = Gatherer()
    found = outcomes(regenerate(lake, painter))
    assert found.keys() == {row.call_id for row in draws(lake)}
    assert {outcome.verdict for outcome in found.values()} == {"identical"}, "the others were asked together"
    missed = {f"1 of the {size} in its batch are not in the record, or damaged" for size in (2, 3)}
    assert {outcome.company for outcome in found.values()} <= missed


def test_a_record_that_contradicts_itself_restores_nothing(tmp_path: Path) -> None:
    def tell(requests: Sequence[DrawRequest], place: int) -> Mapping[str, Json]:
        return {**companies_of(requests)[place], "place": (place + 1) % len(requests)}

    lake = drawn_lake(tmp_path / "lake", CompanyPainter(batch=2, tell=tell))
    painter = Gatherer()
    found = outcomes(regenerate(lake, painter))
    assert {len(batch) for batch in painter.drawn} == {1}
    assert {outcome.company for outcome in found.values()} == {
        "what is recorded of its batch does not say who was in it"
    }


def test_batches_of_older_records_form_again_by_their_seeds(tmp_path: Path) -> None:
    def tell(requests: Sequence[DrawRequest], place: int) -> Mapping[str, Json]:
        return {"batch": len(requests), "place": place, "seeds": [request.seed for request in requests]}

    lake = drawn_lake(tmp_path / "lake", CompanyPainter(batch=3, tell=tell))
    for painter in (Gatherer(tell=tell), Gatherer()):
        found = regenerate(lake, painter)
        assert found.is_identical and not found.outcomes()
        assert max(len(batch) for batch in painter.drawn) == 3


def test_the_number_of_calls_at_once_does_not_part_a_batch(lake: Lake) -> None:
    found = regenerate_lake_at(lake.path, RegenerateOptions(), at_once=1, studio=own(painter=Gatherer()))
    assert found.is_identical and not found.outcomes()
