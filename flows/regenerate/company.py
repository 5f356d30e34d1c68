"""The company that a recorded answer was computed in, read from what its backend told. Reads no lake."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from models.company import KEY_DIGITS
from storage.canonical import Json

CONTRADICTION = "what is recorded of its batch does not say who was in it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    """A batch: its members in order, by the first digits of their keys; older records know the seeds alone."""

    by: Literal["keys", "seeds"]
    members: tuple[str, ...]

    def name_of(self, request_key: str, seed: int | None) -> str:
        """What a call would be called in this company."""
        return request_key[:KEY_DIGITS] if self.by == "keys" else str(seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """A place (from 0) in a batch of `size`; `company` has no members where the record does not tell them."""

    company: Company
    place: int
    size: int

    def is_taken_by(self, request_key: str, seed: int | None) -> bool:
        """Whether a call is the member that stands in this place."""
        members = self.company.members
        return len(members) == self.size and members[self.place] == self.company.name_of(request_key, seed)


def read_seat(backend: str | None) -> Seat | None:
    """Where an answer stood in its batch; None where it was computed alone, or nothing is told of that."""
    told: Mapping[str, Json] = json.loads(backend) if backend else {}
    match told:
        case {"batch": int(size), "place": int(place)} if 0 <= place < size and size > 1:
            return Seat(company=_company(told), place=place, size=size)
    return None


def _company(told: Mapping[str, Json]) -> Company:
    match told:
        case {"keys": [*keys]}:
            return Company(by="keys", members=tuple(map(str, keys)))
        case {"seeds": [*seeds]}:
            return Company(by="seeds", members=tuple(map(str, seeds)))
    return Company(by="keys", members=())


def how_company_differs(recorded: Seat, backend: str | None) -> str | None:
    """How the company of an answer is not the recorded one; None where it is, as far as the backend tells."""
    now = _seat_by(recorded.company.by, backend)
    if now is None:
        return f"it was answered alone, not in a batch of {recorded.size}"
    if now.size != recorded.size or now.place != recorded.place:
        places = (f"{seat.place + 1} of {seat.size}" for seat in (recorded, now))
        return "its place in the batch was {}, is {}".format(*places)
    is_same = not now.company.members or now.company == recorded.company
    return None if is_same else f"others were in its batch of {recorded.size}"


def _seat_by(by: Literal["keys", "seeds"], backend: str | None) -> Seat | None:
    """The seat of an answer now, with the members named as they were then."""
    told = json.loads(backend) if backend else {}
    return read_seat(json.dumps({name: value for name, value in told.items() if name in ("batch", "place", by)}))
