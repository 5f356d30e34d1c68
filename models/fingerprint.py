"""What adapters tell of what they run on: the installed versions of libraries."""

import importlib.metadata

MISSING = "missing"


def versions_of(*packages: str) -> dict[str, str]:
    """The version of each distribution by its name, `missing` where it is not installed."""
    return {package: _version_of(package) for package in packages}


def _version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return MISSING
