"""What became of every instant that a spec ever named, said in a sentence with the rows that it rests on.

Values in, values out: whoever asks brings the evidence. Nothing here reads a store or asks the clock.
"""

from reconciler.ledger.book import Book
from reconciler.ledger.evidence import (
    Claimed,
    Evidence,
    Outage,
    Override,
    Presence,
    Revision,
    Run,
    Skipped,
)
from reconciler.ledger.listing import ledger
from reconciler.ledger.verdict import Kind, Verdict, coming, verdict

__all__ = [
    "Book",
    "Claimed",
    "Evidence",
    "Kind",
    "Outage",
    "Override",
    "Presence",
    "Revision",
    "Run",
    "Skipped",
    "Verdict",
    "coming",
    "ledger",
    "verdict",
]
