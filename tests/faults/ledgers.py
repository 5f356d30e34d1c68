"""What a worker asked for and reported, read from its log, and what of it the lake must still know."""

from dataclasses import dataclass
from pathlib import Path

from flows.tape import SPOOL_FOLDER
from storage.lake import Lake
from storage.records import CallRow
from storage.spool import read_calls_of
from tests.faults.worker import log_path


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """Keys asked for, in their order, and the versions that were reported as committed, by number."""

    asked: tuple[str, ...]
    committed: dict[int, str]

    @classmethod
    def read(cls, lake: Lake) -> "Log":
        lines = [line.split() for line in log_path(lake.path).read_text().splitlines()]
        committed = {int(words[1]): words[2] for words in lines if words[0] == "committed"}
        return cls(asked=tuple(words[1] for words in lines if words[0] == "asked"), committed=committed)

    def repeated(self) -> int:
        """How many calls were asked for more than once."""
        return len(self.asked) - len(set(self.asked))


def recorded(lake: Lake) -> set[str]:
    """The keys of all calls that a spool or a package holds."""
    spools = list(lake.runs.glob(f"*/{SPOOL_FOLDER}/*.log"))
    keys = {call.row.request_key for path in spools for call in read_calls_of(path)}
    return keys | set(lake.scan(CallRow, lake.version(), ["request_key"]).collect()["request_key"])


def assert_reported_is_there(lake: Lake, log: Log) -> None:
    """Every version that was reported as committed is in the chain."""
    for number, sha256 in log.committed.items():
        assert lake.version(number).sha256 == sha256


def delete_log(path: Path) -> None:
    log_path(path).unlink(missing_ok=True)
