"""The templates that one topic's questions start from: none comes again before all were used. Pure, knows no lake."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

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
    left: list[Template] = field(default_factory=list)

    def draw(self, seed: int, dialogue: Collection[str]) -> str:
        """Draw by weight and take away; of those in the same `dialogue` none, while there are others."""
        if not self.left:
            self.left = list(self.templates)
        fresh = [template for template in self.left if template.template_id not in dialogue] if dialogue else self.left
        drawn = draw_template(fresh or self.left, seed)
        self.left.remove(drawn)
        return drawn.template_id

    def take(self, used: Iterable[str]) -> None:
        """Take away what was drawn before, in that order; what is not among the templates any more is passed over."""
        by_id = {template.template_id: template for template in self.templates}
        for template_id in used:
            if template_id in by_id:
                if not self.left:
                    self.left = list(self.templates)
                if by_id[template_id] in self.left:
                    self.left.remove(by_id[template_id])
