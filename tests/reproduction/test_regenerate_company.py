"""The company of an answer, read from what its backend told. No lake, no model."""

import json
from typing import Any

import pytest

from flows.regenerate.company import Company, Seat, how_company_differs, read_seat
from models.company import companies_of
from models.embedding import EmbedRequest

REQUESTS = [EmbedRequest(model="m", revision="1", subject=subject) for subject in ("a", "b", "c")]
KEYS = tuple(request.key()[:16] for request in REQUESTS)


def told(place: int, **more: Any) -> str:
    return json.dumps({**companies_of(REQUESTS)[place], **more})


def test_an_answer_knows_its_place_and_those_who_were_answered_with_it() -> None:
    seat = read_seat(told(1))
    assert seat == Seat(company=Company(by="keys", members=KEYS), place=1, size=3)
    assert [seat.is_taken_by(request.key(), None) for request in REQUESTS] == [False, True, False]


def test_seeds_name_the_members_where_nothing_else_does() -> None:
    seat = read_seat('{"batch":2,"place":1,"seeds":[5,9]}')
    assert seat == Seat(company=Company(by="seeds", members=("5", "9")), place=1, size=2)
    assert seat.is_taken_by("any", 9) and not seat.is_taken_by("any", 5)
    known = read_seat(told(0, seeds=[1, 2, 3]))
    assert known and known.company.by == "keys"


@pytest.mark.parametrize("backend", [None, "{}", '{"batch":1,"place":0,"keys":["a"]}', '{"server":"b","place":1}'])
def test_who_was_alone_or_tells_nothing_has_no_seat(backend: str | None) -> None:
    assert read_seat(backend) is None


@pytest.mark.parametrize("members", [{}, {"keys": list(KEYS[:2])}, {"keys": "abc"}])
def test_a_seat_in_a_batch_that_contradicts_itself_is_nobodys(members: dict[str, Any]) -> None:
    seat = read_seat(json.dumps({"batch": 3, "place": 1, **members}))
    assert seat and not seat.is_taken_by(REQUESTS[1].key(), None)


def test_a_place_beyond_the_batch_is_none() -> None:
    assert read_seat('{"batch":2,"place":2,"seeds":[5,9]}') is None


def test_company_is_the_same_or_it_is_said_what_is_not() -> None:
    seat = read_seat(told(1))
    assert seat
    assert how_company_differs(seat, told(1, seeds=[1, 2, 3])) is None
    assert how_company_differs(seat, None) == "it was answered alone, not in a batch of 3"
    assert how_company_differs(seat, told(2)) == "its place in the batch was 2 of 3, is 3 of 3"
    assert how_company_differs(seat, '{"batch":3,"place":1}') is None, "nothing says otherwise"
    others = json.dumps({"batch": 3, "place": 1, "keys": ["x", KEYS[1], "y"]})
    assert how_company_differs(seat, others) == "others were in its batch of 3"


def test_company_by_seeds_is_compared_by_seeds() -> None:
    seat = read_seat('{"batch":2,"place":1,"seeds":[5,9]}')
    assert seat
    assert how_company_differs(seat, '{"batch":2,"place":1,"keys":["a","b"],"seeds":[5,9]}') is None
    assert how_company_differs(seat, '{"batch":2,"place":1,"keys":["a","b"],"seeds":[6,9]}') is not None
