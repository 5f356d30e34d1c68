"""`interlake dedup`: what is done about near-duplicates beyond a build."""

import click

from flows.cli.dedup_report import report
from flows.cli.rethreshold import rethreshold


@click.group()
def dedup() -> None:
    """Near-duplicates: what other thresholds would change, and how many there are."""


dedup.add_command(report)
dedup.add_command(rethreshold)
