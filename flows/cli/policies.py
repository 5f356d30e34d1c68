"""The options by which `plan` and `build` are told which topics to take, in place of what the settings say."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from flows.asked import POLICIES
from flows.cli.options import NumberRange

F = TypeVar("F", bound=Callable[..., object])


class ByBranch(click.ParamType[Any]):
    """`Domain=20` or `Domain/Category=20`: the branch, and a number of a kind. A name may have an equals sign."""

    name = "branch=number"

    def __init__(self, kind: click.ParamType[Any]) -> None:
        self.kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        if isinstance(value, tuple):
            return value
        branch, _, number = str(value).rpartition("=")
        if not branch.strip():
            self.fail(f"{value!r} is not like 'Domain=20' or 'Domain/Category=20'.", param, ctx)
        return branch.strip(), self.kind.convert(number.strip(), param, ctx)


def _as_mapping(_: click.Context, param: click.Parameter, pairs: tuple[tuple[str, Any], ...]) -> dict[str, Any] | None:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise click.BadParameter(f"{name!r} is given twice.", param=param)
    return dict(pairs) or None


def _or_none(_: click.Context, __: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...] | None:
    return names or None


def policy_options(command: F) -> F:
    """`--policy`, `--only`, `--quota`, `--weight`."""
    as_settings = "as the settings say"
    for option in (
        click.option(
            "--weight",
            "weights",
            type=ByBranch(NumberRange(0, 1_000_000)),
            multiple=True,
            callback=_as_mapping,
            metavar="BRANCH=W",
            help="Share of new topics for a domain, or of a domain's for 'Domain/Category'; 1 where none is given.",
        ),
        click.option(
            "--quota",
            "quotas",
            type=ByBranch(click.IntRange(min=0)),
            multiple=True,
            callback=_as_mapping,
            metavar="BRANCH=N",
            help="At most N topics of a branch have samples, over the whole lake.",
        ),
        click.option(
            "--only",
            multiple=True,
            callback=_or_none,
            metavar="BRANCH",
            help="Take topics of this domain, or 'Domain/Category', alone; may be given again.",
        ),
        click.option(
            "--policy",
            type=click.Choice(POLICIES),
            show_default=as_settings,
            help="Which topics come first: even over domains, by weights, or those with the fewest kept samples.",
        ),
    ):
        command = option(command)
    return command
