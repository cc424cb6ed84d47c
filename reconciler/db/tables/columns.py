"""What all tables share: the one collection that they are in, and how a moment is kept."""

from __future__ import annotations

from sqlalchemy import Column, DateTime, MetaData, text

metadata = MetaData()


def instant(name: str, *, nullable: bool = True, primary_key: bool = False, now: bool = False) -> Column[object]:
    """A moment in UTC."""
    default = text("clock_timestamp()") if now else None
    nullable = nullable and not primary_key
    return Column(name, DateTime(timezone=True), primary_key=primary_key, nullable=nullable, server_default=default)
