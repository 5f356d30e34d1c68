"""Opening a run that proposes topics for a category that a user names: the lake, the branch, the writer."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import polars as pl

from flows.engine import Engine
from flows.errors import UserError
from flows.inquiring import Inquiring, inquiring
from flows.opening import open_lake
from flows.proposing import Proposed, propose_for, proposing_shop
from flows.settings import Settings
from flows.studio import Studio
from flows.topics.branches import Branches, with_branches
from flows.topics.proposing import PROPOSE, Wish
from models.chat import ChatModel
from storage.lake import Lake
from storage.records import TopicRow

MOST_NAMED = 20
"""Categories that an error names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposeOptions:
    """What is asked for: so many topics for one category; `alike` in place of the lake's setting."""

    under: str
    wanted: int
    alike: float | None = None
    lock_timeout: float | None = None


def read_wish(lake: Lake, settings: Settings, options: ProposeOptions) -> Wish:
    """What is wished for, the branch spelled as the lake spells it. UserError for no category of the lake."""
    topics = lake.scan(TopicRow, lake.version()).unique("topic_id", keep="first", maintain_order=True).collect()
    placed = with_branches(topics.select("name", "domain", "category"))
    key = Branches.of(placed).keys([options.under], where="--under")[0]
    inside = placed.filter(pl.col("category_key") == key).sort("domain", "category")
    if inside.is_empty() or not inside["category"][0]:
        of_domain = placed.filter(pl.col("domain_key") == key)["category"].unique().sort()
        names = [name for name in of_domain if name]
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        known = ", ".join(names[:MOST_NAMED]) + more
        raise UserError(
            f"--under names {options.under!r}, which is no category; name one of its own: {known or 'none'}"
        )
    return Wish(
        domain=inside["domain"][0],
        category=inside["category"][0],
        wanted=options.wanted,
        alike=settings.plan.alike if options.alike is None else options.alike,
    )


class WriterSource(Protocol):
    """The part of a studio that is needed here."""

    async def writer(self) -> ChatModel: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposing:
    """A run that proposes, and what it was asked for."""

    run: Inquiring
    wish: Wish

    def propose(self) -> Proposed:
        return propose_for(self.run, self.wish)


@contextmanager
def open_proposing(
    path: Path,
    options: ProposeOptions,
    *,
    flow_run_id: str | None = None,
    studio: Callable[[Settings], WriterSource] = Studio,
) -> Iterator[Proposing]:
    """A run that proposes topics for a category. NotALake, SettingsError, UserError, LakeBusy."""
    lake, settings = open_lake(path, lock_timeout=options.lock_timeout)
    wish = read_wish(lake, settings, options)
    with ExitStack() as stack:
        engine = stack.enter_context(Engine())
        models = studio(settings)
        stack.callback(lambda: engine.submit(models.close()).result())
        writer = engine.submit(models.writer()).result()
        shop = proposing_shop(lake, settings, writer)
        run = stack.enter_context(inquiring(shop, writer, engine, kind=PROPOSE, flow_run_id=flow_run_id))
        yield Proposing(run=run, wish=wish)
