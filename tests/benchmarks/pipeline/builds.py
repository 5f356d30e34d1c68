"""Our side: a lake whose writer, critic and viewer are one slow server, and `interlake build` over it, watched.

All three roles name the same model, so that they share one gate of the engine: its `at_once` is what is in flight in
all. Pictures are the shipped stand-in's, of the smallest size, vectors too.
"""

import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from flows.lakes import make_lake
from flows.settings import FILE
from flows.settings_file import Changes, change_settings
from storage.lake import Lake
from storage.query import query
from storage.slots import slot_states
from tests.benchmarks.pipeline.running import Ran, run
from tests.benchmarks.pipeline.serving import Served
from tests.benchmarks.pipeline.slow_server import MODEL
from tests.benchmarks.pipeline.traffic import Call

QUIET = {
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "900",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}
ROUNDS = (3, 3, 3)
MOST_TOPICS = 320
SIDE = 64
ROLES = ("writer", "critic", "viewer")
CHAT = {"backend": "server", "model": MODEL, "revision": "as-served", "licence": "Apache-2.0"}
NEUTRAL = {"temperature": 0.7, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Samples of one turn, `batch` of them a commit, `open_batches` at work at most, `at_once` calls in flight.

    Without a number of open batches it is that of the settings' default.
    `rounds` are rewrites at most for question, answer and image.
    """

    samples: int
    batch: int
    open_batches: int | None
    at_once: int
    rounds: tuple[int, int, int] = ROUNDS

    def topics(self) -> tuple[int, int]:
        """How many topics, and samples of each, give just so many samples."""
        topics = max(each for each in range(1, min(self.samples, MOST_TOPICS) + 1) if self.samples % each == 0)
        return topics, self.samples // topics


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a build did. Times are seconds of the clock that the server's log has.

    `chains` are the calls of each sample as the server saw them, samples in the order of the plan; `commits` when which
    number of samples had been committed. `recorded` counts all calls that were recorded, of painter and encoder too;
    `served` is the processor time of the server in seconds.
    """

    ran: Ran
    served: float
    chains: Sequence[Sequence[Call]]
    commits: Sequence[tuple[float, int]]
    kept: int
    recorded: int

    @property
    def calls(self) -> list[Call]:
        return [call for chain in self.chains for call in chain]

    @property
    def first_call(self) -> float:
        return min(call.arrived for call in self.calls)

    @property
    def wall(self) -> float:
        """From the first call to the last commit."""
        return self.commits[-1][0] - self.first_call


def build(server: Served, sizes: Sizes, *, words: Sequence[str] = ()) -> Built:
    """Build a new lake by the whole command, in a process and with a Prefect of its own, and see what it did.

    `words` run the command in another way than its script does. RuntimeError with its last words when it fails.
    """
    with TemporaryDirectory(prefix="bench-pipeline-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        lake = prepare(folder / "lake", server.url, sizes)
        topics, each = sizes.topics()
        command = [*(words or (sys.executable, "-c", "from flows.cli.main import main; main()")), "build"]
        command += ["--lake", str(lake.path), "--new-topics", str(topics), "--samples-per-topic", str(each)]
        server.reset()
        cpu = server.cpu()
        environment = {**QUIET, "PREFECT_HOME": str(folder / "prefect")}
        ran = run([*command, "--turns", "1"], told=folder / "told.txt", environment=environment)
        cpu = server.cpu() - cpu
        return _look(lake, server.calls(), ran, served=cpu)


def prepare(path: Path, url: str, sizes: Sizes) -> Lake:
    """A lake with the shipped topics whose texts come from the server."""
    lake = make_lake(path, profile="fake", seed=1)
    with (path / FILE).open("a") as file:
        file.write(f'\n[servers."{MODEL}"]\nurls = ["{url}"]\n')
    open_batches = {} if sizes.open_batches is None else {"open_batches": sizes.open_batches}
    chats = {f"generation.{role}": CHAT for role in ROLES}
    samplings = {f"generation.{role}.sampling": NEUTRAL for role in ROLES}
    changes: Changes = {
        "generation.rounds": dict(zip(("question", "answer", "image"), sizes.rounds, strict=True)),
        **chats,
        **samplings,
        "generation.painter": {"backend": "fake", "width": SIDE, "height": SIDE},
        "run": {"batch_size": sizes.batch, **open_batches},
        f"servers.{MODEL}": {"at_once": sizes.at_once, "timeout": 600, "dialect": "openai"},
    }
    change_settings(path / FILE, changes, cleared=("run", "generation.painter"))
    return lake


def _look(lake: Lake, calls: Sequence[Call], ran: Ran, *, served: float) -> Built:
    version = lake.version()
    plan = slot_states(lake, version).sort("claimed_at", "position")["sample_id"].to_list()
    asked = query(lake, "select seed, sample_id from calls where seed is not null")
    sample_of = dict(zip(asked["seed"], asked["sample_id"], strict=True))
    by_sample: dict[str, list[Call]] = defaultdict(list)
    for call in sorted(calls, key=lambda call: call.arrived):
        by_sample[sample_of[call.seed]].append(call)
    counts = query(lake, "select count(*) as recorded from calls")
    kept = query(lake, "select count(*) as kept from samples where outcome = 'kept'")
    versions = query(lake, "select epoch(created_at) as at, samples from versions where samples > 0 order by version")
    offset = time.time() - time.monotonic()
    return Built(
        ran=ran,
        served=served,
        chains=[by_sample[sample_id] for sample_id in plan],
        commits=[(at - offset, samples) for at, samples in versions.iter_rows()],
        kept=kept["kept"][0],
        recorded=counts["recorded"][0],
    )
