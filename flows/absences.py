"""Which models give no answer for a while: told once when that begins, and once when it ends. Knows no run."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

SAY_AFTER_SECONDS = 5.0
"""How long a model must have answered nobody before it is said: a lost connection alone is no news."""

LOG = logging.getLogger("interlake")


@dataclass(slots=True)
class Absences:
    """Hears of every answer and every failed try of a run, by the name of the model. For one thread.

    `show` is given the names of those that are away whenever that changes; `patience` is how many seconds a request is
    repeated for.
    """

    patience: float
    show: Callable[[tuple[str, ...]], None] = lambda _: None
    clock: Callable[[], float] = time.monotonic
    _heard_at: dict[str, float] = field(default_factory=dict)
    _away_since: dict[str, float] = field(default_factory=dict)

    @property
    def away(self) -> Mapping[str, float]:
        """Since when models give no answer, by the clock."""
        return self._away_since

    def heard(self, model: str) -> None:
        """A model answered, to whatever effect."""
        self._heard_at[model] = self.clock()
        since = self._away_since.pop(model, None)
        if since is not None:
            LOG.warning("%s answers again, after %.0f s", model, self._heard_at[model] - since)
            self.show(tuple(self._away_since))

    def missed(self, model: str, *, since: float, why: str) -> None:
        """A try at a request failed that was first sent at `since`; `why` may be shown to anybody."""
        silent_since = max(since, self._heard_at.get(model, since))
        silence = self.clock() - silent_since
        if model in self._away_since or silence < SAY_AFTER_SECONDS:
            return
        self._away_since[model] = silent_since
        LOG.warning(
            "%s has given no answer for %.0f s (%s); the run waits for it for %g s ([run] patience) and then stops, "
            "and the same command goes on",
            model,
            silence,
            why,
            self.patience,
        )
        self.show(tuple(self._away_since))
