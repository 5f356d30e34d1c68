"""A key is found in what others say, however they write it, and hidden."""

import base64
import html
import json
import logging
import urllib.parse

import pytest

from models.secret import Secret, SecretFilter

KEY = "sk-Pl4nted+Key/0123=&<9>"
WRITTEN = {
    "plain": KEY,
    "in a header": f"Authorization: Bearer {KEY}",
    "in an address": f"http://host/?key={urllib.parse.quote(KEY, safe='')}",
    "in HTML": f"<p>{html.escape(KEY)}</p>",
    "in JSON": json.dumps(KEY).replace("/", "\\/"),
    "in JSON of numbers": "".join(f"\\u{ord(letter):04x}" for letter in KEY),
    "in base64": base64.b64encode(KEY.encode()).decode(),
    "in base64 of a header": base64.b64encode(f"Bearer {KEY}".encode()).decode(),
    "in base64 of a name and it": base64.b64encode(f"me:{KEY}".encode()).decode(),
    "in base64 for addresses": base64.urlsafe_b64encode(f"a:{KEY}, and more".encode()).decode(),
    "in base64 in an address": urllib.parse.quote(base64.b64encode(f"x{KEY}".encode()).decode(), safe=""),
}


@pytest.mark.parametrize("how", WRITTEN)
def test_it_is_found_and_hidden(how: str) -> None:
    secret, text = Secret(KEY), f"You sent {WRITTEN[how]}, which is wrong."
    assert secret.is_in(text)
    assert secret.is_repeated_in(text)
    hidden = secret.hide(text)
    assert "***" in hidden
    assert not secret.is_in(hidden)
    assert KEY[3:9] not in hidden


def test_what_stands_around_it_stays_but_for_its_headers_name() -> None:
    secret = Secret(KEY)
    assert secret.hide(f"Incorrect key: {KEY}. Ask for one.") == "Incorrect key: ***. Ask for one."
    assert secret.hide(f"got {{'authorization': 'Bearer {KEY}'}}") == "got {***'}"
    assert secret.hide("No key at all %41 &amp; \\u0041") == "No key at all %41 &amp; \\u0041"


def test_a_short_key_may_be_a_word_that_anybody_says() -> None:
    secret = Secret("EMPTY")
    assert not secret.is_repeated_in("The box is EMPTY.")
    assert secret.hide("Invalid key EMPTY") == "Invalid key ***"


def test_it_does_not_show_itself() -> None:
    assert KEY not in repr(Secret(KEY))
    assert Secret(KEY) == Secret(KEY) != Secret(f"{KEY}!")


def test_records_of_other_loggers_are_shown_without_it(caplog: pytest.LogCaptureFixture) -> None:
    logger, quiet = logging.getLogger("interlake.tests.secret"), SecretFilter(Secret(KEY))
    logger.addFilter(quiet)
    try:
        with caplog.at_level(logging.DEBUG):
            logger.debug("headers %r", [(b"x-echo", f"Bearer {KEY}".encode())])
            logger.debug("nothing to hide in %d of %s", 2, "these")
    finally:
        logger.removeFilter(quiet)
    assert [record.getMessage() for record in caplog.records] == [
        "headers [(b'x-echo', b'***')]",
        "nothing to hide in 2 of these",
    ]
