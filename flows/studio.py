"""The cast: which model plays which role. The only place where settings become adapters."""

from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from types import TracebackType

from flows.errors import UserError
from flows.settings import ChatSettings, CriticSettings, EncoderSettings, PainterSettings, Settings, ViewerSettings
from models.chat import ChatModel
from models.drawing import TextToImage
from models.embedding import Encoder
from models.errors import TerminalError
from models.identity import ModelIdentity


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """The models of a run by role: two for text, two for pictures, one for vectors.

    Without a critic, texts are criticised by the deterministic checks alone.
    """

    writer: ChatModel
    critic: ChatModel | None
    painter: TextToImage
    viewer: ChatModel
    encoder: Encoder

    def roles(self) -> Mapping[str, ModelIdentity]:
        cast = {name: getattr(self, name) for name in self.__slots__}
        return {name: model.identity for name, model in cast.items() if model is not None}


class Studio:
    """Opens the adapters that the settings name, each one once, and closes them all."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._chats: dict[str, ChatModel] = {}
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Cast:
        generation = self._settings.generation
        try:
            with _named("generation.writer", generation.writer.backend):
                writer = await self._chat(generation.writer)
            with _named("generation.critic", generation.critic.backend):
                critic = None if generation.critic.backend == "checks" else await self._chat(generation.critic)
            with _named("generation.painter", generation.painter.backend):
                painter = _painter(generation.painter)
            viewer, encoder = _viewer(generation.viewer), _encoder(self._settings.selection.encoder)
        except BaseException:
            await self._exits.aclose()
            raise
        return Cast(writer=writer, critic=critic, painter=painter, viewer=viewer, encoder=encoder)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exits.aclose()

    async def _chat(self, settings: ChatSettings | CriticSettings) -> ChatModel:
        if settings.backend not in self._chats:
            self._chats[settings.backend] = await self._open_chat(settings)
        return self._chats[settings.backend]

    async def _open_chat(self, settings: ChatSettings | CriticSettings) -> ChatModel:
        if settings.backend == "fake":
            from models.fakes import FakeChat

            return FakeChat()
        from models.llama_chat import LlamaChat

        return await self._exits.enter_async_context(LlamaChat())


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


def _painter(settings: PainterSettings) -> TextToImage:
    if settings.backend == "fake":
        from models.fakes import FakePainter

        return FakePainter()
    from models.openmoji_painter import OpenmojiPainter

    return OpenmojiPainter()


def _viewer(settings: ViewerSettings) -> ChatModel:
    if settings.backend == "fake":
        from models.fakes import FakeChat

        return FakeChat()
    from models.scene_critic import SceneCritic

    return SceneCritic()


def _encoder(settings: EncoderSettings) -> Encoder:
    if settings.backend == "fake":
        from models.fakes import FakeEncoder

        return FakeEncoder()
    from models.descriptor_encoder import DescriptorEncoder

    return DescriptorEncoder()
