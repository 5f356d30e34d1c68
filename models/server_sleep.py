"""Letting servers of vLLM sleep and waking them, by the pages that they serve in development mode only.

A server that sleeps has its weights in the machine's memory and leaves the card to others. It must have been started
with `--enable-sleep-mode` and VLLM_SERVER_DEV_MODE=1 (https://docs.vllm.ai/en/v0.32.0/features/sleep_mode/). Proxies of
the environment are not looked at.
"""

import asyncio
import http.client
import urllib.error
import urllib.request
from collections.abc import Sequence

from models.errors import NobodyThere, TerminalError, TransientError

SECONDS = 300.0  # that giving back or taking the weights may take
WAY_OUT = "start it with --enable-sleep-mode and VLLM_SERVER_DEV_MODE=1, or take the card out of the settings"


class ServerSleeper:
    """All the replicas of one model, put to sleep and woken together. `urls` end in /v1, or not."""

    def __init__(self, urls: Sequence[str], api_key: str | None) -> None:
        self._bases = tuple(url.rstrip("/").removesuffix("/v1") for url in urls)
        self._headers = {"authorization": f"Bearer {api_key}"} if api_key else {}

    async def sleep(self) -> None:
        """Give the cards back, the weights being kept in memory. NobodyThere where no server runs, TransientError
        where one did not do it now, TerminalError where one cannot sleep."""
        await self._tell("/sleep?level=1")

    async def wake(self) -> None:
        """Take the cards again; errors as for `sleep`."""
        await self._tell("/wake_up")

    async def _tell(self, page: str) -> None:
        await asyncio.gather(*(asyncio.to_thread(self._post, f"{base}{page}") for base in self._bases))

    def _post(self, url: str) -> None:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(urllib.request.Request(url, b"", self._headers), timeout=SECONDS) as answer:
                answer.read()
        except urllib.error.HTTPError as error:
            error.close()
            if error.code < 500:
                raise TerminalError(f"{url} answered {error.code}: the server cannot sleep; {WAY_OUT}") from error
            raise TransientError(f"{url} answered {error.code}") from error
        except (OSError, http.client.HTTPException) as error:
            if isinstance(getattr(error, "reason", error), ConnectionRefusedError):
                raise NobodyThere(f"{url} refuses connections") from error
            raise TransientError(f"{url} does not answer: {error}") from error
