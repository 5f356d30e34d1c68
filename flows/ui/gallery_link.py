"""Where a run is to be looked at: the command that serves the gallery, and the run's page in it. Plain Markdown."""

import shlex
from collections.abc import Iterator

PLACE = "http://127.0.0.1:4280"
"""Where `interlake gallery` serves, unless it is told otherwise."""


def gallery_lines(lake: str, run_id: str) -> Iterator[str]:
    """A link to the run's page, and the command; the path is shown as code, whatever it is."""
    yield f"Look at it in the gallery, [at the page of this run]({PLACE}/runs/{run_id}), which this command serves:"
    yield ""
    command = f"interlake gallery --lake {shlex.quote(lake)}"
    yield f"    {''.join(c if c.isprintable() else f'U+{ord(c):04x}' for c in command)}"
