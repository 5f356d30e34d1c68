"""Two lakes to export from, made once: they are only read."""

from collections.abc import Callable
from pathlib import Path

import pytest

from flows.export.asked import Exported, ExportOptions
from flows.export.exporting import export_lake_at
from storage.lake import Lake
from tests.gallery.lakes import judged, make_lake

Export = Callable[..., Path]


@pytest.fixture(scope="session")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Hostile texts, dropped samples, turns that come near to each other, verdicts."""
    return judged(make_lake(tmp_path_factory.mktemp("export") / "lake", topics=10, turns=2))


@pytest.fixture
def export(lake: Lake, tmp_path: Path) -> Export:
    """Export into a new folder of the test's own."""

    def do(name: str = "out", **asked: object) -> Path:
        done = export_lake_at(lake.path, tmp_path / name, ExportOptions(**asked))  # type: ignore[arg-type]
        assert isinstance(done, Exported) and done.is_new
        return tmp_path / name

    return do
