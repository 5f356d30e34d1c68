"""Questions to a person: pairs near the thresholds, of runs that were to ask. Reads packages alone, writes nothing.

A question is no state of its own: it is a row about a pair that a version of such a run brought, near enough by that
run's settings, about a turn that stands as the row says, and of which no person spoke yet.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import polars as pl

from storage.embeddings import Standing, read_standing
from storage.lake import Lake
from storage.projection import read_link
from storage.records import DecisionRow, DuplicateRow, NearRow, PairRow, RecipeRow, RunStartRow, from_arrow
from storage.reviews import REVIEW, Turn, Word, read_words
from storage.tables import Among
from storage.versions import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A borderline pair. `rule` is what the thresholds made of the turn (`duplicate` or `kept`), `outcome` what its
    sample is now, `beyond` how far the pair is beyond the thresholds, below zero where it falls short of them.

    `word` is what a person last said of the turn, None while the question is open.
    """

    decision_id: str
    version: int
    sample_id: str
    turn: int
    kept_sample_id: str
    kept_turn: int
    image_similarity: float
    text_similarity: float
    image_threshold: float
    text_threshold: float
    policy: str
    encoder: str
    beyond: float
    rule: str
    outcome: str
    word: Word | None

    @property
    def key(self) -> Turn:
        return self.sample_id, self.turn

    @property
    def full_name(self) -> str:
        return f"{self.sample_id}:{self.turn}"

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        return f"{self.sample_id[:12]}:{self.turn}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """A row about a pair, and the version that brought it."""

    row: PairRow
    version: int

    @property
    def key(self) -> Turn:
        return self.row.sample_id, self.row.turn


def open_questions(lake: Lake, version: Version) -> list[Question]:
    """Those that nobody answered, by version, sample id and turn."""
    return [question for question in read_questions(lake, version) if question.word is None]


def read_questions(lake: Lake, version: Version) -> list[Question]:
    """All of them, answered ones too, as far as the sample is still kept or a duplicate."""
    widths = _widths(lake, version)
    if not widths:
        return []
    words, standing = read_words(lake, version), read_standing(lake, version)
    pairs = _asked(lake, version, widths, words)
    found = (_question(pair, words.get(pair.key), standing) for pair in pairs if _is_about(pair.row, standing))
    ruled = _ruled(lake, version)
    questions = [each for each in found if each.word or _stands(each, standing, ruled)]
    return sorted(questions, key=lambda each: (each.version, each.sample_id, each.turn))


def beyond(row: PairRow) -> float:
    """How far a pair is beyond its thresholds, by their policy; below zero it falls short of them."""
    image, text = row.image_similarity - row.image_threshold, row.text_similarity - row.text_threshold
    return {"both": min(image, text), "image": image, "text": text, "either": max(image, text)}[row.policy]


def _widths(lake: Lake, version: Version) -> dict[str, float]:
    """By run that was to ask, how near to the thresholds it was to."""
    chosen = lake.scan(RecipeRow, version, ["recipe_id", "selection"]).unique("recipe_id").collect()
    reviews = {
        recipe_id: json.loads(selection).get("settings", {}).get("review", {})
        for recipe_id, selection in chosen.select("recipe_id", "selection").iter_rows()
    }
    asking = {recipe_id: float(review["near"]) for recipe_id, review in reviews.items() if review.get("ask")}
    if not asking:
        return {}
    among = Among(column="recipe_id", values=asking)
    return {row.run_id: asking[row.recipe_id] for row in lake.rows(RunStartRow, version, among)}


def _asked(lake: Lake, version: Version, widths: Mapping[str, float], words: Collection[Turn]) -> Iterator[_Pair]:
    """The latest row about each turn that a run asked about, as far as that is near enough still, or answered.

    What decided a turn anew since, by other thresholds or vectors, has the latest row.
    """
    near, duplicates = (list(_pairs(lake, kind, version)) for kind in (NearRow, DuplicateRow))
    numbers = {pair.version for pair in (*near, *duplicates)}
    asking = {number: widths.get(read_link(lake, number).run_id or "") for number in numbers}
    latest: dict[Turn, _Pair] = {}
    width: dict[Turn, float] = {}
    for pair in sorted((*near, *duplicates), key=lambda pair: pair.version):
        mine = asking[pair.version]
        if mine is not None and abs(beyond(pair.row)) <= mine:
            width[pair.key] = mine
        latest[pair.key] = pair
    for key, within in width.items():
        if key in words or abs(beyond(latest[key].row)) <= within:
            yield latest[key]


def _pairs(lake: Lake, kind: type[PairRow], version: Version) -> Iterator[_Pair]:
    frame = lake.scan(kind, version).collect()
    for row, number in zip(from_arrow(kind, frame.to_arrow()), frame["version"].to_list(), strict=True):
        yield _Pair(row=row, version=number)


def _is_about(row: PairRow, standing: Standing) -> bool:
    """Whether the turn's sample is one that duplicates are looked for among, by the encoder of the row."""
    return row.sample_id in standing.kept and row.encoder in standing.encoders


def _question(pair: _Pair, word: Word | None, standing: Standing) -> Question:
    row = pair.row
    return Question(
        **{name: getattr(row, name) for name in row.columns()},
        version=pair.version,
        beyond=beyond(row),
        rule="duplicate" if beyond(row) >= 0 else "kept",
        outcome="kept" if standing.kept[row.sample_id] else "duplicate",
        word=word,
    )


def _ruled(lake: Lake, version: Version) -> dict[str, int]:
    """By sample the version in which a rule decided it last."""
    decisions = lake.scan(DecisionRow, version, ["sample_id", "turn", "kind"])
    whole = decisions.filter(pl.col("turn").is_null() & (pl.col("kind") != REVIEW))
    return dict(whole.group_by("sample_id").agg(pl.max("version")).collect().iter_rows())


def _stands(question: Question, standing: Standing, ruled: Mapping[str, int]) -> bool:
    """Whether the turn is what the rule made of it, and where it fell short, of a kept one, not decided anew since."""
    is_flagged = question.key in standing.flagged
    if question.rule == "duplicate":
        return is_flagged
    if ruled[question.sample_id] != question.version:
        return False
    keeper = (question.kept_sample_id, question.kept_turn)
    is_kept = standing.kept.get(question.kept_sample_id, False) and keeper not in standing.flagged
    return not is_flagged and standing.kept[question.sample_id] and is_kept


def count_questions(lake: Lake, version: Version) -> int:
    """How many are open."""
    return len(open_questions(lake, version))


def find_questions(questions: Collection[Question], name: str) -> list[Question]:
    """Those that `ID` or `ID:TURN` names, by the first digits (at least 4) of a sample's or decision's id.

    Of a sample or decision with open ones and answered ones, the open ones. Empty where nothing is named.
    """
    prefix, _, turn = name.partition(":")
    if len(prefix) < 4 or (turn and not turn.isdecimal()):
        return []
    named = [each for each in questions if each.sample_id.startswith(prefix)]
    named = named or [each for each in questions if each.decision_id.startswith(prefix)]
    if turn:
        return [each for each in named if each.turn == int(turn)]
    return [each for each in named if each.word is None] or named
