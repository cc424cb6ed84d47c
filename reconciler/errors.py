"""The few errors, and what each tells its reader.

An error's text is one line, *where: what: what to do*, ready to be shown as it is. A subclass exists only where a
caller acts differently on it.
"""

from __future__ import annotations


class ReconcilerError(Exception):
    """Something that the reader can mend; the text says how."""

    exit_code = 1


class UsageError(ReconcilerError):
    """The command line itself is wrong."""

    exit_code = 64


class Refused(ReconcilerError):
    """A guard held a change back; the text says what to type if it is meant."""

    exit_code = 3


class StoreUnavailable(ReconcilerError):
    """PostgreSQL or Redis did not answer; nothing was decided, and the same call may work later."""
