"""What lies between two versions, to be asked of the history."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from flows.story import Ask
from storage.lake import Lake
from storage.query import query

Record = Mapping[str, Any]

_NO_LIMIT = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The versions after `low`, up to `high`. `limit` is how many rows of a kind are wanted, None for all."""

    lake: Lake
    low: int
    high: int
    limit: int | None = None
    ask: Ask = query

    def rows(self, sql: str, *, among: Collection[str] = ()) -> list[Record]:
        """The rows of a query, in which {low}, {high}, {within}, {limit} and {among} stand for what they say.

        `among` are ids of samples; where there is no limit, {among} holds for all of them.
        """
        ids = ", ".join(f"'{sample_id}'" for sample_id in sorted(among))
        filled = sql.format(
            low=self.low,
            high=self.high,
            within=f"version > {self.low} AND version <= {self.high}",
            limit=_NO_LIMIT if self.limit is None else self.limit,
            among=f"sample_id IN ({ids})" if ids and self.limit is not None else "TRUE",
        )
        return list(self.ask(self.lake, filled).iter_rows(named=True))
