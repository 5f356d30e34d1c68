"""What a user asks a build for, before the lake's settings fill in what was left open. Light."""

from dataclasses import dataclass
from typing import Literal

PROFILES = ("embedded", "mixed", "vllm", "fake")
"""What `init` can make a lake's settings for."""

ENCODERS = ("scene_clip", "descriptor", "fake")
"""The encoders that come along, which `reembed` can put into the settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """Options of `plan` and `build`; None is as the lake's settings say. `lock_timeout` in seconds.

    A budget bounds what is asked of models, see `flows.budget`; None is no bound.
    """

    new_topics: int
    samples_per_topic: int
    turns: int | None = None
    retry_failed: bool = False
    when_exhausted: Literal["stop", "deepen"] | None = None
    review: bool | None = None
    review_near: float | None = None
    lock_timeout: float | None = None
    budget_calls: int | None = None
    budget_tokens: int | None = None
    budget_seconds: float | None = None
