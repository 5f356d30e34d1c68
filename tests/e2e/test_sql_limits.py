"""Statements that would take all the time and memory there is: each is stopped, and the next is answered."""

from collections.abc import Iterator

import pytest

from flows.gallery.sql.asking import Question, Refused
from flows.gallery.sql.fenced import FencedSql
from tests.gallery.hostile import ENDLESS, LIMITS, TOO_LARGE
from tests.storage.lakes import make_lake

SHORT = 0.4
"""Seconds for what never ends."""


@pytest.fixture(scope="module")
def fenced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FencedSql]:
    with FencedSql(make_lake(tmp_path_factory.mktemp("sql")).path, LIMITS) as fenced:
        yield fenced


def assert_still_there(fenced: FencedSql) -> None:
    assert fenced.ask(Question(sql="SELECT count(*) FROM samples")).cells() == [[0]]


@pytest.mark.parametrize("sql", TOO_LARGE)
def test_what_needs_too_much_memory_is_stopped_and_the_next_query_works(fenced: FencedSql, sql: str) -> None:
    with pytest.raises(Refused, match="the statement needs more memory than the 64 MB that it may have"):
        fenced.ask(Question(sql=sql), seconds=60)
    assert_still_there(fenced)


@pytest.mark.parametrize("sql", ENDLESS)
def test_what_never_ends_is_stopped_and_the_next_query_works(fenced: FencedSql, sql: str) -> None:
    assert_still_there(fenced)
    before = fenced.pid
    with pytest.raises(Refused, match=r"the statement was stopped after 0\.4 s"):
        fenced.ask(Question(sql=sql), seconds=SHORT)
    assert_still_there(fenced)
    assert fenced.pid != before


def test_a_small_question_among_large_ones_is_answered(fenced: FencedSql) -> None:
    for sql in (TOO_LARGE[0], ENDLESS[0], TOO_LARGE[1]):
        with pytest.raises(Refused):
            fenced.ask(Question(sql=sql), seconds=SHORT * 5)
        assert_still_there(fenced)
