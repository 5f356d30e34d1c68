"""vLLM in a process of ours: equal batches are equal in any process, and what it does not like is said as elsewhere.

How many replies differ when the same requests are asked alone depends on processor and kernels: it is printed, and
nothing is demanded of it.
"""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from flows.asked import BuildOptions
from flows.regenerate.choosing import RegenerateOptions
from flows.regenerate.regenerating import regenerate_lake_at
from flows.studio import Studio
from models.chat import ChatReply, ChatRequest, ImagePart, Message, Sampling, TextPart
from models.company import companies_of
from models.errors import ContentError
from models.identity import Json
from models.vllm_batches import VllmBatches, VllmSite
from models.weights import WeightsSource, find_weights
from storage.records import CallRow
from tests.flows.casts import fake_lake, grow
from tests.models.contract import picture_like
from tests.vllm_server.servers import CONTEXT, ENVIRONMENT, MODELS, SWITCHES

PYTHON = ENVIRONMENT / "bin" / "python"
START_FILES = Path(__file__).parents[2] / "deploy" / "vllm"
LONG = 600.0  # seconds that a batch waits for its last member, which is on its way
MEMORY = 0.2  # of the machine's
SCHEMA: Json = {
    "type": "object",
    "properties": {"question": {"type": "string", "maxLength": 60}},
    "required": ["question"],
    "additionalProperties": False,
}


@pytest.fixture(autouse=True)
def _switches(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SWITCHES.items():
        monkeypatch.setenv(name, value)


@asynccontextmanager
async def opened(name: str, *, batch: int) -> AsyncIterator[VllmBatches]:
    """The adapter over an engine in a process of its own."""
    weights = find_weights(WeightsSource(name=name, revision=None, folder=MODELS / name, licence="Apache-2.0"))
    site = VllmSite(python=PYTHON, memory=MEMORY, batch=batch, window=LONG)
    async with VllmBatches(weights, dtype="float32", context=CONTEXT, site=site) as chat:
        yield chat


def asked(
    chat: VllmBatches, *parts: TextPart | ImagePart, seed: int, schema: Json = None, most: int = 32
) -> ChatRequest:
    return ChatRequest(
        model=chat.identity.name,
        revision=chat.identity.revision,
        messages=(Message("user", parts),),
        sampling=Sampling(temperature=0.8, top_p=0.95, top_k=40, min_p=0.0, repeat_penalty=1.0, max_tokens=most),
        schema=schema,
        seed=seed,
    )


def eight(chat: VllmBatches) -> list[ChatRequest]:
    """Six for a sentence, two for JSON."""
    things = ("a red apple", "a boat", "the moon", "an old house", "a cat", "two dogs", "a green tree", "snow")
    return [
        asked(chat, TextPart(f"Ask one question about {thing}."), seed=seed, schema=SCHEMA if seed > 5 else None)
        for seed, thing in enumerate(things)
    ]


async def ask_all(chat: VllmBatches, requests: Sequence[ChatRequest]) -> list[ChatReply]:
    return list(await asyncio.gather(*map(chat.chat, requests)))


def told(replies: Sequence[ChatReply]) -> list[tuple[str, int]]:
    return [(reply.text, reply.completion_tokens) for reply in replies]


def test_the_same_batch_is_equal_in_two_processes_and_after_other_batches(capsys: pytest.CaptureFixture[str]) -> None:
    async def first() -> tuple[list[ChatReply], list[ChatReply], list[ChatReply]]:
        async with opened("smollm2", batch=8) as chat:
            requests = eight(chat)
            together = await ask_all(chat, requests)
            chat.gather(1)
            alone = [await chat.chat(request) for request in requests]
            with pytest.raises(ContentError, match="maximum context length") as caught:
                await chat.chat(asked(chat, TextPart("moon " * CONTEXT), seed=1))
            assert caught.value.reason == "prompt_too_long"
            chat.gather(8)
            assert [reply.backend for reply in together] == companies_of(requests)
            return together, alone, await ask_all(chat, requests)

    async def second() -> list[ChatReply]:
        async with opened("smollm2", batch=8) as chat:
            return await ask_all(chat, eight(chat))

    together, alone, later = asyncio.run(first())
    assert told(later) == told(together)
    assert told(asyncio.run(second())) == told(together)
    assert all(reply.completion_tokens > 1 and reply.prompt_tokens > 5 for reply in together)
    assert len({reply.text for reply in together}) == 8
    for reply in together[6:]:
        assert reply.finish_reason == "length" or json.loads(reply.text)["question"]
    differ = sum(one != other for one, other in zip(told(together), told(alone), strict=True))
    with capsys.disabled():
        print(f"\nasked alone, {differ} of 8 requests give other tokens than in a batch of 8")  # noqa: T201


def test_pictures_reach_the_engine_and_count_as_tokens() -> None:
    async def look() -> list[ChatReply]:
        async with opened("tiny-viewer", batch=3) as chat:
            question = TextPart("What is it?")
            return await ask_all(
                chat,
                [
                    asked(chat, ImagePart(picture_like("a boat")), question, seed=1, most=8),
                    asked(chat, ImagePart(picture_like("the moon")), question, seed=1, most=8),
                    asked(chat, question, seed=1, most=8),
                ],
            )

    boat, moon, nothing = asyncio.run(look())
    assert boat.prompt_tokens == moon.prompt_tokens > nothing.prompt_tokens
    assert len({boat.text, moon.text, nothing.text}) > 1


def test_a_build_with_a_writer_in_process_regenerates_exactly(tmp_path: Path) -> None:
    writer = '"vllm"\nmodel = "smollm2"\nlicence = "Apache-2.0"\ncontext = 2048\ndtype = "float32"'
    local = (
        f'[local."smollm2"]\nfolder = "{MODELS / "smollm2"}"\npython = "{PYTHON}"\nmemory = {MEMORY}\n'
        "batch = 4\nwindow = 0.2\n"
    )
    lake = fake_lake(
        tmp_path / "lake",
        settings={
            '[generation.writer]\nbackend = "fake"': f"[generation.writer]\nbackend = {writer}",
            'nobody is asked\nbackend = "fake"': 'nobody is asked\nbackend = "checks"',
            "question = 3": "question = 0",
            "answer = 3": "answer = 0",
            "image = 3": "image = 0",
            "attempts = 3": "attempts = 1",
            "[run] ": f"{local}\n[run] ",
        },
    )
    grow(lake.path, BuildOptions(new_topics=2, samples_per_topic=2, turns=1), Studio)
    rows = [row for row in lake.rows(CallRow, lake.version()) if row.backend and '"keys"' in row.backend]
    assert any('"batch":4' in str(row.backend) for row in rows)
    found = regenerate_lake_at(lake.path, RegenerateOptions())
    assert found.is_identical, [list(outcome.lines()) for outcome in found.outcomes()]
    (model,) = (each for each in found.models if each.name == "smollm2")
    assert model.total() == sum(row.purpose == rows[0].purpose or row.backend is not None for row in rows) >= 4


def test_vllm_knows_the_flags_of_the_start_files() -> None:
    scripts = [START_FILES / f"{name}.sh" for name in ("chat", "vision", "one-card", "two-cards")]
    shown = "".join(
        subprocess.run([script, "--show"], capture_output=True, text=True, check=True).stdout for script in scripts
    )
    program = (
        "import shlex, sys\n"
        "from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args\n"
        "from vllm.utils.argparse_utils import FlexibleArgumentParser\n"
        "for line in sys.stdin:\n"
        "    words = shlex.split(line)\n"
        "    if 'serve' in words:\n"
        "        arguments = words[words.index('serve') + 1:]\n"
        "        known = make_arg_parser(FlexibleArgumentParser()).parse_args(arguments)\n"
        "        validate_parsed_serve_args(known)\n"
        "        print('known', known.host, known.port, known.generation_config, known.enable_sleep_mode)\n"
    )
    done = subprocess.run([PYTHON, "-c", program], input=shown, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    told = [line for line in done.stdout.splitlines() if line.startswith("known ")]
    assert told == [
        "known 127.0.0.1 8000 vllm False",
        "known 127.0.0.1 8001 vllm False",
        "known 127.0.0.1 8000 vllm True",
        "known 127.0.0.1 8001 vllm True",
        "known 127.0.0.1 8000 vllm False",
        "known 127.0.0.1 8001 vllm True",
    ]
