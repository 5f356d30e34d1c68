"""Where a model's weights lie, checked before anything is loaded: pinned, safe to read, hashed, their licence known."""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from models.errors import TerminalError
from models.hub import fetch, licence_of, read_card
from models.identity import canonical_sha256

SHAPING = frozenset({".safetensors", ".json", ".txt", ".model"})
"""Kinds of files that shape what a model answers."""

HARMLESS = SHAPING | {"", ".csv", ".gif", ".jinja", ".jpeg", ".jpg", ".md", ".pdf", ".png", ".rst", ".svg", ".webp"}
PICKLES = frozenset({".bin", ".ckpt", ".joblib", ".npy", ".npz", ".pickle", ".pkl", ".pt", ".pt2", ".pth", ".zip"})
PROGRAMS = frozenset({".bat", ".dll", ".dylib", ".exe", ".js", ".py", ".pyc", ".pyd", ".sh", ".so"})
ADMINISTRATION = frozenset({".git", ".cache"})  # what git and the hub's client keep beside a copy; never loaded
CODE_SETTINGS = ("auto_map", "custom_pipeline", "custom_pipelines", "trust_remote_code")

# Where diffusers itself keeps the classes that a model_index.json may name; any other module is somebody's code.
PIPELINE_LIBRARIES = frozenset(
    {"diffusers", "transformers", "deepfloyd_if", "flux", "kandinsky", "kolors", "latent_diffusion",
     "stable_diffusion"}
)  # fmt: skip
HEADER_BYTES = 100_000_000  # the most that the safetensors format allows a header


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsSource:
    """Which weights the settings ask for.

    `name` is a hub repository, or the user's own name for a `folder`. `revision` is a commit of 40 hex digits: a must
    for a repository, and where a folder is a copy of one, its commit. `licence` (SPDX) overrides the model card.
    """

    name: str
    revision: str | None
    folder: Path | None
    licence: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Weights that may be loaded. `revision` is the commit, or `sha256:` and the hash of a folder without one."""

    name: str
    revision: str
    folder: Path
    sha256: str
    licence: str


def find_weights(source: WeightsSource) -> Weights:
    """The weights, looked through and hashed; TerminalError when they are missing, unpinned, unsafe or unlicensed."""
    folder = _folder_of(source)
    try:
        files = _list_files(source.name, folder)
        _check_contents(files)
        licence = source.licence or licence_of(read_card(folder / "README.md"))
        sha256 = _hash_of({path: file for path, file in files.items() if _shapes(path)})
    except OSError as error:
        raise TerminalError(f"the weights of {source.name} cannot be read: {error}") from error
    if licence is None:
        raise TerminalError(
            f"nothing says under which licence {source.name} may be used (no 'license:' in the model card, "
            f"{folder / 'README.md'}): find out, and say it in the settings as 'licence'"
        )
    revision = source.revision or f"sha256:{sha256}"
    return Weights(name=source.name, revision=revision, folder=folder, sha256=sha256, licence=licence)


def _folder_of(source: WeightsSource) -> Path:
    if source.revision is not None and not re.fullmatch("[0-9a-f]{40}", source.revision):
        raise TerminalError(
            f"{source.name} has the revision {source.revision!r}, which is no commit of 40 hex digits, "
            "so it is not pinned: run 'interlake models pin'"
        )
    if source.folder is not None:
        folder = source.folder.expanduser().resolve()
        if not folder.is_dir():
            raise TerminalError(f"{source.name}: there is no folder {folder}; put the weights there or name another")
        return folder
    if source.revision is None:
        raise TerminalError(f"{source.name} is not pinned: run 'interlake models pin'")
    try:
        return fetch(source.name, source.revision).resolve()
    except TerminalError as error:
        raise TerminalError(
            f"{error}. Fetch it where a hub can be reached, into the cache that this machine reads (HF_HUB_CACHE), "
            f'or copy its files here and name their folder in the settings under [local."{source.name}"]'
        ) from error


def _list_files(name: str, folder: Path) -> dict[PurePosixPath, Path]:
    """Every file by its path in the folder, sorted; TerminalError for the first that must not be there."""
    found = dict(sorted((PurePosixPath(path.relative_to(folder).as_posix()), path) for path in _walk(folder)))
    for path, file in found.items():
        reason = _why_unsafe(path, file, folder)
        if reason:
            raise TerminalError(
                f"{name} is not loaded, for {folder} holds {path}, {reason}: "
                "take it away, or use weights that are safetensors alone"
            )
    if not any(_kind(path) == ".safetensors" for path in found):
        raise TerminalError(f"{name} has no weights as .safetensors in {folder}; other kinds are not loaded")
    return found


def _walk(folder: Path) -> Iterator[Path]:
    for each in folder.iterdir():
        if each.is_dir() and not each.is_symlink():
            if each.name not in ADMINISTRATION:
                yield from _walk(each)
        else:
            yield each


def _kind(path: PurePosixPath) -> str:
    return path.suffix.lower()


def _shapes(path: PurePosixPath) -> bool:
    """Whether a file enters the hash: it shapes the answers, and does not merely say what may be done with them."""
    return _kind(path) in SHAPING and not path.name.lower().startswith(("readme", "licen", "notice"))


def _why_unsafe(path: PurePosixPath, file: Path, folder: Path) -> str | None:
    real, kind = file.resolve(), _kind(path)
    # A hub's cache holds a commit as links to its blobs, which lie beside all snapshots of that repository.
    homes = [folder, *([folder.parents[1] / "blobs"] if folder.parent.name == "snapshots" else [])]
    if not any(real.is_relative_to(home) for home in homes):
        return "a link that leads out of the folder"
    if not real.is_file():
        return "a link to a folder, or to nothing" if file.is_symlink() else "which is no plain file"
    if kind in PICKLES:
        return "a pickle or archive, which may run code when it is opened"
    if kind in PROGRAMS:
        return "which is a program"
    if kind not in HARMLESS:
        return "whose kind is not known to hold no code"
    return None


def _check_contents(files: dict[PurePosixPath, Path]) -> None:
    for path, file in files.items():
        if _kind(path) == ".safetensors":
            _check_tensors(file)
        elif path.name.endswith(("config.json", "model_index.json")):
            _check_settings(file)
        elif path.name.endswith(".safetensors.index.json"):
            _check_shards(path, file, files)


def _check_tensors(file: Path) -> None:
    """TerminalError unless the file is whole by the format's own rules (https://github.com/safetensors/safetensors)."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = stream.read(length) if length <= min(size - 8, HEADER_BYTES) else b""
    try:
        entries = json.loads(header)
        spans = sorted(tuple(entry["data_offsets"]) for key, entry in entries.items() if key != "__metadata__")
        ends = [0, *(end for _, end in spans)]
        whole = [begin for begin, _ in spans] == ends[:-1] and ends[-1] == size - 8 - length
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise TerminalError(f"{file} is no whole safetensors file ({size} bytes): fetch or copy it anew")


def _check_settings(file: Path) -> None:
    """TerminalError where settings name code that is to be run."""
    settings = _read_object(file)
    if _names_code(settings):
        raise TerminalError(f"{file} asks for code of its own ({' or '.join(CODE_SETTINGS)}), which is never run")
    if file.name == "model_index.json":
        _check_components(file, settings)


def _check_shards(path: PurePosixPath, file: Path, files: dict[PurePosixPath, Path]) -> None:
    """TerminalError where an index of weights in several files names one that is not there."""
    shards = _read_object(file).get("weight_map")
    names = {str(shard) for shard in shards.values()} if isinstance(shards, dict) else set()
    missing = sorted(name for name in names if path.parent / name not in files)
    if missing:
        raise TerminalError(f"{file} names weights that are not there: {', '.join(missing)}; fetch or copy them")


def _read_object(file: Path) -> dict[str, object]:
    try:
        settings = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise TerminalError(f"{file} is no JSON ({error}): fetch or copy it anew") from error
    if not isinstance(settings, dict):
        raise TerminalError(f"{file} holds no settings, which are a JSON object: fetch or copy it anew")
    return settings


def _names_code(value: object) -> bool:
    if isinstance(value, dict):
        return any(value.get(key) for key in CODE_SETTINGS) or any(_names_code(each) for each in value.values())
    return isinstance(value, list) and any(_names_code(each) for each in value)


def _check_components(file: Path, index: dict[str, object]) -> None:
    if not isinstance(index.get("_class_name"), str):
        raise TerminalError(f"{file} does not name a pipeline of diffusers by its class alone; no other is loaded")
    for component, named in index.items():
        library = named[0] if isinstance(named, list) and len(named) == 2 else None
        if isinstance(library, str) and library not in PIPELINE_LIBRARIES:
            raise TerminalError(f"{file} takes {component} from the module {library}, which is not one of diffusers")


def _hash_of(files: dict[PurePosixPath, Path]) -> str:
    """Over the sorted paths and the sha256 of each file, as RFC 8785 JSON; hashes known from before are not redone."""
    known = _read_known()
    fresh: dict[str, list[int | str]] = {}
    hashes: list[tuple[str, str]] = []
    for path, file in files.items():
        real = file.resolve()
        seen = real.stat()
        # The change time too: it moves on even where a copy is given the times of what it replaced.
        state: list[int | str] = [seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns]
        entry = known.get(str(real))
        if isinstance(entry, list) and len(entry) == 4 and entry[:3] == state:
            digest = str(entry[3])
        else:
            with real.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            fresh[str(real)] = [*state, digest]
        hashes.append((path.as_posix(), digest))
    if fresh:
        _write_known(fresh)
    return canonical_sha256(hashes)


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "interlake" / "weights.json"


def _read_known() -> dict[str, object]:
    """Hashes by path, as found before; nothing where the file is missing, damaged or out of reach."""
    try:
        known = json.loads(_cache().read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return known if isinstance(known, dict) else {}


def _write_known(fresh: dict[str, list[int | str]]) -> None:
    """Add to the cache in one step. Of two processes the later wins; what is lost is hashed again some day."""
    path = _cache()
    with suppress(OSError):  # a cache that cannot be written costs time, nothing else
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix="weights-", delete=False) as file:
            try:
                json.dump(_read_known() | fresh, file)
                file.close()
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
