"""The chain on distilabel: six text generations, each a process of its own, batches going from one to the next.

A step asks for all rows of a batch at a time, and waits for the slowest. So `input_batch_size` is what the server
bears, and the server lets what is more of all steps together wait; by default it is 50.
"""

import time
from importlib.metadata import version

from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts
from distilabel.steps.tasks import TextGeneration

from tests.benchmarks.peers.chain import MAX_TOKENS, MODEL, STEPS, TEMPERATURE, read_words, report, template


def main() -> None:
    asked = read_words("distilabel")
    columns = ["row"]
    with Pipeline(name="chain", cache_dir=asked.folder) as pipeline:
        last = LoadDataFromDicts(data=[{"row": number} for number in range(asked.rows)], batch_size=asked.at_once)
        for name in STEPS:
            step = TextGeneration(
                name=name,
                llm=OpenAILLM(
                    model=MODEL,
                    base_url=asked.url,
                    api_key="none",
                    timeout=600,
                    generation_kwargs={"temperature": TEMPERATURE, "max_new_tokens": MAX_TOKENS},
                ),
                template=template(name),
                columns=[column for column in columns if f"{{{{ {column} }}}}" in template(name)],
                output_mappings={"generation": name, "model_name": f"{name}_model"},
                add_raw_input=False,
                add_raw_output=False,
                input_batch_size=asked.at_once,
            )
            last >> step
            last = step
            columns.append(name)
    made = pipeline.run(use_cache=False)["default"]["train"]
    done = time.monotonic()
    whole = sum(all(row[name] for name in STEPS) for row in made)
    told = f"input_batch_size={asked.at_once}, else defaults"
    report(whole, version=version("distilabel"), settings=told, done=done)


if __name__ == "__main__":
    main()
