"""What is asked of an export: which samples of which version, in which form."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Literal, TypeAlias, get_args

from flows.errors import UserError

Format: TypeAlias = Literal["parquet", "jsonl", "webdataset", "lance"]
Layout: TypeAlias = Literal["messages", "published", "llava", "openai", "pairs", "turns"]
Order: TypeAlias = Literal["even", "best"]

FORMATS: tuple[Format, ...] = get_args(Format)
ORDERS: tuple[Order, ...] = get_args(Order)
LAYOUTS: Mapping[Format, tuple[Layout, ...]] = {
    "parquet": ("messages", "published"),
    "jsonl": ("llava", "openai"),
    "webdataset": ("pairs",),
    "lance": ("turns",),
}
"""The layouts of each format, its usual one first."""
MEGABYTE = 1_000_000
SCORES = ("tcc", "icc", "iq", "its")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """`size` is the most samples, None is all; `validation` the share of them held out; `under` a domain, or
    'Domain/Category'; `licences` those that every model of a sample and its pictures may have, empty is any;
    `least_score` what each of the four mean scores has at least, which leaves out what no judge scored.
    """

    format: Format = "parquet"
    layout: Layout | None = None
    version: int | None = None
    size: int | None = None
    validation: float = 0.0
    order: Order = "even"
    under: str = ""
    licences: tuple[str, ...] = ()
    least_score: float | None = None
    shard_bytes: int = 256 * MEGABYTE

    def __post_init__(self) -> None:
        known = LAYOUTS[self.format]
        if self.layout is not None and self.layout not in known:
            raise UserError(f"layout {self.layout!r} is none of {self.format}'s: choose among {', '.join(known)}")

    @property
    def shape(self) -> Layout:
        """The layout, also where none was named."""
        return self.layout or LAYOUTS[self.format][0]

    def json(self) -> dict[str, object]:
        """All that shapes the export's bytes, the version apart."""
        told = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "version"}
        return {**told, "layout": self.shape, "licences": sorted(self.licences)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What an export came to. `is_new` is False when it was there already, whole and the same."""

    folder: str
    version: int
    samples: int
    turns: int
    splits: Mapping[str, int]
    files: int
    bytes: int
    is_new: bool

    def json(self) -> dict[str, object]:
        return asdict(self)

    def line(self) -> str:
        """In a sentence."""
        parts = ", ".join(f"{count:,} {split}" for split, count in self.splits.items())
        done = "exported" if self.is_new else "there already"
        return f"{done}: {self.samples:,} samples ({parts}), {self.turns:,} turns, {self.files} files, in {self.folder}"
