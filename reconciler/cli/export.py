"""`export`: what is in force, as a file that `plan --against` compares with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.command import command
from reconciler.cli.output import note
from reconciler.cli.stores import with_link

if TYPE_CHECKING:
    from reconciler.db.link import Link, Transaction

PAGE = 1000
# A cursor sees one moment, however long it is read.
OPEN = "declare configs cursor for select name, source, path, digest, spec from task_configs order by name"
NEXT = f"fetch {PAGE} from configs"


@command("export", example="reconciler export --state state.json")
@click.option(
    "--state",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    required=True,
    help="Write every config in force, and how far each source has come.",
)
def export(state: Path) -> None:
    """Write what is in force, for a plan without any store.

    `reconciler plan --against FILE` reads it. It holds every spec as it is in force; references to secrets stay
    references.
    """
    from reconciler.cli.newfile import replaced

    async def act(link: Link) -> int:
        count = 0
        with replaced(state) as file:
            async with link.transaction() as tx:
                async for text in _text(tx):
                    count += text.lstrip(b",\n").startswith(b'{"name"')
                    file.write(text)
        return count

    note(f"written to {state}: {with_link(act):,} configs")


async def _text(tx: Transaction) -> AsyncIterator[bytes]:
    from reconciler.db import sources
    from reconciler.plan.state import StateSource, lines

    await tx.run(OPEN)
    [(now,)] = await tx.run("select clock_timestamp()")
    held = [{field: getattr(source, field) for field in StateSource.model_fields} for source in await sources.every(tx)]
    async for text in lines(now, held, _configs(tx)):
        yield text


async def _configs(tx: Transaction) -> AsyncIterator[dict[str, Any]]:
    while rows := await tx.run(NEXT):
        for name, source, path, digest, spec in rows:
            yield {"name": name, "source": source, "path": path, "digest": digest, "spec": spec}


COMMANDS = {"export": export}
