"""What a model hub knows of a repository: its newest commit, its model card, its files. The only user of its client.

The client is imported when it is called. It finds the hub (`HF_ENDPOINT`), its cache (`HF_HUB_CACHE`), whether it may
go out at all (`HF_HUB_OFFLINE`) and the user's token by itself, from the environment.
"""

import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import yaml

from models.errors import TerminalError

WANTED = ("*.safetensors", "*.json", "*.txt", "*.model", "README.md", "LICENSE*")
"""What is fetched of a repository: weights and settings that hold no code, and what they may be used for."""

WAY_OUT = "install it with: pip install 'interlake[torch]'"
CARD_BYTES = 1 << 20  # of a model card, more than any needs for what stands at its head

# Hub ids differ from SPDX in case alone, but for these; the GNU ids do not say "or later".
SPDX = {
    name.lower(): name
    for name in (
        "AFL-3.0", "Apache-2.0", "Artistic-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSD-3-Clause-Clear", "BSL-1.0",
        "CC-BY-2.0", "CC-BY-2.5", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-NC-2.0", "CC-BY-NC-3.0", "CC-BY-NC-4.0",
        "CC-BY-NC-ND-3.0", "CC-BY-NC-ND-4.0", "CC-BY-NC-SA-2.0", "CC-BY-NC-SA-3.0", "CC-BY-NC-SA-4.0", "CC-BY-ND-4.0",
        "CC-BY-SA-3.0", "CC-BY-SA-4.0", "CC0-1.0", "CDLA-Permissive-1.0", "CDLA-Permissive-2.0", "CDLA-Sharing-1.0",
        "ECL-2.0", "EPL-1.0", "EPL-2.0", "EUPL-1.1", "EUPL-1.2", "ISC", "MIT", "MPL-2.0", "MS-PL", "NCSA", "ODbL-1.0",
        "OFL-1.1", "OSL-3.0", "PDDL-1.0", "PostgreSQL", "Unlicense", "WTFPL", "Zlib",
    )
} | {
    "agpl-3.0": "AGPL-3.0-only", "gpl-2.0": "GPL-2.0-only", "gpl-3.0": "GPL-3.0-only", "lgpl-2.1": "LGPL-2.1-only",
    "lgpl-3.0": "LGPL-3.0-only", "odbl": "ODbL-1.0", "pddl": "PDDL-1.0",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class HubEntry:
    """A repository as it stands on the hub today. `licence` is SPDX, None where the card names none."""

    repository: str
    revision: str
    licence: str | None
    files: tuple[str, ...]


def look_up(repository: str) -> HubEntry:
    """The newest commit of a repository and what its card says; TerminalError when the hub does not tell."""
    client = _client()
    with _told_plainly(client, repository):
        info = client.HfApi().model_info(repository)
    if info.sha is None:
        raise TerminalError(f"the hub names no commit of {repository}: it cannot be pinned")
    card = info.card_data.to_dict() if info.card_data is not None else {}
    files = tuple(sorted(each.rfilename for each in info.siblings or ()))
    return HubEntry(repository=repository, revision=info.sha, licence=licence_of(card), files=files)


def fetch(repository: str, revision: str) -> Path:
    """The folder that holds the repository at a commit: the hub's own cache, filled up from the hub where it must be.

    TerminalError when files are missing and the hub is out of reach, or does not give them.
    """
    client = _client()
    asked = {"repo_id": repository, "revision": revision, "allow_patterns": list(WANTED)}
    with _told_plainly(client, f"{repository} at {revision}"):
        with suppress(client.errors.LocalEntryNotFoundError):
            return Path(client.snapshot_download(**asked, local_files_only=True))
        # Fails at once where no hub is, while fetching would try again for half a minute.
        client.HfApi().model_info(repository, revision=revision)
        return Path(client.snapshot_download(**asked))


def read_card(path: Path) -> Mapping[str, object]:
    """The settings at the head of a model card (README.md); empty where there is no card, or nothing readable in it."""
    try:
        with path.open("rb") as file:
            text = file.read(CARD_BYTES).decode("utf-8", errors="replace")
    except FileNotFoundError:
        return {}
    head = re.match(r"\ufeff?---[ \t]*\r?\n(.*?)^---[ \t]*\r?$", text, re.DOTALL | re.MULTILINE)
    try:
        card = yaml.safe_load(head.group(1)) if head else {}
    except yaml.YAMLError:
        return {}
    return card if isinstance(card, dict) else {}


def licence_of(card: Mapping[str, object]) -> str | None:
    """The licence that a model card names, as an SPDX expression; one that SPDX does not list is a LicenseRef."""
    named = card.get("license")
    names = [str(each) for each in named] if isinstance(named, list) else [str(named or "")]
    if names == ["other"] and card.get("license_name"):
        return _reference(str(card["license_name"]))
    if not all(names) or {"other", "unknown"} & set(names):
        return None
    return " AND ".join(SPDX.get(name.lower(), _reference(name)) for name in names) or None


def _reference(name: str) -> str:
    return "LicenseRef-" + re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-")


def _client() -> ModuleType:
    """The hub's client, told to be quiet: no progress bars, no usage reports."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        import huggingface_hub.errors  # noqa: PLC0415 - only those who fetch weights need it
    except ImportError as error:
        raise TerminalError(f"huggingface_hub, which reads model hubs, cannot be imported; {WAY_OUT}") from error
    # What it warns of (no token, a cached copy taken) is either harmless or ends as an error of ours.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    return huggingface_hub


@contextmanager
def _told_plainly(client: ModuleType, what: str) -> Iterator[None]:
    """Errors of the client as one sentence each, without anything that it was sent."""
    errors = client.errors
    try:
        yield
    except errors.GatedRepoError as error:
        raise TerminalError(
            f"{what}: its owner lets in only who asked on its page; ask there, then log in with: hf auth login"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise TerminalError(f"{what}: the hub has no such repository, or shows it only to whom it knows") from error
    except errors.RevisionNotFoundError as error:
        raise TerminalError(f"{what}: the hub has no such commit; look it up with: interlake models pin") from error
    except errors.HFValidationError as error:
        raise TerminalError(f"{what}: not the name of a repository, which is like 'owner/name'") from error
    except (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError, errors.HTTPError) as error:
        raise TerminalError(f"{what}: {_out_of_reach(errors, error)}") from error
    except ValueError as error:
        raise TerminalError(f"{what}: what answers there speaks no hub's language; see HF_ENDPOINT") from error
    except OSError as error:
        raise TerminalError(f"{what} cannot be fetched into the hub's cache: {error}") from error


def _out_of_reach(errors: ModuleType, error: BaseException) -> str:
    """Why a file of the hub could not be had, told by the first cause that says it."""
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__) is not None:
        chain.append(cause)
    if any(isinstance(each, errors.OfflineModeIsEnabled) for each in chain):
        return "not all of it is in the hub's cache, and HF_HUB_OFFLINE keeps the hub out of reach"
    status = next((each.response.status_code for each in chain if isinstance(each, errors.HfHubHTTPError)), None)
    if status is not None:
        return f"the hub answers with status {status}"
    return f"the hub cannot be reached ({type(chain[-1]).__name__})"
