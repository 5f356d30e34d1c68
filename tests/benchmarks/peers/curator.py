"""The chain on Bespoke Curator: six LLMs, each over the whole dataset that the one before made, by its OpenAI backend.

`max_concurrent_requests` is what the server bears; limits a minute are set out of the way, since without any given it
keeps to 200 calls and 100,000 tokens a minute where a server names none. All else is as it comes.
"""

import time
from importlib.metadata import version

from bespokelabs import curator
from datasets import Dataset

from tests.benchmarks.peers.chain import MAX_TOKENS, MODEL, STEPS, TEMPERATURE, fill, read_words, report

NO_LIMIT = 100_000_000


class Step(curator.LLM):  # type: ignore[misc]
    """One step of the chain for every row."""

    step = ""

    def prompt(self, row: dict[str, object]) -> str:
        return fill(self.step, row)

    def parse(self, row: dict[str, object], response: str) -> dict[str, object]:
        return {**row, self.step: response}


def main() -> None:
    asked = read_words("Curator")
    made = Dataset.from_dict({"row": list(range(asked.rows))})
    for name in STEPS:
        kind = type(f"Step_{name}", (Step,), {"step": name})
        writer = kind(
            model_name=MODEL,
            backend="openai",
            generation_params={"temperature": TEMPERATURE, "max_tokens": MAX_TOKENS},
            backend_params={
                "base_url": asked.url,
                "api_key": "none",
                "max_concurrent_requests": asked.at_once,
                "max_requests_per_minute": NO_LIMIT,
                "max_tokens_per_minute": NO_LIMIT,
                "request_timeout": 600,
            },
        )
        made = writer(made, working_dir=str(asked.folder)).dataset
    done = time.monotonic()
    whole = sum(all(row[name] for name in STEPS) for row in made)
    told = f"max_concurrent_requests={asked.at_once}, no limits a minute, else defaults"
    report(whole, version=version("bespokelabs-curator"), settings=told, done=done)


if __name__ == "__main__":
    main()
