"""`interlake dedup`: what is done about near-duplicates beyond a build."""

import click


@click.group()
def dedup() -> None:
    """Near-duplicates: what other thresholds would change, and how many there are."""
