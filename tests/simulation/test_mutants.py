"""The simulation finds what it is there for: a rule of the program that is broken makes some seed fail, and soon."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from simulated import deciding, stage, standing, working
from simulated.story import Story

from reconciler.db import claims, cursors, finishing, runners
from reconciler.db.cursors import Sighted
from reconciler.errors import StoreUnavailable
from reconciler.plan import making
from reconciler.runner.deciding import Decider
from reconciler.runner.presence import Presence

SEEDS = 400

Patch = pytest.MonkeyPatch


def a_cursor_moves_from_wherever_it_is(patch: Patch) -> None:
    def decide(db: Any, runner_id: Any, moves: Any, fires: Any, skips: Any) -> Any:
        seen = [move._replace(seen=db.tables.cursors.get(move.name)) for move in moves]
        return deciding.decide(db, runner_id, seen, fires, skips)

    patch.setitem(stage.STEPS, (claims, "decide"), decide)


def what_is_decided_against_is_not_written(patch: Patch) -> None:
    def decide(db: Any, runner_id: Any, moves: Any, fires: Any, skips: Any) -> Any:
        return deciding.decide(db, runner_id, moves, fires, [])

    patch.setitem(stage.STEPS, (claims, "decide"), decide)


def a_decision_without_an_answer_counts_as_won(patch: Patch) -> None:
    own = Decider._own

    async def wrong(self: Any, batch: Any) -> Any:
        try:
            return await own(self, batch)
        except StoreUnavailable:
            self._uncertain = {}
            self._start(batch.runs)
            raise

    patch.setattr(Decider, "_own", wrong)


def a_decision_without_an_answer_is_forgotten(patch: Patch) -> None:
    async def settle_uncertain(self: Any) -> None:
        self._uncertain = {}

    def beat(db: Any, runner_id: Any, held: Any, *, is_all: bool = True) -> Any:
        return standing.beat(db, runner_id, held, is_all=False)

    patch.setattr(Decider, "settle_uncertain", settle_uncertain)
    patch.setitem(stage.STEPS, (runners, "beat"), beat)


def a_dead_runner_keeps_what_it_had(patch: Patch) -> None:
    async def take_over(self: Any, dead: Any) -> None:
        """Nobody does."""

    patch.setattr(Presence, "_take_over", take_over)


def a_late_result_is_written(patch: Patch) -> None:
    def finish(db: Any, records: Any, *, is_told: bool = False) -> Any:
        for record in records:
            claim = db.tables.claims.get((record["name"], record["scheduled_for"]))
            if claim is not None:
                claim.token = record["token"]
        return working.finish(db, records, is_told=is_told)

    patch.setitem(stage.STEPS, (finishing, "finish"), finish)


def earlier_attempts_are_forgotten(patch: Patch) -> None:
    def hand_back(db: Any, returned: Any) -> Any:
        return working.hand_back(db, [one._replace(attempts=[]) for one in returned])

    patch.setitem(stage.STEPS, (finishing, "hand_back"), hand_back)


def an_edit_leaves_the_cursor(patch: Patch) -> None:
    patch.setattr(making, "names_other_instants", lambda fields: False)


def a_pause_that_has_ended_is_forgotten(patch: Patch) -> None:
    def sight(db: Any, config_ids: Any) -> Any:
        rows = deciding.sight(db, config_ids)
        return [Sighted(one.config_id, one.name, one.digest, one.revision, one.through, ()) for one in rows]

    patch.setitem(stage.STEPS, (cursors, "sight"), sight)


MUTANTS = (
    a_cursor_moves_from_wherever_it_is,
    what_is_decided_against_is_not_written,
    a_decision_without_an_answer_counts_as_won,
    a_decision_without_an_answer_is_forgotten,
    a_dead_runner_keeps_what_it_had,
    a_late_result_is_written,
    earlier_attempts_are_forgotten,
    an_edit_leaves_the_cursor,
    a_pause_that_has_ended_is_forgotten,
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_broken_rule_makes_a_seed_fail(mutant: Callable[[Patch], None], monkeypatch: Patch) -> None:
    mutant(monkeypatch)
    found = next((seed for seed in range(SEEDS) if Story(seed).run()), None)
    assert found is not None, f"{SEEDS} seeds found nothing"
