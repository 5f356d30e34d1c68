"""What a power cut would leave, reckoned from a trace of system calls: bytes and names that no fsync has covered yet.

A file's bytes are safe once fsync or fdatasync returned for it after the last write began; a name is safe once its
folder was synced after it came to be. This is what POSIX promises, and no more.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

TRACED = (
    "open,openat,openat2,creat,write,pwrite64,writev,pwritev,pwritev2,ftruncate,fallocate,copy_file_range,sendfile,"
    "fsync,fdatasync,sync_file_range,rename,renameat,renameat2,link,linkat,symlink,symlinkat,mkdir,mkdirat,"
    "unlink,unlinkat,rmdir,mmap,io_uring_setup"
)
_CALL = re.compile(r"(?P<pid>\d+) +(?P<name>\w+)\((?P<rest>.*)")
_RESUMED = re.compile(r"(?P<pid>\d+) +<\.\.\. (?P<name>\w+) resumed>(?P<rest>.*)")
_FD = re.compile(r"\d+<(?P<path>/[^>]*)>")
_QUOTED = re.compile(r'"(?P<text>(?:[^"\\]|\\.)*)"')
_WRITING = {
    "write",
    "pwrite64",
    "writev",
    "pwritev",
    "pwritev2",
    "ftruncate",
    "fallocate",
    "copy_file_range",
    "sendfile",
}
_NAMING = {"mkdir", "mkdirat", "symlink", "symlinkat"}


@dataclass(frozen=True, slots=True)
class Call:
    """One system call that succeeded: its name, the files it is about, and the first text it was given."""

    name: str
    paths: tuple[str, ...]
    text: str
    arguments: str


def read_trace(path: Path) -> Iterator[Call]:
    """The calls of a trace by `strace -f -y`, in the order in which they ended; writes when they began."""
    begun: dict[tuple[str, str], str] = {}
    with path.open(errors="replace") as lines:
        for line in lines:
            resumed, call = _RESUMED.match(line), _CALL.match(line)
            if resumed:
                rest = begun.pop((resumed["pid"], resumed["name"]), "") + resumed["rest"]
                if resumed["name"] not in _WRITING:
                    yield from _finished(resumed["name"], rest)
            elif call and "<unfinished" in call["rest"]:
                rest = call["rest"].partition("<unfinished")[0]
                begun[call["pid"], call["name"]] = rest
                if call["name"] in _WRITING:
                    yield _parsed(call["name"], rest)
            elif call:
                yield from _finished(call["name"], call["rest"])


def _finished(name: str, rest: str) -> Iterator[Call]:
    arguments, _, result = rest.rpartition(" = ")
    if not result.startswith("-1"):
        yield _parsed(name, arguments)


def _parsed(name: str, arguments: str) -> Call:
    quoted = [found["text"] for found in _QUOTED.finditer(arguments)]
    opened = tuple(found["path"] for found in _FD.finditer(arguments))
    paths = opened if name in _WRITING or name in ("fsync", "fdatasync", "mmap") else tuple(quoted)
    return Call(name, paths, quoted[0] if quoted else "", arguments)


@dataclass(slots=True)
class Disk:
    """What is not safe yet among the files below a folder; `there` are the names that were there before."""

    root: str
    there: set[str]
    dirty: set[str] = field(default_factory=set)
    unnamed: set[str] = field(default_factory=set)
    synced: set[str] = field(default_factory=set)

    def note(self, call: Call) -> None:
        paths = tuple(path for path in call.paths if path.startswith(self.root))
        if not paths:
            return
        if call.name in _WRITING:
            self.dirty.add(paths[0])
        elif call.name in ("fsync", "fdatasync"):
            self._sync(paths[0])
        elif call.name in ("open", "openat", "openat2", "creat"):
            if "O_CREAT" in call.arguments or call.name == "creat":
                self._name(paths[0])
        elif call.name in _NAMING:
            self._name(paths[-1])
        elif call.name in ("link", "linkat"):
            self._name(paths[-1])
            self._copy(paths[0], paths[-1])
        elif call.name.startswith("rename"):
            self._rename(*paths)
        elif call.name in ("unlink", "unlinkat", "rmdir"):
            self._forget(paths[0])
        elif call.name == "mmap" and "MAP_SHARED" in call.arguments and "PROT_WRITE" in call.arguments:
            raise AssertionError(f"{paths[0]} is written through memory, which this trace cannot follow")

    def unsafe(self, *below: str) -> list[str]:
        """What a power cut could take of the files below some folders (all of them by default)."""
        prefixes = tuple(f"{self.root}/{name}" for name in below) or (self.root,)
        bytes_ = [f"bytes of {path}" for path in sorted(self.dirty) if path.startswith(prefixes)]
        return bytes_ + [f"name of {path}" for path in sorted(self.unnamed) if path.startswith(prefixes)]

    def _sync(self, path: str) -> None:
        self.dirty.discard(path)
        self.synced.add(path)
        self.unnamed = {name for name in self.unnamed if str(Path(name).parent) != path}

    def _name(self, path: str) -> None:
        if path not in self.there:
            self.there.add(path)
            self.unnamed.add(path)

    def _copy(self, source: str, target: str) -> None:
        if source in self.dirty:
            self.dirty.add(target)

    def _rename(self, source: str, target: str) -> None:
        for names in (self.there, self.dirty, self.unnamed, self.synced):
            moved = {name for name in names if name == source or name.startswith(f"{source}/")}
            names.difference_update(moved)
            names.update(target + name.removeprefix(source) for name in moved)
        self.there.add(target)
        self.unnamed.add(target)

    def _forget(self, path: str) -> None:
        for names in (self.there, self.dirty, self.unnamed, self.synced):
            names.difference_update({name for name in names if name == path or name.startswith(f"{path}/")})


def replay(calls: Iterable[Call], disk: Disk) -> Iterator[Call]:
    """Take in one call after another, and hand each on before it is taken in."""
    for call in calls:
        yield call
        disk.note(call)
