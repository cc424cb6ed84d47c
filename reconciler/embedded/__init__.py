"""A real PostgreSQL and a real Redis for a directory that has none: who starts them, shares them, stops them.

`stores` is what the program calls; `use` is one process's share in one server; `supervisor` is the process that
keeps a server while anybody uses it. All but `binaries` needs nothing but the standard library, so that the
supervisor starts in milliseconds.
"""

from reconciler.embedded.stores import EmbeddedServers, Stores, open_stores

__all__ = ["EmbeddedServers", "Stores", "open_stores"]
