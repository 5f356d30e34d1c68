"""The rubric: what each level of each score means, in words of our own. Knows no models.

TCC and ICC are read against the question; IQ looks at the picture alone, whatever it was to show; ITS looks at answer
and picture together: whether they agree, and whether each gives what the other cannot.
"""

from collections.abc import Mapping
from functools import cache

from storage.canonical import content_sha256

RUBRIC_VERSION = "1"

MEANINGS: Mapping[str, str] = {
    "tcc": "Text content completeness: how much of what the question asks for in words the answer gives.",
    "icc": "Image content completeness: how much of what the question asks to see the picture shows.",
    "iq": "Image quality: how well the picture is made, whatever it shows and whatever was asked for.",
    "its": "Image-text synergy: whether answer and picture belong together, and each adds what the other cannot say.",
}

LEVELS: Mapping[str, tuple[str, str, str, str, str, str]] = {
    "tcc": (
        "There is no answer in words, or it has nothing to do with the question.",
        "The answer touches the subject, and gives nothing of what was asked for.",
        "A small part of what was asked for is there; most is missing, wrong or off the point.",
        "About half is there: the main point is met, and something that was asked for is left out or wrong.",
        "Nearly all is there and right; a detail is missing, or could be clearer.",
        "Everything that was asked for in words is there, right and to the point.",
    ),
    "icc": (
        "There is no picture, or it shows nothing of what was asked for.",
        "Something in the picture can be connected with the question; what was asked for cannot be seen.",
        "A small part of what was asked for can be seen; most is missing, or other things are in its place.",
        "The main thing can be seen; something that was asked for (a thing, a number, a place) is missing or wrong.",
        "Nearly all that was asked for can be seen; a detail is missing or not as asked.",
        "Everything that was asked to be seen is there, as often and in the way it was asked for.",
    ),
    "iq": (
        "There is no picture, or nothing can be made out in it.",
        "Badly broken: heavy noise, blur or distortion; shapes can hardly be told.",
        "Clear faults at first sight: parts deformed, cut off or smeared, colours or light that do not hold together.",
        "Usable: what is there can be told, with some faults of shape, sharpness or arrangement.",
        "Good: clean, sharp and well arranged; faults show only to those who look for them.",
        "Excellent: clear, sound in every detail, well composed; nothing disturbs.",
    ),
    "its": (
        "Answer or picture is missing, or they have nothing to do with each other.",
        "They contradict each other, or only a word connects them.",
        "They share the subject, and important things in one do not fit the other.",
        "They agree, and one only repeats the other, or adds little to it.",
        "They agree and add to each other; a part stands unconnected, or is said twice.",
        "They are one: each supports the other and gives what it alone can, and nothing is merely repeated.",
    ),
}


@cache
def rubric_sha256() -> str:
    """The hash that verdicts name: over version, meanings and all levels."""
    return content_sha256(
        {
            "version": RUBRIC_VERSION,
            "meanings": dict(MEANINGS),
            "levels": {name: list(levels) for name, levels in LEVELS.items()},
        }
    )


def rubric_text(names: tuple[str, ...]) -> str:
    """The rubric of some scores as a judge reads it."""
    return "\n\n".join(
        "\n".join((f"{name}. {MEANINGS[name]}", *(f"  {level}: {words}" for level, words in enumerate(LEVELS[name]))))
        for name in names
    )
