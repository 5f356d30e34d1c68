"""Texts of models and users inside of Markdown: whatever they are, they show as text."""

import re
import string

_PUNCTUATION = re.compile(f"([{re.escape(string.punctuation)}])")
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def as_text(text: str, limit: int = 200) -> str:
    """A text for one line or table cell of a Markdown page, shortened to so many characters.

    All ASCII punctuation is escaped by a backslash, which CommonMark allows for each of them: no link, picture, code,
    emphasis, table cell, address or heading can begin. `&`, `<` and `>` become entities, so it is text in HTML too.
    Line ends and other white space become one space, what cannot be printed (controls, marks of direction) an escape.
    """
    one_line = " ".join(text[: 4 * limit].split())
    short = one_line if len(one_line) <= limit and len(text) <= 4 * limit else f"{one_line[: limit - 1].rstrip()}…"
    printable = "".join(c if c.isprintable() else f"U+{ord(c):04X}" for c in short)
    return _PUNCTUATION.sub(lambda found: _HTML.get(found[1], f"\\{found[1]}"), printable)
