"""`interlake export`: kept samples as files to train on."""

from pathlib import Path

import click

from flows.cli.options import NumberRange, json_option, lake_option, print_json, quiet_prefect
from flows.export.asked import FORMATS, LAYOUTS, MEGABYTE, ORDERS, Exported, ExportOptions

SHARES = NumberRange(0, 0.9)
LAYOUT_NAMES = tuple(dict.fromkeys(layout for layouts in LAYOUTS.values() for layout in layouts))


@click.command()
@lake_option
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to make; it must not be there yet.")
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="parquet", show_default=True, help="Files to make."
)
@click.option(
    "--layout",
    type=click.Choice(LAYOUT_NAMES),
    help="How a sample is laid out: parquet has messages and published, jsonl has llava and openai.",
)
@click.option("--version", "number", type=click.IntRange(min=1), help="Version to export; without it the newest.")
@click.option("--size", type=click.IntRange(min=1), help="Samples at most; a smaller export is in every larger one.")
@click.option("--validation", type=SHARES, default=0.0, show_default=True, help="Share held out, by whole topics.")
@click.option("--order", type=click.Choice(ORDERS), default="even", show_default=True, help="Which samples come first.")
@click.option("--under", default="", metavar="BRANCH", help="Only this domain, or 'Domain/Category'.")
@click.option(
    "--licence", "licences", multiple=True, metavar="ID", help="Only samples without other licences; repeat it."
)
@click.option("--least-score", type=NumberRange(0, 5), help="The least of each of the four mean scores.")
@click.option("--shard-mb", type=click.IntRange(1, 100_000), default=256, show_default=True, help="Size of a file.")
@json_option
def export(
    *,
    lake_path: Path,
    out: Path,
    form: str,
    layout: str | None,
    number: int | None,
    size: int | None,
    validation: float,
    order: str,
    under: str,
    licences: tuple[str, ...],
    least_score: float | None,
    shard_mb: int,
    as_json: bool,
) -> None:
    """Write kept samples as files to train on: run the Prefect flow export_lake here and wait for it.

    A card and a manifest of hashes come with them.
    The same choices give the same bytes. Stopped at any moment, the same command goes on; the folder has its name only
    once all of it is there. Samples are dealt evenly over domains and topics, so that a smaller --size is the beginning
    of a larger one; what is held out for validation is the same for all sizes.
    """
    options = ExportOptions(
        format=form,  # type: ignore[arg-type]
        layout=layout,  # type: ignore[arg-type]
        version=number,
        size=size,
        validation=validation,
        order=order,  # type: ignore[arg-type]
        under=under,
        licences=licences,
        least_score=least_score,
        shard_bytes=shard_mb * MEGABYTE,
    )
    from flows.export.exporting import check_export

    check_export(lake_path, out, options)
    quiet_prefect()
    from flows.export_lake import export_lake

    done = Exported(
        **export_lake(
            lake=str(lake_path),
            out=str(out),
            format=options.format,
            layout=options.layout,
            version=number,
            size=size,
            validation=validation,
            order=options.order,
            under=under,
            licences=list(licences),
            least_score=least_score,
            shard_mb=shard_mb,
        )
    )
    if as_json:
        print_json(done.json())
    else:
        click.echo(done.line())
