"""A lake in a notebook: `marimo edit flows/gallery/notebook.py -- --lake lake`; as a script it prints what it finds."""

import marimo

app = marimo.App(width="medium", app_title="A lake of dialogues")


@app.cell
def _():
    import marimo as mo
    import polars as pl

    from flows.frames import open_lake

    folder = str(mo.cli_args().get("lake") or "lake")
    lake = open_lake(folder)
    return folder, lake, mo, pl


@app.cell
def _(folder, lake, mo):
    mo.md(f"""
    # {folder}, version {lake.number}

    `lake["samples"]` is a polars LazyFrame; `lake.sql("…")` asks DuckDB over the same tables: {", ".join(lake)}.
    """)
    return


@app.cell
def _(lake, pl):
    outcomes = (
        lake["samples"]
        .group_by("outcome")
        .agg(pl.len().alias("samples"))
        .sort("samples", "outcome", descending=[True, False])
        .collect()
    )
    outcomes
    return (outcomes,)


@app.cell
def _(lake):
    rounds = lake.sql("""
        SELECT stage, round, count(*) AS drafts, count(critique) AS objections
        FROM iterations GROUP BY ALL ORDER BY ALL
    """).pl()
    rounds
    return (rounds,)


@app.cell
def _(lake, pl):
    kept = (
        lake["turns"]
        .join(lake["samples"].filter(pl.col("outcome") == "kept").select("sample_id", "topic_id"), on="sample_id")
        .join(lake["topics"].select("topic_id", "name"), on="topic_id")
        .sort("sample_id", "turn")
        .select("name", "turn", "question", "answer", "caption", "image_sha256")
        .collect()
    )
    kept
    return (kept,)


@app.cell
def _(kept, lake, mo):
    pictures = [
        mo.image(lake.picture(row["image_sha256"]), alt=row["caption"], width=220)
        for row in kept.head(6).iter_rows(named=True)
    ]
    mo.hstack(pictures, wrap=True, justify="start")
    return (pictures,)


@app.cell
def _(lake):
    import matplotlib.pyplot as plt

    costs = lake["costs"].collect()
    stages = costs.filter(costs["part"] == "stage")
    figure, axes = plt.subplots(figsize=(6, 3))
    axes.barh(stages["name"].to_list(), stages["seconds"].to_list())
    axes.set_xlabel("seconds of models")
    figure.tight_layout()
    axes
    return (costs,)


@app.cell
def _(folder, kept, lake, outcomes, pictures, rounds):
    print(f"{folder}, version {lake.number}")
    print(outcomes)
    print(rounds)
    print(f"{kept.height} kept turns, {len(pictures)} pictures shown")
    return


if __name__ == "__main__":
    app.run()
