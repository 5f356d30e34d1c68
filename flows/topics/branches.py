"""Branches of the tree of topics, `Domain` or `Domain/Category`, and which of them a user means. Knows no lake."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

import polars as pl

from flows.errors import UserError
from flows.topics.catalogue import normalise_name

NO_DOMAIN, NO_CATEGORY = "(no domain)", "(no category)"
"""How the branch of topics without a domain, or without a category, is called."""


def branch_key(name: str) -> str:
    """The form by which branches are the same: no difference of case and spacing, around the slashes either."""
    return "/".join(normalise_name(part) for part in name.split("/"))


def with_branches(topics: pl.DataFrame) -> pl.DataFrame:
    """Topics (columns domain, category) with four columns more.

    `domain_name` and `category_name` are as they are shown: of spellings that differ by case or spacing, the one that
    sorts first. `domain_key` and `category_key` say what is one branch; that of a category begins with its domain's.
    """
    pairs = topics.select("domain", "category").unique().sort("domain", "category")
    rows = [(domain, category, *_name(domain, category)) for domain, category in pairs.iter_rows()]
    schema = ["domain", "category", "domain_name", "category_name", "domain_key", "category_key"]
    named = pl.DataFrame(rows, schema=dict.fromkeys(schema, pl.String), orient="row").with_columns(
        pl.col("domain_name").min().over("domain_key"),
        pl.col("category_name").min().over("domain_key", "category_key"),
    )
    return topics.join(named, on=["domain", "category"], how="left", maintain_order="left")


def _name(domain: str, category: str) -> tuple[str, str, str, str]:
    domain, category = domain or NO_DOMAIN, category or NO_CATEGORY
    key = branch_key(domain)
    return domain, category, key, f"{key}/{branch_key(category)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Branches:
    """The branches of some topics: how each is shown, by its key."""

    shown: Mapping[str, str]

    @classmethod
    def of(cls, topics: pl.DataFrame) -> "Branches":
        """Those of topics that `with_branches` has seen."""
        columns = ("domain_key", "domain_name", "category_key", "category_name")
        shown: dict[str, str] = {}
        for domain_key, domain, category_key, category in topics.select(columns).unique().iter_rows():
            shown[domain_key] = domain
            shown.setdefault(category_key, f"{domain}/{category}")
        return cls(shown=shown)

    def keys(self, names: Iterable[str], *, where: str) -> list[str]:
        """The keys of branches by the names that stand at `where`; UserError for one that there is not."""
        return [self._key(name, where) for name in names]

    def _key(self, name: str, where: str) -> str:
        key = branch_key(name)
        if key in self.shown:
            return key
        near = get_close_matches(key, sorted(self.shown), n=1, cutoff=0.5)
        hint = f"did you mean {self.shown[near[0]]!r}?" if near else "'interlake topics coverage' shows those it has"
        raise UserError(f"{where} names {name!r}, and the lake has no such domain or category; {hint}")
