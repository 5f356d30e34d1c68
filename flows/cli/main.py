"""The command `interlake`: its commands, and what its exit codes mean."""

import sys

import click

from flows.cli.benchmark import benchmark
from flows.cli.build import build, plan
from flows.cli.care import fsck, rebuild
from flows.cli.dedup import dedup
from flows.cli.duplicates import duplicates
from flows.cli.explain import call, why
from flows.cli.export import export
from flows.cli.gallery import gallery
from flows.cli.grow import init, topics
from flows.cli.judge import judge
from flows.cli.look import show, status, versions
from flows.cli.maintain import maintain
from flows.cli.models import models
from flows.cli.options import STOPPED, plain, telling
from flows.cli.query import sql
from flows.cli.reembed import reembed
from flows.cli.regenerate import regenerate
from flows.cli.replay import replay
from flows.cli.rerun import rerun
from flows.cli.review import review
from flows.cli.similar import similar
from flows.cli.templates import templates
from flows.cli.travel import diff
from flows.cli.watch import watch
from flows.errors import UserError
from models.errors import ModelError
from storage.errors import LakeBusy, LakeDamaged, LakeError, NoRoom, TakenOver

FINE, DAMAGED, BAD_INPUT, BUSY = 0, 1, 2, 3


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="interlake")
def cli() -> None:
    """Grow, ask and reproduce a lake of interleaved image-text dialogues.

    Exit codes: 0 fine, 1 damage or differences found, or a run that had to stop, 2 bad input, 3 the lake is busy.
    """


for command in (
    init,
    topics,
    templates,
    plan,
    build,
    reembed,
    dedup,
    maintain,
    fsck,
    rebuild,
    replay,
    regenerate,
    rerun,
    status,
    watch,
    versions,
    diff,
    show,
    why,
    duplicates,
    review,
    call,
    judge,
    benchmark,
    similar,
    sql,
    gallery,
    export,
    models,
):
    cli.add_command(command)


def main() -> None:
    """Run the command line; errors that a user can mend are one line each."""
    try:
        with telling():
            code = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        _fail(STOPPED, DAMAGED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except LakeBusy as error:
        _fail(str(error), BUSY)
    except (LakeDamaged, NoRoom, TakenOver) as error:
        _fail(str(error), DAMAGED)
    except (LakeError, UserError) as error:
        _fail(str(error), BAD_INPUT)
    except ModelError as error:
        _fail(f"the run stopped: {error}; the same command goes on from there", DAMAGED)
    except OSError as error:
        _fail(f"{error.filename or 'the lake'}: {error.strerror or error}", BAD_INPUT)
    else:
        if code:
            sys.exit(code)


def _fail(message: str, code: int) -> None:
    click.echo(plain(f"interlake: {message}"), err=True)
    sys.exit(code)
