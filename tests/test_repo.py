"""Guards of the repository: names, imports, sizes, and that what the README and the Makefile show exists and runs."""

import ast
import importlib.metadata
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

ROOT = Path(__file__).parents[1]
PACKAGES = ("flows", "storage", "models", "dedup")
TOP_LEVEL = {*PACKAGES, "tests", "deploy", "pyproject.toml", "README.md", "Makefile", "LICENSE"}
MODEL_RUNTIMES = {"torch", "vllm", "diffusers", "open_clip", "transformers", "xllamacpp"}
HEAVY = {*MODEL_RUNTIMES, "prefect", "lancedb", "lance", "duckdb", "polars", "pyarrow", "numpy", "PIL", "pydantic"}
MOST_LINES = 400


def modules(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def loaded_by(code: str) -> set[str]:
    """Top-level names of the modules that a fresh interpreter has loaded after `code`."""
    program = f"import sys, json\n{code}\njson.dump(sorted(sys.modules), sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in json.loads(done.stderr.splitlines()[-1])}


# Names and sizes


def test_the_top_level_holds_only_what_is_agreed() -> None:
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = {path.partition("/")[0] for path in tracked.split("\0") if path}
    extra = {name for name in names - TOP_LEVEL if not name.startswith(".")}
    assert {name for name in extra if not re.fullmatch(r"requirements[\w.-]*\.lock", name)} == set()


def test_no_module_in_flows_hides_another_one_when_prefect_puts_flows_first() -> None:
    mine = {path.stem for path in (ROOT / "flows").iterdir() if not path.stem.startswith(("__", "."))}
    installed = {
        name for name, owners in importlib.metadata.packages_distributions().items() if owners != ["interlake"]
    }
    siblings = {path.stem for path in ROOT.iterdir()}
    assert mine, "flows/ is not empty"
    assert mine & (siblings | sys.stdlib_module_names | installed) == set()


def is_flow(node: ast.stmt) -> bool:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    called = [d.func if isinstance(d, ast.Call) else d for d in node.decorator_list]
    return any(ast.unparse(decorator) in {"flow", "prefect.flow"} for decorator in called)


def test_entry_files_hold_only_flows_and_imports() -> None:
    entries = [path for path in (ROOT / "flows").glob("*.py") if any(map(is_flow, parse(path).body))]
    assert ROOT / "flows" / "build.py" in entries
    for path in entries:
        docstring, *rest = parse(path).body
        assert isinstance(docstring, ast.Expr), f"{path.name} says in its first line what it is"
        other = [node.lineno for node in rest if not (is_flow(node) or isinstance(node, ast.Import | ast.ImportFrom))]
        assert other == [], f"{path.name} holds more than flows at lines {other}"


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_is_longer_than_400_lines(package: str) -> None:
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in modules(package)}
    assert lengths
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Level and full name of all that a file imports."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            yield from ((0, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.level, f"{node.module}.{name.name}") for name in node.names)


def test_imports_are_absolute_and_nothing_is_mocked() -> None:
    for path in modules(*PACKAGES, "tests"):
        for level, name in imports(path):
            assert level == 0, f"{path}: relative import of {name}"
            assert not re.match(r"unittest\.mock\b|mock\b|pytest_mock\b", name), f"{path}: {name}"


# What is loaded


def test_importing_the_build_flow_loads_no_model_runtime() -> None:
    loaded = loaded_by("import flows.build")
    assert "prefect" in loaded
    assert loaded & MODEL_RUNTIMES == set()


def test_help_of_every_command_loads_nothing_heavy() -> None:
    loaded = loaded_by(
        "from flows.cli.main import cli\n"
        "def walk(command, path):\n"
        "    cli.main([*path, '--help'], prog_name='interlake', standalone_mode=False)\n"
        "    for name, child in getattr(command, 'commands', {}).items():\n"
        "        walk(child, [*path, name])\n"
        "walk(cli, [])"
    )
    assert "flows" in loaded
    assert loaded & HEAVY == set()


def test_the_entry_point_prints_its_help_and_loads_nothing_heavy() -> None:
    loaded = loaded_by(
        "from flows.cli.main import main\n"
        "sys.argv = ['interlake', '--help']\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code"
    )
    assert loaded & HEAVY == set()


# What the README and the Makefile show


def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def commands_in(text: str) -> list[list[str]]:
    """The words of each `interlake …` and `make …` command in the fenced blocks of a Markdown text."""
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    shown = (re.match(r"\s*(?:\$ )?(?:\.venv/bin/)?((?:interlake|make)\b.*)", line) for line in lines)
    return [shlex.split(line[1], comments=True) for line in shown if line]


def commands_in_demo() -> list[list[str]]:
    """The `interlake` commands that `make demo` runs or prints, as make would say them."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    dry_run = ["make", "-n", "demo", "LAKE=lake"]
    said = subprocess.run(dry_run, cwd=ROOT, env=ours, capture_output=True, text=True, check=True).stdout
    lines = [shlex.split(line)[-1] if line.startswith("echo '") else line for line in said.splitlines()]
    found = (re.search(r"\.venv/bin/(interlake .*)", line) for line in lines)
    return [shlex.split(line[1]) for line in found if line]


def shown_commands() -> list[list[str]]:
    return [*commands_in(readme()), *commands_in_demo()]


def check_interlake(words: Sequence[str]) -> None:
    """Have click itself read the words; a command, option or value that does not exist is an error."""
    from flows.cli.main import cli

    command: click.Command = cli
    name, *rest = words
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        name, *rest = rest
        assert name in command.commands, f"no command {name!r}: {shlex.join(words)}"
        command = command.commands[name]
    until = next((at for at, word in enumerate(rest) if word in {"|", "||", ">", "&&", ";"}), len(rest))
    try:
        command.make_context(name, list(rest[:until]))
    except click.exceptions.Exit:
        return
    except click.ClickException as error:
        pytest.fail(f"{shlex.join(words)}: {error.format_message()}")


def check_make(words: Sequence[str]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in words[1:]:
        variable, assigned, _ = word.partition("=")
        known = rf"^{re.escape(variable)} \?=" if assigned else rf"^{re.escape(word)}:"
        assert re.search(known, makefile, flags=re.MULTILINE), f"no {word!r}: {shlex.join(words)}"


def test_every_command_shown_exists_with_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    shown = shown_commands()
    assert ["make", "demo"] in shown and ["make", "test"] in shown
    for words in shown:
        (check_make if words[0] == "make" else check_interlake)(words)
    capsys.readouterr()


def test_every_query_shown_runs_on_an_empty_lake(tmp_path: Path) -> None:
    from flows.cli.main import cli

    lake = str(tmp_path / "lake")
    runner = CliRunner()
    assert runner.invoke(cli, ["init", "--lake", lake, "--profile", "fake"]).exit_code == 0
    queries = [_now(words[2:]) for words in shown_commands() if words[:2] == ["interlake", "sql"]]
    assert len(queries) >= 3
    for words in queries:
        done = runner.invoke(cli, ["sql", *words, "--lake", lake])
        assert done.exit_code == 0, f"{shlex.join(words)}: {done.output} {done.exception!r}"


def _now(words: list[str]) -> list[str]:
    """A query as of the only version that an empty lake has."""
    return ["1" if before == "--at" else word for before, word in zip(["", *words], words, strict=False)]


def named_in_file_map() -> list[str]:
    """Paths that the README's file map names: in a tree drawing, or with a slash in a code span or block."""
    section = re.search(r"^#+ [^\n]*\bmap\b[^\n]*\n(.*?)(?=^#+ |\Z)", readme(), flags=re.M | re.S | re.I)
    assert section, "the README has a section with 'map' in its heading"
    branches: list[str] = []
    paths: list[str] = []
    for line in section[1].splitlines():
        drawn = re.match(r"((?:│   |    )*)[├└]── (\S+)", line)
        if drawn:
            branches = [*branches[: len(drawn[1]) // 4], drawn[2].rstrip("/")]
            paths.append("/".join(branches))
        else:
            paths += re.findall(rf"(?<![\w./])(?:{'|'.join([*PACKAGES, 'tests', 'deploy'])})/[\w./-]*\w/?", line)
    return paths


def test_every_file_in_the_readmes_map_exists() -> None:
    named = named_in_file_map()
    assert len(named) > len(PACKAGES)
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_continuous_integration_can_be_started() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
