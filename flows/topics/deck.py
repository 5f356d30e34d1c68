"""The templates that one topic's questions start from: none comes again before all were used. Pure, knows no lake."""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from flows.topics.catalogue import Template


def in_order(templates: Iterable[Template]) -> tuple[Template, ...]:
    """Templates by their ids, as a deck has them. ValueError when there are none."""
    ordered = tuple(sorted(templates, key=lambda template: template.template_id))
    if not ordered:
        raise ValueError("there is no template to draw from: give at least one")
    return ordered


def draw_template(templates: Sequence[Template], seed: int) -> Template:
    """The template that `seed`, any integer, falls upon; `templates` as `in_order` has them.

    They share the numbers from 0 up to the sum of all weights, as many in a row to each as its weight says; the one
    that holds `seed` modulo that sum is drawn. With seeds of 31 random bits and a sum of some hundreds the modulo
    favours no template by more than one part in a million.
    """
    left = seed % sum(template.weight for template in templates)
    for template in templates:
        left -= template.weight
        if left < 0:
            return template
    raise AssertionError("a number below the sum of the weights falls upon a template")


@dataclass(slots=True)
class Deck:
    """What a topic may still draw; when nothing is left, all templates come back.

    So the first draws show the weights, and a topic that has used all templates has used each of them once. Templates
    that are added later are among what is left. `templates` as `in_order` has them.
    """

    templates: Sequence[Template]
    _left: list[str] = field(default_factory=list)
    """Their ids, in order; `_weights` are theirs."""
    _weights: list[int] = field(default_factory=list)

    def draw(self, seed: int, dialogue: Collection[str]) -> str:
        """Draw by weight, as `draw_template` does, and take away; of those in the same `dialogue` none, while there are
        others."""
        self._refill()
        weights = self._weights.copy()
        for template_id in dialogue:
            if (place := self._find(template_id)) is not None:
                weights[place] = 0
        sums = list(accumulate(weights))
        if not sums[-1]:
            sums = list(accumulate(self._weights))
        return self._take_away(bisect_right(sums, seed % sums[-1]))

    def take(self, used: Iterable[str]) -> None:
        """Take away what was drawn before, in that order; what is not among the templates any more is passed over."""
        for template_id in used:
            self._refill()
            if (place := self._find(template_id)) is not None:
                self._take_away(place)

    def _refill(self) -> None:
        if not self._left:
            self._left = [template.template_id for template in self.templates]
            self._weights = [template.weight for template in self.templates]

    def _find(self, template_id: str) -> int | None:
        """Where a template lies among what is left."""
        place = bisect_left(self._left, template_id)
        return place if self._left[place : place + 1] == [template_id] else None

    def _take_away(self, place: int) -> str:
        del self._weights[place]
        return self._left.pop(place)
