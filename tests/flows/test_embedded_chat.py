"""The prompts of the loop on the embedded model: a beginning that is found computed must not change a reply."""

import asyncio

from flows.seir.prompts import MAX_TOKENS, draft_answer
from flows.seir.replies import AnswerReply, schema_of
from models.chat import ChatRequest, Sampling
from models.llama_chat import LlamaChat

SAMPLING = Sampling(
    temperature=0.4, top_p=0.95, top_k=40, min_p=0.05, repeat_penalty=1.05, max_tokens=MAX_TOKENS["answer"]
)


def ask_about(topic: str, model: LlamaChat) -> ChatRequest:
    return ChatRequest(
        model=model.identity.name,
        revision=model.identity.revision,
        messages=tuple(draft_answer(topic, f"What do {topic} look like? Draw one.", ())),
        sampling=SAMPLING,
        schema=schema_of(AnswerReply),
        seed=7,
    )


async def replies_of_one_desk(topics: list[str]) -> list[str]:
    async with LlamaChat(workers=1, desks=1) as model:
        return [(await model.chat(ask_about(topic, model))).text for topic in topics]


def test_replies_are_the_same_whether_or_not_the_prompts_beginning_was_computed_before() -> None:
    warm = asyncio.run(replies_of_one_desk(["owls at night", "strawberries"]))
    cold = asyncio.run(replies_of_one_desk(["strawberries"]))
    assert warm[1:] == cold
