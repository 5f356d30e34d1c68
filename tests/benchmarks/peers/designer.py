"""The chain on NVIDIA's Data Designer: six text columns over a seed column; its engine schedules cell by cell.

Its documentation says of throughput: raise `max_parallel_requests` to what the server bears, leave the rest. So that is
what is set; row groups stay at 1,000 records, three of them at work, as by default.
"""

import time
from importlib.metadata import version

import data_designer.config as dd
import pandas as pd
from data_designer.interface import DataDesigner

from tests.benchmarks.peers.chain import MAX_TOKENS, MODEL, STEPS, TEMPERATURE, read_words, report, template


def main() -> None:
    asked = read_words("Data Designer")
    provider = dd.ModelProvider(name="slow", endpoint=asked.url, provider_type="openai", api_key="none")
    model = dd.ModelConfig(
        alias="slow",
        model=MODEL,
        provider="slow",
        skip_health_check=True,
        inference_parameters=dd.ChatCompletionInferenceParams(
            temperature=TEMPERATURE, max_tokens=MAX_TOKENS, max_parallel_requests=asked.at_once, timeout=600
        ),
    )
    builder = dd.DataDesignerConfigBuilder(model_configs=[model])
    builder.with_seed_dataset(dd.DataFrameSeedSource(df=pd.DataFrame({"row": range(asked.rows)})))
    for name in STEPS:
        builder.add_column(dd.LLMTextColumnConfig(name=name, prompt=template(name), model_alias="slow"))
    designer = DataDesigner(artifact_path=asked.folder, model_providers=[provider])
    designer.set_run_config(dd.RunConfig(otel_metrics_port=None))
    written: list[float] = []
    made = designer.create(
        builder,
        num_records=asked.rows,
        dataset_name="chain",
        on_batch_complete=lambda _path: written.append(time.monotonic()),
    ).load_dataset()
    whole = int(made[list(STEPS)].notna().all(axis=1).sum())
    report(
        whole,
        done=written[-1],
        version=version("data-designer"),
        settings=f"max_parallel_requests={asked.at_once}, else defaults",
    )


if __name__ == "__main__":
    main()
