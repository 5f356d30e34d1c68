"""Marks of chat templates in a candidate's text, broken so that no server reads them as its own. Knows no judge.

Some servers look for the special tokens of their model in all texts of a request: an answer that holds `<|im_end|>`
could end its own turn there and speak to the judge as somebody else. A dot after the opening sign keeps the mark
readable, and makes it no token: `<·|im_end|>`, `[·INST]`, `<·/s>`. Plain tags such as `<b>` have the form of a token
and get one, too.
"""

import re

DOT = "·"

_MARKS = re.compile(
    r"""
    (?<= [<\uff1c]) (?= \s? [|\uff5c] )                               # <|im_start|>, and with wide bars
    | (?<= [<\uff1c]) (?= /? [A-Za-z] [\w-]{0,40} \s? /? [>\uff1e] )  # <s>, </s>, <start_of_turn>, <image>, <<SYS>>
    | (?<= \[) (?= /? [A-Za-z] [A-Z0-9_]{1,30} \] )                   # [INST], [/INST], [IMG], [gMASK]
    """,
    re.VERBOSE,
)


def break_marks(text: str) -> str:
    """The text with a dot in each mark; texts without one are as they were."""
    return _MARKS.sub(DOT, text)
