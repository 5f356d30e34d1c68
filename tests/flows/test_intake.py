"""When a run begins its next batch: as soon as models have room, and never further ahead than memory allows."""

import threading
from collections.abc import Callable

import pytest

from flows.intake import HELD, SLACK, Intake


def intake_of(room: int, most: int | None = None) -> Intake:
    return Intake(room=lambda: room, most=most)


def begin_all(intake: Intake, samples: int, *, first: int = 0) -> int:
    """Begin batches of so many samples while there is room; returns how many."""
    number = first
    while intake.has_room():
        intake.begin(number, samples)
        number += 1
    return number - first


def test_batches_are_begun_until_there_are_some_more_samples_than_models_have_room_for() -> None:
    assert begin_all(intake_of(256), 64) == 256 * SLACK / 64
    assert begin_all(intake_of(2), 8) == 1


def test_a_sample_that_is_written_makes_room_for_others() -> None:
    intake = intake_of(16)
    assert begin_all(intake, 4) == 5
    for _ in range(4):
        intake.write(0)
    assert begin_all(intake, 4, first=5) == 1


def test_one_slow_sample_does_not_let_the_rest_of_the_plan_pile_up_behind_it() -> None:
    intake = intake_of(16)
    number = 0
    while intake.has_room():
        intake.begin(number, 4)
        for _ in range(3 if number == 0 else 4):
            intake.write(number)
        number += 1
    assert 4 * number == HELD * 16 * SLACK
    intake.release(0)
    assert intake.has_room()


def test_the_settings_can_bound_the_open_batches() -> None:
    assert begin_all(intake_of(256, most=3), 8) == 3


def test_models_that_bear_more_are_given_more() -> None:
    room = 4
    intake = Intake(room=lambda: room, most=None)
    assert begin_all(intake, 5) == 1
    room = 8
    assert begin_all(intake, 5, first=1) == 1


def test_a_batch_that_is_begun_again_counts_once() -> None:
    intake = intake_of(4)
    intake.begin(0, 5)
    intake.write(0)
    intake.begin(0, 5)
    for _ in range(5):
        intake.write(0)
    assert intake.wait_for_room()


def test_batches_that_are_large_for_their_models_overlap_all_the_same() -> None:
    intake = intake_of(8)
    intake.begin(0, 64)
    for _ in range(60):
        intake.write(0)
    assert intake.has_room()


@pytest.mark.parametrize(
    ("what", "is_room"),
    [(lambda intake: intake.release(0), True), (lambda intake: intake.stop(), False)],
    ids=["a commit", "the end"],
)
def test_whoever_waits_hears_of(what: Callable[[Intake], None], *, is_room: bool) -> None:
    intake = intake_of(1, most=2)
    intake.begin(0, 8)
    intake.begin(1, 8)
    heard: list[bool] = []
    waiting = threading.Thread(target=lambda: heard.append(intake.wait_for_room()))
    waiting.start()
    for _ in range(8):
        intake.write(1)
    what(intake)
    waiting.join(30)
    assert heard == [is_room]
