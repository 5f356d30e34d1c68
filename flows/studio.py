"""The cast: which model plays which role. The only place where settings become adapters."""

import asyncio
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from flows.cards import Card, Named, SharedChat, SharedPainter, Sleeper
from flows.errors import UserError
from flows.judge.seating import Bench, seat_bench
from flows.pinning import repository_of
from flows.place_settings import LocalSettings
from flows.settings import (
    UNPINNED,
    BatchedChat,
    ChecksAlone,
    ChosenModel,
    CriticSettings,
    DiffusedPictures,
    OpenClipSettings,
    ServedChat,
    Settings,
    ViewerSettings,
    WriterSettings,
    chat_of,
)
from models.chat import ChatModel
from models.drawing import TextToImage
from models.embedding import Encoder
from models.errors import ModelError, TerminalError
from models.identity import ModelIdentity
from models.weights import Weights, WeightsSource, find_weights

LOG = logging.getLogger("interlake.flows.studio")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """The models of a run by role: two for text, two for pictures, one for vectors.

    Without a critic, texts are criticised by the deterministic checks alone; without a `bench` nobody judges.
    """

    writer: ChatModel
    critic: ChatModel | None
    painter: TextToImage
    viewer: ChatModel
    encoder: Encoder
    bench: Bench | None = None

    def room(self) -> int:
        """How many requests those who write, draw and look bear at a time, all together; may change as they go."""
        models: list[ChatModel | TextToImage] = [self.writer, self.painter, self.viewer]
        models += [self.critic] if self.critic is not None else []
        return sum({model.identity.name: model.at_once for model in models}.values())

    def roles(self) -> Mapping[str, ModelIdentity]:
        cast = {name: getattr(self, name) for name in self.__slots__ if name != "bench"}
        roles = {name: model.identity for name, model in cast.items() if model is not None}
        return roles | (self.bench.roles() if self.bench else {})


class Studio:
    """Opens the adapters that the settings name, each one once, and closes them all.

    Entered, it opens the whole cast; each role can be opened by itself as well. UserError names the setting whose
    model cannot be used here.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._chats: dict[tuple[str, ...], ChatModel] = {}
        self._cards: dict[str, Card] = {}
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Cast:
        try:
            return Cast(
                writer=await self.writer(),
                critic=await self.critic(),
                painter=await self.painter(),
                viewer=await self.viewer(),
                encoder=await self.encoder(),
                bench=await self._bench(),
            )
        except BaseException:
            await self.close()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all of them. Those that share a card leave it free: the next build may begin with another."""
        for card in self._cards.values():
            try:
                await card.rest()
            except ModelError as error:
                LOG.warning("a card is not left free: %s", error)
        await self._exits.aclose()

    async def writer(self) -> ChatModel:
        return await self._chat("generation.writer", self._settings.generation.writer)

    async def critic(self) -> ChatModel | None:
        settings = self._settings.generation.critic
        return None if isinstance(settings, ChecksAlone) else await self._chat("generation.critic", settings)

    async def viewer(self) -> ChatModel:
        return await self._chat("generation.viewer", self._settings.generation.viewer)

    async def painter(self) -> TextToImage:
        settings = self._settings.generation.painter
        with _named("generation.painter", settings.backend):
            if isinstance(settings, DiffusedPictures):
                return await self._open_pipeline(settings)
            if settings.backend == "fake":
                from models.fakes import FakePainter

                return FakePainter()
            from models.openmoji_painter import OpenmojiPainter

            return OpenmojiPainter()

    async def encoder(self) -> Encoder:
        settings = self._settings.selection.encoder
        with _named("selection.encoder", settings.backend):
            if isinstance(settings, OpenClipSettings):
                return await self._open_clip(settings)
            if settings.backend == "fake":
                from models.fakes import FakeEncoder

                return FakeEncoder()
            if settings.backend == "descriptor":
                from models.descriptor_encoder import DescriptorEncoder

                return DescriptorEncoder()
            from models.scene_clip_encoder import SceneClipEncoder

            return SceneClipEncoder()

    async def _bench(self) -> Bench | None:
        """The judge that a build asks, if it asks one."""
        settings = self._settings.judge
        if not settings.is_asked_by_builds:
            return None
        return seat_bench(settings, {settings.judges[0].name: await self.judge(0)})

    async def judge(self, number: int) -> ChatModel:
        """The model of one of the judges, by its place in the settings."""
        entry, key = self._settings.judge.judges[number], f"judge.judges.{number}"
        if entry.model is not None:
            return await self._chat(key, chat_of(entry))
        with _named(key, entry.backend):
            if entry.backend == "fake":
                from models.fakes import FakeChat

                return FakeChat(name="stand-in-judge")
            from models.scene_signals import SceneSignals

            return SceneSignals()

    async def _chat(self, key: str, settings: WriterSettings | CriticSettings | ViewerSettings) -> ChatModel:
        assert not isinstance(settings, ChecksAlone), "the checks are no model"
        who = (settings.backend, *_ways(settings))
        if who not in self._chats:
            with _named(key, settings.backend):
                if isinstance(settings, ServedChat):
                    self._chats[who] = await self._open_server(settings)
                elif isinstance(settings, BatchedChat):
                    self._chats[who] = await self._open_batches(settings)
                else:
                    self._chats[who] = await self._open_embedded(settings.backend)
        return self._chats[who]

    async def _open_embedded(self, backend: str) -> ChatModel:
        if backend == "fake":
            from models.fakes import FakeChat

            return FakeChat()
        if backend == "scene":
            from models.scene_critic import SceneCritic

            return SceneCritic()
        from models.llama_chat import LlamaChat

        return await self._exits.enter_async_context(LlamaChat())

    async def _open_server(self, settings: ServedChat) -> ChatModel:
        from models.server_chat import ServerChat, ServerSource

        if settings.revision == UNPINNED:
            raise TerminalError(
                f"{settings.model} is not pinned: run 'interlake models pin', or write revision = \"as-served\" "
                "where nobody knows which one the server has"
            )
        place = self._settings.servers[settings.model]
        try:
            source = ServerSource(
                model=settings.model,
                revision=settings.revision,
                licence=settings.licence,
                urls=place.urls,
                at_once=place.at_once,
                timeout=place.timeout,
                api_key=_secret(place.api_key_env),
                dialect=place.dialect,
            )
        except ValueError as error:
            raise TerminalError(str(error)) from error
        chat = await self._exits.enter_async_context(ServerChat(source))
        if place.card is None:
            return chat
        from models.server_sleep import ServerSleeper

        return SharedChat(chat, await self._on_card(place.card, chat, ServerSleeper(place.urls, source.api_key)))

    async def _open_batches(self, settings: BatchedChat) -> ChatModel:
        from models.vllm_batches import VllmBatches, VllmSite

        place = self._place(settings)
        try:
            site = VllmSite(
                python=Path(place.python) if place.python else None,
                device=place.device,
                memory=place.memory,
                batch=place.batch,
                window=place.window,
                sleeps=place.card is not None and place.device.startswith("cuda"),
            )
        except ValueError as error:
            raise TerminalError(f'[local."{settings.model}"]: {error}') from error
        chat = VllmBatches(
            await _weights(settings, repository_of(settings), place),
            dtype=settings.dtype,
            context=settings.context,
            site=site,
        )
        await self._exits.enter_async_context(chat)
        return SharedChat(chat, await self._on_card(place.card, chat, chat)) if place.card else chat

    async def _open_pipeline(self, settings: DiffusedPictures) -> TextToImage:
        from models.diffusers_painter import DiffusersPainter, PipelineSite

        place = self._place(settings)
        site = PipelineSite(device=place.device, offload=place.offload, batch=place.batch, window=place.window)
        weights = await _weights(settings, repository_of(settings), place)
        painter = await self._exits.enter_async_context(DiffusersPainter(weights, dtype=settings.dtype, site=site))
        return SharedPainter(painter, await self._on_card(place.card, painter, painter)) if place.card else painter

    async def _open_clip(self, settings: OpenClipSettings) -> Encoder:
        from models.open_clip_encoder import OpenClipEncoder

        place = self._place(settings)
        encoder = OpenClipEncoder(
            weights=await _weights(settings, repository_of(settings), place),
            architecture=settings.architecture,
            dtype=settings.dtype,
            device=place.device,
            batch=place.batch,
            window=place.window,
        )
        return await self._exits.enter_async_context(encoder)

    async def _on_card(self, name: str, model: Named, sleeper: Sleeper) -> Card:
        """The card of this name, which one more model shares now; it sleeps, so that the next one can be loaded."""
        card = self._cards.setdefault(name, Card())
        card.add(model.identity.name, sleeper)
        await card.rest()
        return card

    def _place(self, settings: ChosenModel) -> LocalSettings:
        return self._settings.local.get(settings.model, LocalSettings())


def _ways(settings: WriterSettings | CriticSettings | ViewerSettings) -> tuple[str, ...]:
    """What tells two chat models of one backend apart."""
    match settings:
        case ServedChat():
            return (settings.model, settings.revision)
        case BatchedChat():
            return (settings.model, settings.revision, settings.dtype, str(settings.context))
    return ()


async def _weights(settings: ChosenModel, name: str, place: LocalSettings) -> Weights:
    source = WeightsSource(
        name=name,
        revision=None if settings.revision == UNPINNED else settings.revision,
        folder=Path(place.folder) if place.folder else None,
        licence=settings.licence,
    )
    return await asyncio.to_thread(find_weights, source)


def _secret(variable: str | None) -> str | None:
    """The value of an environment variable that settings name; TerminalError when it is not there."""
    if variable is None:
        return None
    value = os.environ.get(variable)
    if not value:
        raise TerminalError(f"the environment variable {variable}, which api_key_env names, is not set")
    return value


@contextmanager
def _named(key: str, backend: str) -> Iterator[None]:
    """Turn what a model lacks into an error that names the setting which asks for it."""
    try:
        yield
    except TerminalError as error:
        raise UserError(f"setting '{key}.backend' is '{backend}', which cannot be used here: {error}") from error
    except ImportError as error:
        raise UserError(
            f"setting '{key}.backend' is '{backend}', and {error.name} is not installed: "
            "install interlake with its extra 'embedded', or choose another backend"
        ) from error
