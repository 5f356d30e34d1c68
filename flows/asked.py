"""What a user asks a build for, before the lake's settings fill in what was left open. Light."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

PROFILES = ("embedded", "mixed", "vllm", "fake")
"""What `init` can make a lake's settings for."""

POLICIES = ("even", "weighted", "gaps")
"""By which rule a build takes its topics."""

ENCODERS = ("scene_clip", "descriptor", "fake")
"""The encoders that come along, which `reembed` can put into the settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """Options of `plan` and `build`; None is as the lake's settings say. `lock_timeout` in seconds.

    `only`, `quotas` and `weights` are given by branch, `Domain` or `Domain/Category`, and stand in place of those of
    the settings; weights alone stand for the policy `weighted` too.

    `topics` is a file of topics: they are brought in first, and no others are taken on.

    A budget bounds what is asked of models, see `flows.budget`; None is no bound.
    """

    new_topics: int
    samples_per_topic: int
    turns: int | None = None
    topics: str | None = None
    retry_failed: bool = False
    when_exhausted: Literal["stop", "deepen", "propose"] | None = None
    policy: Literal["even", "weighted", "gaps"] | None = None
    only: Sequence[str] | None = None
    quotas: Mapping[str, int] | None = None
    weights: Mapping[str, float] | None = None
    review: bool | None = None
    review_near: float | None = None
    lock_timeout: float | None = None
    budget_calls: int | None = None
    budget_tokens: int | None = None
    budget_seconds: float | None = None
