"""What the fault tests do harm with, and how they see from the outside whether anything was lost or done twice.

Servers, proxies and processes of their own; a journal that no store can lose; an oracle that is not the program's; and
one checker that compares them all.
"""

from faultkit.checker import check, drain, settle
from faultkit.journal import Entry, Journal
from faultkit.oracle import due
from faultkit.program import Process, Project
from faultkit.proxy import Proxy
from faultkit.stores import PostgreSQLServer, RedisServer
from faultkit.waiting import now, until

__all__ = [
    "Entry",
    "Journal",
    "PostgreSQLServer",
    "Process",
    "Project",
    "Proxy",
    "RedisServer",
    "check",
    "drain",
    "due",
    "now",
    "settle",
    "until",
]
