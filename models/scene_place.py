"""Chooses the place and the light of a scene from what a caption names; paints nothing."""

from models.scene import Backdrop
from models.scene_caption import CaptionReading


def choose_backdrop(reading: CaptionReading) -> Backdrop:
    """The place and light that the caption names, or those that its things are usually in."""
    light = reading.light or ("night" if _has(reading, "moon") or _has(reading, "star") else "day")
    if reading.ground:
        return Backdrop(ground=reading.ground, light="night" if light == "space" else light)
    domains = [each.drawing.kind.domain for each in reading.wanted]
    zones = [each.zone for each in reading.wanted]
    if light == "space" or (_has(reading, "planet") and reading.light is None):
        return Backdrop(ground="space", light="space")
    if not domains:
        return Backdrop(ground="plain" if reading.light is None else "field", light=light)
    if any(zone == "water" for zone in zones):
        return Backdrop(ground="sea", light=light)
    if all(domain in ("food", "thing") for domain in domains) and reading.light is None:
        return Backdrop(ground="table", light="day")
    return Backdrop(ground="field", light=light)


def _has(reading: CaptionReading, word: str) -> bool:
    return any(word in each.drawing.name.split() for each in reading.wanted)
