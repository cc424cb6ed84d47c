"""When another runner counts as dead."""

from __future__ import annotations

from uuid import UUID

from reconciler.runner.liveness import Witness

A, B = UUID(int=1), UUID(int=2)


def look(witness: Witness, beats: dict[UUID, tuple[int, float]], moment: float) -> list[UUID]:
    """Who is dead by a look that was answered at once."""
    return witness.see(beats, moment, moment)


def test_a_runner_is_dead_once_its_beat_stood_still_for_its_lease() -> None:
    witness = Witness()
    assert look(witness, {A: (7, 2.0)}, 100.0) == []
    assert look(witness, {A: (7, 2.0)}, 101.9) == []
    assert look(witness, {A: (7, 2.0)}, 102.0) == [A]


def test_a_beat_that_changes_starts_the_lease_anew() -> None:
    witness = Witness()
    look(witness, {A: (7, 2.0)}, 100.0)
    look(witness, {A: (8, 2.0)}, 101.9)
    assert look(witness, {A: (8, 2.0)}, 103.8) == []
    assert look(witness, {A: (8, 2.0)}, 103.9) == [A]


def test_a_failed_look_expires_nobody() -> None:
    witness = Witness()
    look(witness, {A: (7, 2.0)}, 100.0)
    witness.look_failed()
    assert look(witness, {A: (7, 2.0)}, 1000.0) == []
    assert look(witness, {A: (7, 2.0)}, 1002.0) == [A]


def test_each_runner_is_judged_by_its_own_lease() -> None:
    witness = Witness()
    look(witness, {A: (1, 2.0), B: (1, 30.0)}, 0.0)
    assert look(witness, {A: (1, 2.0), B: (1, 30.0)}, 10.0) == [A]


def test_a_runner_that_left_and_came_back_is_seen_afresh() -> None:
    witness = Witness()
    look(witness, {A: (1, 2.0)}, 0.0)
    look(witness, {}, 1.0)
    assert look(witness, {A: (1, 2.0)}, 5.0) == []


def test_an_answer_that_took_its_time_makes_no_standstill_longer() -> None:
    witness = Witness()
    witness.see({A: (7, 2.0)}, 100.0, 100.5)
    assert witness.see({A: (7, 2.0)}, 101.9, 108.0) == []
    assert witness.see({A: (7, 2.0)}, 102.4, 102.6) == []
    assert witness.see({A: (7, 2.0)}, 102.5, 102.6) == [A]
