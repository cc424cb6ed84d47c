"""What a pass came to: whether it is tried again soon, and what is told to whoever asked for it."""

from __future__ import annotations

import pytest

from reconciler.gitrepo import Revision
from reconciler.plan import Change, Plan
from reconciler.plan.guards import Refusal
from reconciler.spec.specset import Fault
from reconciler.sync.answering import Came, answer_of
from reconciler.sync.reconcile import Pass

AT = Revision("a1b2c3d4" * 5)
FAULT = Fault("a.yaml", 4, 12, "schedule", "'60 * * * *' has minute 60; minutes run 0-59")
MADE = Plan((Change("create", "nightly", "", ""),), 2)
REWIND = Refusal("rewind", "rewind refused: a1b2c3d does not descend from 9f8e7d6", ())


@pytest.mark.parametrize(
    ("came", "code", "said", "is_passing"),
    [
        (Came(AT, Pass(Plan((), 3), aligned=0)), 0, "nothing to change at a1b2c3d; 3 unchanged", False),
        (Came(AT, Pass(MADE, aligned=1)), 0, "applied a1b2c3d: 1 created (nightly)", False),
        # waiting does not make these better
        (Came(AT, Pass(faults=(FAULT,))), 1, str(FAULT), False),
        (Came(AT, Pass(Plan((), 3, (REWIND,)), aligned=0)), 3, REWIND.text, False),
        (Came(AT, Pass(MADE, (FAULT,), aligned=0)), 1, f"applied a1b2c3d: 1 created (nightly)\n{FAULT}", False),
        # these, it may
        (Came(Revision(), error="source 'default': no route"), 1, "source 'default': no route", True),
        (Came(AT, error="postgresql: x: refused"), 1, "postgresql: x: refused", True),
        (Came(AT, Pass(is_busy=True)), 1, "another service is at it", True),
        (
            Came(AT, Pass(MADE, trouble="redis: y: refused")),
            1,
            "applied a1b2c3d: 1 created (nightly)\napplied, but not yet in force: redis: y: refused",
            True,
        ),
    ],
)
def test_a_pass_is_told_in_words_and_a_code(came: Came, code: int, said: str, is_passing: bool) -> None:
    answer = answer_of("default", ["t1"], came)
    assert (answer.code, answer.said, answer.tokens) == (code, said, ("t1",))
    assert bool(came.passing) == is_passing
