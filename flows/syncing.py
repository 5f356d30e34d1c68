"""Spools whose last second alone a power cut can take."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from storage.spool import Spool

SYNC_SECONDS = 1.0


@asynccontextmanager
async def synced(spool: Spool, stop: Callable[[Exception], None]) -> AsyncIterator[None]:
    """A block in which a spool is synced again and again; `stop` hears of the error when the disk does not take it."""
    syncing = asyncio.create_task(sync_often(spool, stop))
    try:
        yield
    finally:
        syncing.cancel()


async def sync_often(spool: Spool, stop: Callable[[Exception], None]) -> None:
    """Make the spool outlive a power cut once a second; a killed process loses nothing either way.

    The kernel tells of an error once: after that nothing is sure of what was written, so the run has to stop.
    """
    while True:
        await asyncio.sleep(SYNC_SECONDS)
        try:
            await asyncio.to_thread(spool.sync)
        except OSError as error:
            stop(error)
            return
