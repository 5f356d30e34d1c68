"""What the members of a batch tell of it leads to the calls that they are recorded as."""

from models.company import companies_of
from models.embedding import EmbedRequest
from storage.canonical import content_sha256

REQUESTS = [EmbedRequest(model="m", revision="1", subject=subject) for subject in ("A cat", "A dog", "Ein Schlüssel")]


def test_each_tells_its_place_and_all_keys_in_order() -> None:
    keys = [content_sha256(request.canonical())[:16] for request in REQUESTS]
    assert companies_of(REQUESTS) == [
        {"batch": 3, "place": 0, "keys": keys},
        {"batch": 3, "place": 1, "keys": keys},
        {"batch": 3, "place": 2, "keys": keys},
    ]
    assert companies_of(REQUESTS[1:2]) == [{"batch": 1, "place": 0, "keys": keys[1:2]}]
