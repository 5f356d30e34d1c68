"""How much turns repeat earlier ones: exact cosines, shared words, and the same rows however the history came about."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dedup import similarity
from storage.history import history_path, publish
from storage.lake import Lake
from storage.query import query
from storage.redundancy import Known, cosine
from storage.wording import content_stems, shared_words, words_only
from tests.storage.lakes import (
    claim_row,
    commit,
    decision_row,
    direction,
    embedding_row,
    made_sample,
    make_lake,
    package,
    png,
    sample_row,
    start_row,
    topic_row,
    turn_row,
    vector_row,
)

VECTORS = arrays.arrays(np.float32, 5, elements=st.floats(-1, 1, width=32)).filter(lambda v: np.linalg.norm(v) > 0.01)
TEXTS = st.lists(st.sampled_from(["wolf", "wolves", "moon", "the", "draw", "bread", "7", "?"]), max_size=6).map(
    " ".join
)


def unit(vector: Any) -> Any:
    return (vector / np.linalg.norm(vector.astype(np.float64))).astype(np.float32)


def known(vector: Any) -> Known:
    return Known.of(vector.astype("<f4").tobytes())


def read(lake: Lake, table: str, *columns: str, at: int | None = None) -> list[tuple[Any, ...]]:
    chosen = ", ".join(columns) if columns else "*"
    return query(lake, f"SELECT {chosen} FROM {table} ORDER BY ALL", at=at).rows()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = make_lake(tmp_path)
    commit(lake, package(topic_row(), kind="topics"))
    commit(lake, package(start_row("run1"), claim_row("s1", "run1", turns=4), kind="run"), run_id="run1")
    return lake


@given(VECTORS, VECTORS)
@settings(max_examples=60, deadline=None)
def test_a_cosine_is_that_of_the_near_duplicates_to_the_last_bit_and_the_same_both_ways(one: Any, other: Any) -> None:
    one, other = unit(one), unit(other)
    assert cosine(known(one), known(other)) == similarity.cosine(one, other) == cosine(known(other), known(one))
    assert cosine(known(one), known(one.copy())) == 1.0


@pytest.mark.parametrize("odd", [[0, 0, 0], [np.nan, 1, 0], [np.inf, -np.inf, 0], [1, 0]])
def test_what_is_no_vector_has_no_cosine(odd: list[float]) -> None:
    assert cosine(known(np.array([1, 0, 0], np.float32)), known(np.array(odd, np.float32))) is None


@given(TEXTS, TEXTS)
@settings(max_examples=60, deadline=None)
def test_shared_words_are_a_share_and_the_same_both_ways(one: str, other: str) -> None:
    share = shared_words(one, other)
    assert 0.0 <= share <= 1.0 and share == shared_words(other, one)
    assert shared_words(one, one.upper()) == 1.0
    if not content_stems(one) & content_stems(other) and (words_only(one) or one) != (words_only(other) or other):
        assert share == 0.0


def test_a_turn_is_compared_with_all_earlier_ones_and_the_first_with_none(lake: Lake) -> None:
    commit(lake, made_sample("s1", 10, 40, 10, 40), package(decision_row("s1", "kept"), kind="decision"))
    pairs = read(lake, "dialogue_similarity", "turn", "earlier_turn", "round(image_similarity, 3)")
    assert pairs == [(2, 1, 0.866), (3, 1, 1.0), (3, 2, 0.866), (4, 1, 0.866), (4, 2, 1.0), (4, 3, 0.866)]
    turns = read(lake, "redundancy", "turn", "image_similarity = 1.0", "image_turn", "caption_turn", "question_turn")
    assert turns == [(2, False, 1, 1, 1), (3, True, 1, 1, 1), (4, True, 2, 2, 1)]


def test_texts_are_compared_word_by_word(lake: Lake) -> None:
    commit(lake, made_sample("s1", 10, 40))
    (row,) = read(lake, "redundancy", "question_similarity", "answer_similarity")
    assert row == (1.0, 1.0)  # "What does s1 ask in turn 2?" of turn 1: digits are no words


def test_a_retry_is_compared_with_what_an_earlier_attempt_left(lake: Lake) -> None:
    first = made_sample("s1", 10)
    commit(lake, first, run_id="run1")
    publish(lake, lake.version())
    image, text = direction(10), direction(80)
    late = [turn_row("s1", 2, picture=png(80)), embedding_row("s1", 2, image=image, text=text)]
    commit(lake, package(*late, vector_row(image), vector_row(text)), run_id="run1")
    grown = read(lake, "redundancy")
    assert read(lake, "redundancy", "turn", "image_similarity", "image_turn", "version") == [(2, 1.0, 1, 4)]
    assert read(lake, "redundancy", at=3) == []
    history_path(lake).unlink()
    assert read(lake, "redundancy") == grown


def test_another_encoder_adds_rows_of_its_own(lake: Lake) -> None:
    commit(lake, made_sample("s1", 10, 40))
    before = read(lake, "redundancy")
    image, text = direction(10), direction(80)
    moved = [embedding_row("s1", turn, image=image, text=text, encoder="other") for turn in (1, 2)]
    commit(lake, package(*moved, vector_row(image, "other"), vector_row(text, "other"), kind="vectors"))
    assert read(lake, "redundancy", "encoder", "image_similarity = 1.0") == [("other", True), ("small-clip", False)]
    assert read(lake, "redundancy", at=3) == before


def test_a_missing_vector_leaves_a_null_and_the_rest_is_told(lake: Lake) -> None:
    turns = [turn_row("s1", turn, picture=png(turn)) for turn in (1, 2)]
    image, gone = direction(10), direction(50)
    rows = [embedding_row("s1", 1, image=image, text=image), embedding_row("s1", 2, image=gone, text=image)]
    commit(lake, package(sample_row("s1", turns=2), *turns, *rows, vector_row(image)))
    columns = ("image_similarity", "image_turn", "caption_similarity", "caption_turn")
    assert read(lake, "redundancy", *columns) == [(None, None, 1.0, 1)]
