"""The table [plan] of interlake.toml: by which rule a build takes its topics."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from flows.section import Name, Section, Share

ALIKE, ACCEPT_BELOW = 0.8, 0.7
"""Measured on the shipped topics: see `tests/benchmarks/likeness.py`."""


class PlanSettings(Section):
    """Which topics a build takes (`flows/topics/policy.py`); none of it enters an id.

    Branches of the tree of topics are named `Domain` or `Domain/Category`. `weights` are for the policy `weighted`, 1
    where none is given; `quotas` bound how many topics of a branch have samples, in the whole lake; `only` confines
    builds to branches. The policy `gaps` gives a topic up after so many dropped samples.

    A proposed topic whose name is as similar as `alike` to a known one is left out; a build that proposes accepts those
    below `accept_below`, and leaves the others to a person. Both are cosines of names, see `flows/topics/sieve.py`.
    """

    policy: Literal["even", "weighted", "gaps"] = "even"
    weights: dict[Name, Annotated[float, Field(ge=0, le=1_000_000)]] = Field(default_factory=dict)
    quotas: dict[Name, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    only: Annotated[tuple[Name, ...], Field(strict=False)] = ()
    give_up_after: Annotated[int, Field(ge=1)] = 10
    alike: Share = ALIKE
    accept_below: Share = ACCEPT_BELOW

    @model_validator(mode="after")
    def _weighs_by_weights(self) -> "PlanSettings":
        if self.weights and "policy" not in self.model_fields_set:
            raise ValueError('weights are given and no policy: add policy = "weighted"')
        return self
