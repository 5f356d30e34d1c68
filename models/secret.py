"""A key that is sent and never shown: finds and hides it in what others say, in the usual disguises too."""

import base64
import html
import logging
import re
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field

HIDDEN = "***"
SHORTEST_SOUGHT = 12
"""Characters of a key from which a text that holds it must have it from us; a shorter one may be a word like any."""

# What servers put before a key that they repeat.
_HEADER = r"""(?i:(?:["']?(?:proxy-)?authorization["']?\s*[:=,]\s*(?:b?["'])?)?(?:bearer\s+)?)"""


@dataclass(frozen=True, slots=True)
class Secret:
    """A key of visible ASCII characters. Its representation does not show it."""

    value: str = field(repr=False)
    _shown: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        forms = "|".join(re.escape(form) for form in sorted(_forms(self.value), key=len, reverse=True))
        object.__setattr__(self, "_shown", re.compile(f"{_HEADER}(?:{forms})"))

    def is_in(self, text: str) -> bool:
        """Whether a text holds the key: as it is, in base64, or written for JSON, HTML or an address."""
        return any(self._shown.search(reading) for reading in _readings(text))

    def is_repeated_in(self, text: str) -> bool:
        """Whether a text can only have the key from us; False for one too short to tell."""
        return len(self.value) >= SHORTEST_SOUGHT and self.is_in(text)

    def hide(self, text: str) -> str:
        """The text without the key and its header's name; nothing of one that holds it written for JSON or the like."""
        hidden = self._shown.sub(HIDDEN, text)
        return HIDDEN if self.is_in(hidden) else hidden


class SecretFilter(logging.Filter):
    """Hides a key in the records of loggers that are not ours, which may tell of what a server said."""

    def __init__(self, secret: Secret) -> None:
        super().__init__()
        self._secret = secret

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if self._secret.is_repeated_in(message):
            record.msg, record.args = self._secret.hide(message), None
        return True


def _forms(value: str) -> Iterator[str]:
    """The key as it is, and as it stands in the base64 of a text, wherever in that text it begins."""
    yield value
    if len(value) < SHORTEST_SOUGHT:  # too little of it would be left to be told from other words
        return
    for before in range(3):
        whole = base64.b64encode(bytes(before) + value.encode()).decode()
        inner = whole[-(-8 * before // 6) : 8 * (before + len(value)) // 6]
        yield from {inner, inner.replace("+", "-").replace("/", "_")}


def _readings(text: str) -> Iterator[str]:
    """The text, and what it says to whoever reads it as part of an address, as HTML or as JSON."""
    yield text
    if "%" in text:
        yield urllib.parse.unquote(text)
    if "&" in text:
        yield html.unescape(text)
    if "\\" in text:
        yield re.sub(r"\\u([0-9a-fA-F]{4})|\\(.)", _unescaped, text)


def _unescaped(found: re.Match[str]) -> str:
    return chr(int(found[1], 16)) if found[1] else found[2]
