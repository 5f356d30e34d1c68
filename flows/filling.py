"""Filling one slot: the dialogue that belongs to it, asked for by whatever recorder and cast there are."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

from flows.judge.build_judge import find_rejection, hear_dialogue
from flows.plan import PlannedSlot
from flows.recorder import Recorder
from flows.seir.asking import Asker
from flows.seir.dialogue import Brief, Dialogue, Playwright
from flows.settings import GenerationSettings
from flows.studio import Cast
from flows.topics.catalogue import Template, read_templates


@cache
def known_templates() -> Mapping[str, Template]:
    """The shipped templates by their id."""
    return {template.template_id: template for template in read_templates()}


async def fill_slot(
    slot: PlannedSlot,
    *,
    cast: Cast,
    recorder: Recorder,
    settings: GenerationSettings,
    derived: Mapping[str, Template] | None = None,
) -> Dialogue:
    """Write the dialogue of a slot, and have it judged where the cast has judges.

    `derived` are templates of the lake by id. KeyError for one that is neither there nor shipped, errors of models pass
    through.
    """
    asker = Asker(
        cast=cast,
        recorder=recorder,
        settings=settings,
        slot_id=slot.slot_id,
        sample_id=slot.sample_id,
        retry=slot.retry,
    )
    own = derived or {}
    asked = [own[name] if name in own else known_templates()[name] for name in slot.templates]
    templates = [(template.template_id, template.ask(slot.topic)) for template in asked]
    brief = Brief(sample_id=slot.sample_id, topic=slot.topic, templates=templates)
    playwright = Playwright(asker=asker, brief=brief)
    dialogue = await playwright.write()
    if cast.bench is None or dialogue.failure is not None:
        return dialogue
    verdicts = await hear_dialogue(slot.sample_id, playwright.history, cast.bench, recorder)
    rejection = find_rejection(verdicts, cast.bench.floors)
    return replace(dialogue, verdicts=(*dialogue.verdicts, *verdicts), failure=rejection)
