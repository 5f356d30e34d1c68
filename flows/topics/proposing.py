"""Proposing topics for one branch: asked in rounds until enough names are new, or no more come. Knows no lake."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from flows.inquiry import Ear, Heard
from flows.topics.proposal_prompts import AT_ONCE, MAX_TOKENS, SHOWN, NamesReply, propose_names
from flows.topics.sieve import NewName, Removed, Sieve
from storage.canonical import Json, derive_seed

PROPOSE = "propose"
"""Kind of the inquiries and runs that propose, stage and purpose of their calls."""
PATIENCE = 3
"""Rounds without a new name after which no more are asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """So many new topics for a branch; names as similar to a known one as `alike` are not new."""

    domain: str
    category: str
    wanted: int
    alike: float

    @property
    def branch(self) -> str:
        return "/".join(part for part in (self.domain, self.category) if part)

    def fewest_rounds(self) -> int:
        """How often is asked when every name that comes is new."""
        return -(-self.wanted // AT_ONCE)

    def rounds(self) -> int:
        """How often is asked at most: for twice as many names as are wanted, and a little."""
        return 2 * -(-self.wanted // AT_ONCE) + PATIENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A new name, and the call in which it came."""

    new: NewName
    call_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a wish came to: new names in the order in which they came, others with reasons, and why no more was asked.

    `unheard` counts rounds in which no reply could be used.
    """

    found: tuple[Found, ...]
    removed: tuple[Removed, ...]
    rounds: int
    unheard: int
    ended: str

    def result(self) -> Mapping[str, Json]:
        """As JSON, for the record."""
        return {
            "found": len(self.found),
            "rounds": self.rounds,
            "unheard": self.unheard,
            "ended": self.ended,
            "removed": [
                {
                    "name": removed.name,
                    "reason": removed.reason,
                    "nearest": removed.nearest,
                    "similarity": removed.similarity,
                }
                for removed in self.removed
            ],
        }


async def propose(wish: Wish, there: Sequence[str], sieve: Sieve, ear: Ear) -> Findings:
    """Ask for new topics of a branch. `there` are the names that it has; errors of models pass through."""
    found: list[Found] = []
    removed: list[Removed] = []
    unheard = fruitless = rounds = 0
    while len(found) < wish.wanted and fruitless < PATIENCE and rounds < wish.rounds():
        number = min(AT_ONCE, max(3, wish.wanted - len(found)))
        shown = _choose_shown([*there, *(each.new.name for each in found)], ear.inquiry_id, rounds)
        messages = propose_names(wish.domain, wish.category, shown, number)
        heard = await ear.ask(messages, NamesReply, stage=PROPOSE, number=rounds, max_tokens=MAX_TOKENS)
        before = len(found)
        for each in _sift(heard, sieve, wish.alike):
            if isinstance(each, Removed):
                removed.append(each)
            elif len(found) < wish.wanted:
                found.append(each)
        unheard += heard is None
        fruitless = 0 if len(found) > before else fruitless + 1
        rounds += 1
    is_enough = len(found) >= wish.wanted
    ended = "enough" if is_enough else "nothing new" if fruitless >= PATIENCE else "asked often enough"
    return Findings(found=tuple(found), removed=tuple(removed), rounds=rounds, unheard=unheard, ended=ended)


def _sift(heard: Heard[NamesReply] | None, sieve: Sieve, alike: float) -> Iterator[Found | Removed]:
    for name in heard.reply.names if heard else ():
        sifted = sieve.sift(name, alike)
        yield sifted if isinstance(sifted, Removed) else Found(new=sifted, call_id=heard.call_id if heard else "")


def _choose_shown(names: Sequence[str], inquiry_id: str, round_: int) -> list[str]:
    """As many names as a request shows, others each round, in the order of `names`."""
    if len(names) <= SHOWN:
        return list(names)
    chosen = sorted(range(len(names)), key=lambda at: derive_seed(inquiry_id, round_, "shown", at))[:SHOWN]
    return [names[at] for at in sorted(chosen)]
