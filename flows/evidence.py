"""What a decision rests on, in words for a person: what failed and how often, what repeats what, and how near."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]

LONGEST = 160
"""Characters of a model's or library's own words that are repeated; the call has them in full."""

_ID = re.compile(r"[0-9a-f]{32}")


def short(name: str) -> str:
    """The first digits of an id, enough to be given to a command; other names stay whole."""
    return name[:8] if _ID.fullmatch(name) else name


def evidence_lines(evidence: str, repeats: Sequence[Record] = ()) -> list[str]:
    """A decision's evidence in words, if any: from its JSON, and the rows of `duplicates` that belong to it."""
    said = json.loads(evidence)
    if repeats:
        return [*(repeat_words(row) for row in repeats), *_spoken(said)]
    match said:
        case {"by": _, "why": _, "kept_sample_id": str(keeper), "kept_turn": turn}:
            return [f"beside turn {turn} of {short(keeper)}", *_spoken(said)]
        case {"attempts": [*attempts], "turn": turn, "round": round_number, "purpose": purpose}:
            return [_failure_words(f"turn {turn}, round {round_number}, {purpose}", attempts)]
        case {"sample_id": str(successor)}:
            return [f"sample {short(successor)} takes its place"]
        case {**pairs} if pairs:
            return [", ".join(f"{str(name).replace('_', ' ')} {_value_words(value)}" for name, value in pairs.items())]
    return []


def _spoken(said: Record) -> list[str]:
    """What a person gave as the reason, where one decided."""
    return [f"{said['by']} says: {_shortened(said['why'])}"] if "by" in said and "why" in said else []


def repeat_words(row: Record) -> str:
    """A row of `duplicates`: whom a turn repeats, and how near that is."""
    image = f"picture {row['image_similarity']:.4f} of {row['image_threshold']}"
    text = f"caption {row['text_similarity']:.4f} of {row['text_threshold']}"
    return f"turn {row['turn']} repeats turn {row['kept_turn']} of {short(row['kept_sample_id'])} ({image}, {text})"


def _failure_words(place: str, attempts: Sequence[Record]) -> str:
    """Where it failed, how often, what came instead, and the last call, which can be looked at."""
    reasons = {each["reason"] for each in attempts}
    said = dict.fromkeys(_said(each, is_named=len(reasons) > 1) for each in attempts)
    times = f"{len(attempts)} attempt{'s' if len(attempts) > 1 else ''}"
    return f"{place}, {times}: {'; '.join(said)} (last call {short(attempts[-1]['call_id'])})"


def _said(attempt: Record, *, is_named: bool) -> str:
    """The message of an attempt, after its reason where others had another one."""
    message = _shortened(attempt["message"])
    return f"{attempt['reason'].replace('_', ' ')}, {message}" if is_named else message


def _shortened(message: str) -> str:
    plainly = " ".join(message.split())
    return plainly if len(plainly) <= LONGEST else f"{plainly[:LONGEST]}…"


def _value_words(value: object) -> str:
    return short(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
