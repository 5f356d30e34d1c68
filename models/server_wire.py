"""The words of the OpenAI chat protocol: bodies as servers want them, and what their answers mean. Sends nothing."""

import base64
import email.utils
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from models.chat import ChatReply, ChatRequest, ImagePart, Message, Part, Sampling, TextPart
from models.errors import ContentError, ModelError, RefusedRequest, TerminalError, TransientError
from models.identity import Json
from models.secret import Secret
from models.server_tokens import read_tokens

Dialect: TypeAlias = Literal["vllm", "llama.cpp", "openai"]

PNG_URL = "data:image/png;base64,"
LONGEST_WISH = 600.0  # seconds: a server that asks for a longer wait is asked again earlier
MOST_TOKENS = 2**53  # what JSON numbers hold exactly
LONGEST_QUOTE = 300  # characters of a server's words in an error
RANDOM_SEED = 2**32 - 1  # llama.cpp holds seeds in 32 bits and takes this one for "choose one yourself"

# How servers say that prompt and reply do not fit the context: OpenAI, vLLM and llama.cpp, by word and by sentence.
TOO_LONG_WORDS = frozenset({"context_length_exceeded", "exceed_context_size_error", "input_tokens"})
TOO_LONG = re.compile(r"(maximum|model's) (context|model) length|context size|too long to fit", re.IGNORECASE)

ADVICE = {
    401: "it wants another key: give the right one, or the right address",
    403: "it does not let this key in: give another one, or the right address",
    404: "the path or the model is not there: mend urls (most end in /v1) or model",
}
REDIRECT_ADVICE = "redirects are not followed: give the final address in urls"
OTHER_ADVICE = "mend the settings, or the server"
UNFIT = frozenset({400, 413, 422})
"""Statuses that are about what was sent, whoever sent it."""


class ServerBusy(TransientError):
    """The server has more to do than it bears (429, 503): it should be given less."""


class ServerLate(TransientError):
    """No whole reply came in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where a server is, and the key that nothing of what it says may show."""

    url: str
    secret: Secret | None

    def quote(self, words: object) -> str:
        """The server's words as they may be shown: on one line, shortened, printable, without the secret."""
        text = words.decode(errors="replace") if isinstance(words, bytes) else str(words)
        text = self.secret.hide(text) if self.secret else text
        text = " ".join(text.encode(errors="replace").decode().split())
        return text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}…"


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An HTTP response that came whole; the names of the headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A model as a server lists it; `names` are all that it may go by in an answer."""

    names: frozenset[str]
    root: str | None
    max_model_len: int | None


def request_body(request: ChatRequest, dialect: Dialect) -> dict[str, Json]:
    """The request as the server takes it; TerminalError for a sampling parameter that it does not know."""
    body: dict[str, Json] = {
        "model": request.model,
        "messages": [_message(message) for message in request.messages],
        "temperature": request.sampling.temperature,
        "top_p": request.sampling.top_p,
        "max_tokens": request.sampling.max_tokens,
        "n": 1,
        "stream": False,
        # vLLM and OpenAI hold seeds in 64 bits; llama.cpp in 32: there two of ours may be one.
        "seed": request.seed % RANDOM_SEED if dialect == "llama.cpp" else request.seed,
        **_extra_sampling(request.sampling, dialect),
    }
    if request.schema is not None:
        form: Json = {"name": "reply", "schema": request.schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    if request.top_logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": request.top_logprobs}
    return body


def read_reply(body: bytes, *, names: frozenset[str], server: Server, with_tokens: bool = False) -> ChatReply:
    """The reply in the body of a 200. `names` are those that the model may go by.

    TransientError for what is no reply at all, ContentError for one without content; TerminalError for another model's,
    and for one without log-probabilities where they were asked for (`with_tokens`).
    """
    match answer := _object(body):
        case {"model": str(model), "choices": [{"message": {**message}, "finish_reason": finish, **choice}, *_]}:
            pass
        case _:
            raise TransientError(
                f"{server.url} answered 200 with something that is no chat reply: {server.quote(body)}"
            )
    if model not in names:
        known = server.quote(" or ".join(sorted(names)))
        raise TerminalError(
            f"another model answered at {server.url}: {server.quote(model)}, not {known}; "
            "name the model in the settings as the server names it in its answers, or start the right one"
        )
    if finish == "content_filter" or message.get("refusal"):
        said = server.quote(message.get("refusal") or finish)
        raise ContentError("refused", f"the server refused to answer: {said}")
    if finish not in ("stop", "length"):
        raise TransientError(f"{server.url} broke off its reply, finish_reason {server.quote(finish)}")
    text = message.get("content")
    if not isinstance(text, str) or not text:
        raise ContentError("empty_reply", f"the server replied without content, finish_reason {finish}")
    if server.secret is not None and server.secret.is_repeated_in(text):
        raise ContentError("secret_in_reply", "the reply repeats the key that it was asked with; it is not kept")
    tokens = read_tokens(choice.get("logprobs")) if with_tokens else None
    if with_tokens and tokens is None:
        raise TerminalError(
            f"{server.url} tells no log-probabilities, and they were asked for: let the server give them "
            "(logprobs and top_logprobs of OpenAI's protocol), or leave expected_value out of the settings"
        )
    fingerprint = answer.get("system_fingerprint")
    told = {"system_fingerprint": server.quote(fingerprint)} if isinstance(fingerprint, str) else {}
    return ChatReply(
        text=text,
        finish_reason=finish,
        prompt_tokens=_count(answer, "prompt_tokens"),
        completion_tokens=_count(answer, "completion_tokens"),
        backend={"model": server.quote(model), **told},
        tokens=tokens,
    )


def read_refusal(response: Response, *, now: datetime, server: Server) -> ModelError:
    """What a status other than 2xx means."""
    status = response.status
    said = f"answered {status}: {server.quote(_words(response.body))}"
    if status in (408, 429) or status >= 500:
        kind = ServerBusy if status in (429, 503) else TransientError
        return kind(f"{server.url} {said}", retry_after=read_retry_after(response.headers, now))
    if status == 400 and _is_too_long(response.body):
        return ContentError("prompt_too_long", f"the server {said}")
    advice = ADVICE.get(status, OTHER_ADVICE if status >= 400 else REDIRECT_ADVICE)
    if status in UNFIT:
        return RefusedRequest(f"{server.url} {said}; {advice}", said=f"the server {said}")
    return TerminalError(f"{server.url} {said}; {advice}")


def read_models(body: bytes, *, server: Server) -> Mapping[str, ServedModel]:
    """The models that a server lists, by every name that a request may use; TransientError for no such list.

    Several names of one model share its root, and vLLM answers under the first of them.
    """
    cards = _object(body).get("data")
    if not isinstance(cards, list):
        raise TransientError(f"{server.url} lists its models in an unknown way: {server.quote(body)}")
    listed = [card for card in cards if isinstance(card, dict)]
    models: dict[str, ServedModel] = {}
    for card in listed:
        root, length = card.get("root"), card.get("max_model_len")
        alike = [other for other in listed if other is card or (root and other.get("root") == root)]
        model = ServedModel(
            names=frozenset(
                name for each in alike for name in (*_names(each), each.get("root")) if isinstance(name, str)
            ),
            root=root if isinstance(root, str) else None,
            max_model_len=length if isinstance(length, int) else None,
        )
        models |= dict.fromkeys(_names(card), model)
    return models


def read_retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that the server wants to be left alone, at most LONGEST_WISH; it names seconds or a date (RFC 9110).

    A date is compared with the server's own clock where it tells the time, else with `now`.
    """
    wish = headers.get("retry-after", "")
    try:
        seconds = float(wish)
    except ValueError:
        until = _date(wish)
        if until is None:
            return None
        seconds = (until - (_date(headers.get("date", "")) or now)).total_seconds()
    return min(max(seconds, 0.0), LONGEST_WISH) if math.isfinite(seconds) else None


def _message(message: Message) -> Json:
    match message.parts:
        case (TextPart(text),):
            return {"role": message.role, "content": text}
        case parts:
            return {"role": message.role, "content": [_part(part) for part in parts]}


def _part(part: Part) -> Json:
    if isinstance(part, ImagePart):
        url = PNG_URL + base64.b64encode(part.data()).decode()
        return {"type": "image_url", "image_url": {"url": url}}
    return {"type": "text", "text": part.text}


def _extra_sampling(sampling: Sampling, dialect: Dialect) -> dict[str, Json]:
    """What OpenAI's own protocol has no word for."""
    if dialect == "vllm":
        # Every version takes -1 for "all tokens"; not every one takes 0.
        top_k = sampling.top_k or -1
        return {"top_k": top_k, "min_p": sampling.min_p, "repetition_penalty": sampling.repeat_penalty}
    if dialect == "llama.cpp":
        return {"top_k": sampling.top_k, "min_p": sampling.min_p, "repeat_penalty": sampling.repeat_penalty}
    for name, neutral in (("top_k", 0), ("min_p", 0.0), ("repeat_penalty", 1.0)):
        value = getattr(sampling, name)
        if value != neutral:
            raise TerminalError(
                f"{name} is {value}, which a server of the dialect openai does not know: "
                f"set {name} to {neutral} in the settings, or choose the dialect that the server speaks"
            )
    return {}


def _object(body: bytes) -> dict[str, Json]:
    """The JSON object in a body, with or without blanks around it; an empty one where there is none."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _count(answer: Mapping[str, Json], name: str) -> int:
    """A number of tokens; 0 from a server that does not count, or says what cannot be."""
    usage = answer.get("usage")
    count = usage.get(name) if isinstance(usage, Mapping) else None
    return count if isinstance(count, int) and not isinstance(count, bool) and 0 <= count < MOST_TOKENS else 0


def _error(body: bytes) -> dict[str, Json]:
    """The error in a body, wherever the server puts it."""
    told = _object(body)
    error = told.get("error")
    if isinstance(error, dict):
        return error
    return {"message": error} if isinstance(error, str) else told


def _words(body: bytes) -> object:
    error = _error(body)
    return error.get("message") or error.get("detail") or body or "nothing"


def _is_too_long(body: bytes) -> bool:
    error = _error(body)
    said = TOO_LONG_WORDS & {str(error.get(name)) for name in ("code", "type", "param")}
    return bool(said or TOO_LONG.search(str(error.get("message"))))


def _names(card: Mapping[str, Json]) -> list[str]:
    """What a request may call a listed model: its id, and the aliases that llama.cpp lists."""
    aliases = card.get("aliases")
    names = (card.get("id"), *(aliases if isinstance(aliases, list) else ()))
    return [name for name in names if isinstance(name, str)]


def _date(text: str) -> datetime | None:
    try:
        date = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return date if date.tzinfo else None
