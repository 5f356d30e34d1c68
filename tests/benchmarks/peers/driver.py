"""The chain of six calls on each tool, one after the other, against one server: `make bench-pipeline PART=peers`.

Each peer has an environment of its own in `.venv-peers/`, made when it is missing. All of them meet the same server: it
works on so many calls at a time and lets others wait, and takes for the call of a row and step the same time whoever
asks. So the ideal schedule is the same for all of them. Ours makes as many calls a sample by the settings: one rewrite
of question and answer, none of the picture, and a critic who is never content; its latencies follow from its own
requests, so its ideal is reckoned from these.

What is counted goes from the first call to when all rows are where the tool keeps them: starting it, and what it does
after, is not. Ours also draws a picture and makes two vectors a sample, keeps every call, holds replies to a JSON
schema, looks for duplicates and commits versions; its prompts, with worked examples, are several times as long.
"""

import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from tests.benchmarks.peers.chain import STEPS
from tests.benchmarks.pipeline.builds import Sizes, build
from tests.benchmarks.pipeline.ideal import schedule
from tests.benchmarks.pipeline.running import Ran, run
from tests.benchmarks.pipeline.serving import Served
from tests.benchmarks.pipeline.traffic import Call

ROOT = Path(__file__).parents[3]
ENVIRONMENTS = ROOT / ".venv-peers"
OURS = "interlake"
QUIET: Mapping[str, str] = {
    "DO_NOT_TRACK": "1",
    "NEMO_TELEMETRY_ENABLED": "false",
    "TELEMETRY_ENABLED": "false",
    "CURATOR_VIEWER": "0",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "true",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
}
"""No telemetry, and nobody reached but this machine: the proxy is a port at which nobody listens."""
HEAD = (
    "| tool | version | settings | rows | wall, s | ideal, s | ideal / wall | whole script, s "
    "| calls/s without latency | processor, s a 1,000 calls | memory, MB |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|"
)
LIMIT_SECONDS = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A tool: the module that runs the chain on it, and what is installed for that, if anything."""

    name: str
    module: str
    requirements: tuple[str, ...]


PEERS = (
    Peer(name="aiohttp", module="bare", requirements=()),
    Peer(name="DataDesigner", module="designer", requirements=("data-designer==0.9.7",)),
    Peer(name="Curator", module="curator", requirements=("bespokelabs-curator==0.1.31",)),
    Peer(name="distilabel", module="distil", requirements=("distilabel[openai]==1.5.3", "requests")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A run of the chain: `chains` in the order of rows, as the server saw them; `done` when all was there."""

    chains: Sequence[Sequence[Call]]
    done: float
    version: str
    settings: str
    ran: Ran

    @property
    def calls(self) -> int:
        return sum(map(len, self.chains))

    @property
    def wall(self) -> float:
        return self.done - min(call.arrived for chain in self.chains for call in chain)

    def ideal(self, servers: int) -> float:
        return schedule([[call.latency for call in chain] for chain in self.chains], servers).wall


def measure_peers(names: Sequence[str], *, rows: int, zero_rows: int, mean: float, at_once: int) -> bool:
    """Run the chain on the tools of these names, all without any; whether each of them made all rows."""
    wanted = names or (OURS, *(peer.name for peer in PEERS))
    whole = True
    with Served(mean=mean, content=0, places=at_once) as server:
        click.echo(HEAD)
        for name in wanted:
            try:
                server.reset(mean=mean)
                slow = run_one(name, server, rows, at_once)
                server.reset(mean=0)
                quick = run_one(name, server, zero_rows, at_once)
            except (RuntimeError, subprocess.CalledProcessError) as error:
                click.echo(f"{name}: {error}", err=True)
                whole = False
            else:
                click.echo(row_of(name, slow, quick, at_once))
    return whole


def run_one(name: str, server: Served, rows: int, at_once: int) -> Trial:
    """Run the chain on one tool; RuntimeError when it fails or leaves calls out."""
    trial = _run_ours(server, rows, at_once) if name == OURS else _run_peer(_peer(name), server, rows, at_once)
    lacking = [place for place, chain in enumerate(trial.chains) if len(chain) != len(STEPS)]
    if lacking:
        raise RuntimeError(
            f"{len(lacking)} of {rows} rows have not just {len(STEPS)} calls, row {lacking[0]} among them"
        )
    return trial


def row_of(name: str, slow: Trial, quick: Trial, servers: int) -> str:
    """A row of the table."""
    ideal = slow.ideal(servers)
    cells = [
        name,
        slow.version,
        slow.settings,
        f"{len(slow.chains):,}",
        f"{slow.wall:.1f}",
        f"{ideal:.1f}",
        f"{ideal / slow.wall:.2f}",
        f"{slow.ran.ended - slow.ran.started:.1f}",
        f"{quick.calls / quick.wall:.0f} ({len(quick.chains):,} rows)",
        f"{1000 * quick.ran.cpu / quick.calls:.1f}",
        f"{max(slow.ran.together, quick.ran.together) / 2**20:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def _run_ours(server: Served, rows: int, at_once: int) -> Trial:
    batch = min(32, rows)
    sizes = Sizes(
        samples=rows,
        batch=batch,
        open_batches=min(64, max(2, 4 * at_once // batch)),
        at_once=at_once,
        rounds=(1, 1, 0),
    )
    built = build(server, sizes)
    settings = f"at_once={at_once}, batch_size={sizes.batch}, open_batches={sizes.open_batches}"
    return Trial(
        chains=built.chains, done=built.commits[-1][0], version=version(OURS), settings=settings, ran=built.ran
    )


def _run_peer(peer: Peer, server: Served, rows: int, at_once: int) -> Trial:
    python = environment_of(peer)
    with TemporaryDirectory(prefix="bench-peers-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "work").mkdir()
        command = [str(python), "-m", f"tests.benchmarks.peers.{peer.module}", "--url", server.url, "--rows", str(rows)]
        command += ["--at-once", str(at_once), "--folder", str(folder / "work")]
        environment = {**QUIET, **_tables_of(python), "HOME": str(folder)}
        ran = run(command, told=folder / "told.txt", environment=environment, limit=LIMIT_SECONDS)
        said = json.loads(next(line for line in reversed(ran.told.splitlines()) if line.startswith('{"rows"')))
    if said["rows"] != rows:
        raise RuntimeError(f"{said['rows']} of {rows} rows are whole")
    chains: dict[int, list[Call]] = defaultdict(list)
    for call in sorted(server.calls(), key=lambda call: call.arrived):
        chains[call.row].append(call)
    return Trial(
        chains=[chains[row] for row in range(rows)],
        done=said["done"],
        version=said["version"],
        settings=said["settings"],
        ran=ran,
    )


def environment_of(peer: Peer) -> Path:
    """The Python of a peer's environment, which is made when it is missing or was made for something else."""
    if not peer.requirements:
        return Path(sys.executable)
    place = ENVIRONMENTS / re.sub(r"\W", "-", peer.module)
    python, stamp = place / "bin" / "python", place / ".ready"
    wanted = "\n".join(peer.requirements)
    if not stamp.exists() or stamp.read_text() != wanted:
        click.echo(f"Setting up {place} (once, a minute or two) ...", err=True)
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(place)], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), *peer.requirements], check=True)
        stamp.write_text(wanted)
    return python


def _tables_of(python: Path) -> dict[str, str]:
    """Where tiktoken finds the table that it would fetch from the network: litellm brings one along."""
    tables = next(python.parents[1].glob("lib/*/site-packages/litellm/litellm_core_utils/tokenizers"), None)
    return {} if tables is None else {"TIKTOKEN_CACHE_DIR": str(tables)}


def _peer(name: str) -> Peer:
    return next(peer for peer in PEERS if peer.name == name)
