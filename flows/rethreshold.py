"""The flow `rethreshold_lake`: decide a lake by other thresholds. Holds only what Prefect loads."""

from pathlib import Path
from typing import Annotated, Any, Literal

from prefect import flow
from prefect.runtime import flow_run
from pydantic import Field

from flows.rethresholding import AskedThresholds
from flows.tasks import decide_by_thresholds, show_thresholds
from flows.ui.announcing import announced_versions
from flows.ui.names import name_rethreshold


@flow(name="rethreshold_lake", flow_run_name=name_rethreshold, retries=0)
def rethreshold_lake(
    *,
    lake: str = "./lake",
    image: Annotated[float | None, Field(ge=0, le=1)] = None,
    text: Annotated[float | None, Field(ge=0, le=1)] = None,
    policy: Literal["both", "image", "text", "either"] | None = None,
    lock_timeout: Annotated[float | None, Field(ge=0, le=86_400)] = None,
) -> dict[str, Any]:
    """Decide all samples of a lake by other thresholds, as one version, and put them into its settings.

    No model is asked; what was dropped comes back where the thresholds let it. Returns what that changed.

    Args:
        lake: Folder of the lake, as the worker sees it.
        image: From which similarity of their pictures turns are the same; empty: as the lake's settings say.
        text: The same of their captions.
        policy: Which of the two must be reached; empty: as the lake's settings say.
        lock_timeout: Seconds to wait for another process to leave the lake; empty: as the lake's settings say.
    """
    asked = AskedThresholds(image=image, text=text, policy=policy)
    with announced_versions():
        done = decide_by_thresholds(Path(lake), asked, lock_timeout, flow_run.id)
    show_thresholds(done)
    return done.json()
