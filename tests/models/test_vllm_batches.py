"""vLLM in a process of its own: its company is told, and its death, garbage, silence and refusals are what they are.

The process is real; what answers in it is the stand-in that ships. The real engine: make test-vllm.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import jsonschema
import pytest

from models import fake_vllm_child as fake
from models.chat import ChatReply, ChatRequest, ImagePart, Message, TextPart
from models.company import companies_of
from models.errors import ContentError, TerminalError, TransientError
from models.identity import Json
from models.vllm_batches import VllmBatches, VllmSite
from tests.models.contract import SAMPLING, marked_picture
from tests.models.vllm_children import NAME, REVISION, asked, diary, fake_vllm

ROOT = Path(__file__).parents[2]
LONG = 60.0  # seconds that no test waits
EIGHT = [asked(f"Question {number}", seed=number) for number in range(8)]


async def ask_all(chat: VllmBatches, requests: Sequence[ChatRequest]) -> list[ChatReply | BaseException]:
    return await asyncio.gather(*map(chat.chat, requests), return_exceptions=True)


def texts(replies: Sequence[ChatReply | BaseException]) -> list[str]:
    assert all(isinstance(reply, ChatReply) for reply in replies), replies
    return [reply.text for reply in replies if isinstance(reply, ChatReply)]


def is_there(number: int) -> bool:
    """Whether a process runs; one that ended and nobody has asked after does not."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_each_reply_tells_its_batch_its_place_and_all_keys(tmp_path: Path) -> None:
    async def run() -> list[ChatReply | BaseException]:
        async with fake_vllm(tmp_path, batch=4, window=LONG) as chat:
            return await ask_all(chat, EIGHT)

    told = [reply.backend for reply in asyncio.run(run()) if isinstance(reply, ChatReply)]
    assert told == [*companies_of(EIGHT[:4]), *companies_of(EIGHT[4:])]


def test_the_same_company_gives_the_same_replies_in_another_process_and_another_one_does_not(tmp_path: Path) -> None:
    (tmp_path / fake.COMPANY).touch()

    async def run(batch: int) -> list[str]:
        async with fake_vllm(tmp_path, batch=batch, window=LONG) as chat:
            return texts(await ask_all(chat, EIGHT))

    assert asyncio.run(run(4)) == asyncio.run(run(4))
    assert not set(asyncio.run(run(4))) & set(asyncio.run(run(1)))


def test_the_size_of_the_batch_can_be_set_anew(tmp_path: Path) -> None:
    async def run() -> None:
        async with fake_vllm(tmp_path, batch=1, window=LONG) as chat:
            chat.gather(8)
            replies = await ask_all(chat, EIGHT)
            assert [reply.backend for reply in replies if isinstance(reply, ChatReply)] == companies_of(EIGHT)
            with pytest.raises(ValueError, match="1 to 256, not 257"):
                chat.gather(257)

    asyncio.run(run())


def test_a_schema_and_pictures_reach_the_process(tmp_path: Path) -> None:
    schema: dict[str, Json] = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    seen = ChatRequest(
        model=NAME, revision=REVISION, sampling=SAMPLING, schema=schema, seed=1,
        messages=(Message("user", (ImagePart(marked_picture()), TextPart("What is it?"))),),
    )  # fmt: skip

    async def run() -> list[str]:
        async with fake_vllm(tmp_path) as chat:
            return texts(await ask_all(chat, [seen, asked("What is it?", schema=schema)]))

    with_picture, without = asyncio.run(run())
    jsonschema.validate(json.loads(with_picture), schema)
    assert with_picture != without


def test_a_prompt_that_is_too_long_is_content_and_its_company_is_answered(tmp_path: Path) -> None:
    async def run() -> list[ChatReply | BaseException]:
        async with fake_vllm(tmp_path, batch=2, window=LONG) as chat:
            return await ask_all(chat, [asked("word " * 1001), asked("short")])

    refused, reply = asyncio.run(run())
    assert isinstance(refused, ContentError) and refused.reason == "prompt_too_long"
    assert isinstance(reply, ChatReply) and reply.backend["batch"] == 2


@pytest.mark.parametrize(
    ("mischief", "said"),
    [(fake.DIE, "ended with status 7: the last words"), (fake.GARBAGE, "no answer: Loading weights: 100%")],
)
def test_a_process_that_dies_or_says_garbage_is_transient_and_started_again(
    tmp_path: Path, mischief: str, said: str
) -> None:
    (tmp_path / mischief).touch()

    async def run() -> None:
        async with fake_vllm(tmp_path, batch=2, window=LONG) as chat:
            lost = await ask_all(chat, EIGHT[:2])
            for error in lost:
                assert isinstance(error, TransientError)
                assert said in str(error)
            assert len(texts(await ask_all(chat, EIGHT[:2]))) == 2

    asyncio.run(run())
    started = [line for line in diary(tmp_path) if line.startswith("started")]
    assert len(started) == 2
    assert not any(is_there(int(line.split()[1])) for line in started)


def test_a_batch_that_nobody_wants_is_stopped_and_the_process_goes_on(tmp_path: Path) -> None:
    (tmp_path / fake.HANG).touch()

    async def run() -> None:
        async with fake_vllm(tmp_path, batch=2, window=LONG) as chat:
            tasks = [asyncio.create_task(chat.chat(request)) for request in EIGHT[:2]]
            while "hangs" not in diary(tmp_path):
                await asyncio.sleep(0.01)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            async with asyncio.timeout(60):
                assert len(texts(await ask_all(chat, EIGHT[2:4]))) == 2

    asyncio.run(run())
    assert [line.split()[0] for line in diary(tmp_path)] == ["started", "hangs", "stopped"]


def test_closing_leaves_no_process_whatever_it_is_at(tmp_path: Path) -> None:
    (tmp_path / fake.HANG).touch()

    async def run() -> list[ChatReply | BaseException]:
        chat = fake_vllm(tmp_path)
        await chat.open()
        asking = asyncio.ensure_future(ask_all(chat, EIGHT[:1]))
        while "hangs" not in diary(tmp_path):
            await asyncio.sleep(0.01)
        await chat.close()
        return await asking

    (error,) = asyncio.run(run())
    assert isinstance(error, TransientError)
    assert not is_there(int(diary(tmp_path)[0].split()[1]))


def test_closing_ends_a_process_that_heeds_nothing(tmp_path: Path) -> None:
    deaf = tmp_path / "deaf.py"
    deaf.write_text(
        "import time\nfrom models.vllm_child import serve, take_stdout\nfrom models.fake_vllm_child import FakeEngine\n"
        "out = take_stdout()\n"
        "class Deaf(FakeEngine):\n    def answer(self, requests, stop):\n"
        "        self._note('hangs')\n        time.sleep(600)\n"
        "serve(lambda load: Deaf(load, out), out)\n"
    )

    async def run() -> None:
        chat = fake_vllm(tmp_path, script=deaf)
        await chat.open()
        asking = asyncio.ensure_future(ask_all(chat, EIGHT[:1]))
        while "hangs" not in diary(tmp_path):
            await asyncio.sleep(0.01)
        async with asyncio.timeout(60):
            await chat.close()
        assert isinstance((await asking)[0], TransientError)

    asyncio.run(run())
    assert not is_there(int(diary(tmp_path)[0].split()[1]))


def test_opening_that_is_cancelled_leaves_no_process(tmp_path: Path) -> None:
    slow = tmp_path / "slow.py"
    slow.write_text(
        f"import os, sys\nopen({str(tmp_path / 'number')!r}, 'w').write(str(os.getpid()))\nsys.stdin.read()\n"
    )

    async def run() -> int:
        opening = asyncio.create_task(fake_vllm(tmp_path, script=slow).open())
        while not (number := (tmp_path / "number").read_text() if (tmp_path / "number").exists() else ""):
            await asyncio.sleep(0.01)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        return int(number)

    assert not is_there(asyncio.run(run()))


def test_the_process_ends_with_whoever_started_it(tmp_path: Path) -> None:
    program = (
        "import asyncio, os, sys\nfrom pathlib import Path\n"
        "from tests.models.vllm_children import fake_vllm\n"
        "async def run():\n    await fake_vllm(Path(sys.argv[1])).open()\n    os.kill(os.getpid(), 9)\n"
        "asyncio.run(run())\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, check=False, timeout=60)
    number = int(diary(tmp_path)[0].split()[1])

    async def wait_for_its_end() -> None:
        async with asyncio.timeout(30):
            while is_there(number):
                await asyncio.sleep(0.01)

    asyncio.run(wait_for_its_end())


def test_one_that_cannot_sleep_ends_and_is_started_again(tmp_path: Path) -> None:
    async def run() -> None:
        async with fake_vllm(tmp_path) as chat:
            await chat.sleep()
            await chat.sleep()
            assert not is_there(int(diary(tmp_path)[0].split()[1]))
            await chat.wake()
            assert texts(await ask_all(chat, EIGHT[:1]))

    asyncio.run(run())
    assert [line.split()[0] for line in diary(tmp_path)] == ["started", "started"]


def test_sleeping_and_waking_reach_the_process_once_each(tmp_path: Path) -> None:
    async def run() -> None:
        async with fake_vllm(tmp_path, sleeps=True) as chat:
            await chat.wake()
            await chat.sleep()
            await chat.sleep()
            await chat.wake()
            assert texts(await ask_all(chat, EIGHT[:1]))

    asyncio.run(run())
    assert diary(tmp_path)[1:] == ["asleep", "awake"]


def open_and_fail(chat: VllmBatches) -> str:
    with pytest.raises(TerminalError) as caught:
        asyncio.run(chat.open())
    return str(caught.value)


def test_what_cannot_be_loaded_is_terminal_and_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / fake.REFUSE).touch()
    said = open_and_fail(fake_vllm(tmp_path))
    assert "vLLM did not load fake-vllm: the weights are refused, as they asked for;" in said
    assert '[local."fake-vllm"], python names the interpreter' in said


def test_an_interpreter_that_is_missing_or_has_no_vllm_is_terminal(tmp_path: Path) -> None:
    assert "no-python cannot be run (No such file or directory)" in open_and_fail(
        fake_vllm(tmp_path, python=tmp_path / "no-python")
    )
    chat = fake_vllm(tmp_path, script=VllmSite().script, python=Path(sys.executable))
    assert f"vLLM cannot be imported by {sys.executable}" in open_and_fail(chat)


def test_a_process_that_ends_before_it_is_ready_tells_its_last_words(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit('out of everything')")
    assert "it ended with status 1: out of everything" in open_and_fail(fake_vllm(tmp_path, script=broken))


def test_a_request_that_the_engine_refuses_otherwise_is_terminal(tmp_path: Path) -> None:
    odd = tmp_path / "odd.py"
    odd.write_text(
        "from models.vllm_child import serve, take_stdout\nfrom models.fake_vllm_child import FakeEngine\n"
        "out = take_stdout()\n"
        "class Odd(FakeEngine):\n    def answer(self, requests, stop):\n"
        "        return [{'error': 'unanswerable', 'message': 'no such schema'},"
        " {'text': '', 'finish_reason': 'stop'}, {'text': 'x', 'finish_reason': 'abort'}]\n"
        "serve(lambda load: Odd(load, out), out)\n"
    )

    async def run() -> list[ChatReply | BaseException]:
        async with fake_vllm(tmp_path, script=odd, batch=3, window=LONG) as chat:
            return await ask_all(chat, EIGHT[:3])

    refused, empty, broken = asyncio.run(run())
    assert isinstance(refused, TerminalError) and "no such schema" in str(refused)
    assert isinstance(empty, ContentError) and empty.reason == "empty_reply"
    assert isinstance(broken, TransientError)


def test_the_script_of_the_process_needs_nothing_that_vllm_does_not_bring() -> None:
    program = "import sys, models.vllm_child\nprint(sorted(name for name in sys.modules if name.startswith('models.')))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['models.vllm_child']"


def test_the_variables_of_ours_reach_the_process_and_others_stay(tmp_path: Path) -> None:
    told = tmp_path / "told.py"
    told.write_text(
        "import os\nfrom models.vllm_child import serve, take_stdout\nfrom models.fake_vllm_child import FakeEngine\n"
        "out = take_stdout()\n"
        "class Told(FakeEngine):\n    def facts(self):\n        return dict(os.environ)\n"
        "serve(lambda load: Told(load, out), out)\n"
    )

    async def run() -> dict[str, str]:
        async with fake_vllm(tmp_path, script=told) as chat:
            return dict(chat.identity.fingerprint)

    facts = asyncio.run(run())
    assert facts["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
    assert facts["HF_HUB_OFFLINE"] == "1"
    assert facts["PATH"] == os.environ["PATH"]
