"""What a set of specs would do between two moments: the rules of the runner on a pretended clock."""

from reconciler.simulate.clockchanges import ClockChange, clock_changes
from reconciler.simulate.engine import simulate
from reconciler.simulate.model import Job, Outcome, Ran, Setup, Unstarted
from reconciler.simulate.pileups import PileUp, fires_by_hour, pile_ups
from reconciler.simulate.summary import Summary, Totals, summaries, totals

__all__ = [
    "ClockChange",
    "Job",
    "Outcome",
    "PileUp",
    "Ran",
    "Setup",
    "Summary",
    "Totals",
    "Unstarted",
    "clock_changes",
    "fires_by_hour",
    "pile_ups",
    "simulate",
    "summaries",
    "totals",
]
