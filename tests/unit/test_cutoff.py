"""When a runner was cut off from its stores."""

from __future__ import annotations

from datetime import timedelta

from reconciler.runner.clock import Clock
from reconciler.runner.cutoff import Outages


class Hand:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 100.0
        self.clock = Clock()
        self.outages = Outages(self.clock, lambda: self.seconds)

    def lengths(self) -> list[tuple[str, timedelta]]:
        return [(one.what, one.ended_at - one.began_at) for one in self.outages.over]


def test_an_outage_lasts_from_what_last_worked_until_it_works_again() -> None:
    hand = Hand()
    hand.outages.worked("control")
    hand.seconds += 0.5
    hand.outages.failed("control", "redis: away")
    hand.seconds += 2
    hand.outages.failed("control", "redis: no answer")
    hand.outages.worked("control")
    assert hand.lengths() == [("redis: away", timedelta(seconds=2.5))]
    assert hand.outages.over[0].began_at == hand.clock.at(100.0)


def test_what_is_over_within_a_second_is_none() -> None:
    hand = Hand()
    hand.outages.worked("control")
    hand.outages.failed("control", "a lock")
    hand.seconds += 1
    hand.outages.worked("control")
    assert hand.lengths() == []


def test_two_parts_that_fail_together_are_one_outage() -> None:
    hand = Hand()
    for part in ("control", "beats"):
        hand.outages.worked(part)
    hand.outages.failed("control", "postgresql: away")
    hand.seconds += 3
    hand.outages.failed("beats", "postgresql: away")
    hand.outages.worked("control")
    assert hand.lengths() == []
    hand.seconds += 1
    hand.outages.worked("beats")
    assert hand.lengths() == [("postgresql: away", timedelta(seconds=4))]


def test_what_cannot_be_written_does_not_pile_up_without_end() -> None:
    hand = Hand()
    for _ in range(1000):
        hand.outages.failed("control", "away")
        hand.seconds += 2
        hand.outages.worked("control")
    assert len(hand.outages.over) == 100
