"""What a person asked of `plan`, `diff` and `apply`, and the specs that this is about: read, whole, with a revision.

Faults are told here, since no plan is made of specs that have them, unless the source holds only their files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from reconciler.cli.arguments import actor
from reconciler.cli.checking import catalogue_option
from reconciler.cli.command import given
from reconciler.cli.output import note
from reconciler.cli.specs import choose_source, discover, read
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from reconciler.gitrepo import Origin, Revision
    from reconciler.plan.guards import Options
    from reconciler.settings import SourceSettings
    from reconciler.spec.specset import SpecSet
    from reconciler.sync.reconcile import Request

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What stands on the command line of these three. None: the settings say."""

    path: Path | None = None
    environment: str | None = None
    source: str | None = None
    prune: bool | None = None
    max_prune: str | None = None
    allow_empty: bool = False
    allow_rewind: bool = False
    reason: str | None = None
    adopt: bool = False
    on_fault: str | None = None
    drift: str | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """The specs of one source as they were read; whole and still for as long as `reading` is open."""

    specs: SpecSet
    options: Options
    origin: Origin
    revision: Revision
    root: Path
    environment: str | None

    @property
    def is_refused(self) -> bool:
        """Whether its faults hold back everything."""
        if not self.specs.faults:
            return False
        from reconciler.sync.compared import readable

        return readable(self.specs, self.request()) is None

    def request(self, **more: Any) -> Request:
        """For `preview` and `reconcile`."""
        from reconciler.sync.reconcile import Request

        return Request(self.options, actor(), self.revision, self.origin, **more)


def options(function: F) -> F:
    """The options that plan, diff and apply share."""
    for option in reversed(
        (
            click.argument("path", required=False, type=click.Path(exists=True, path_type=Path)),
            click.option("--environment", metavar="NAME", help="Read the specs as they are in that environment."),
            click.option("--source", metavar="NAME", help="The configured source that the specs belong to."),
            click.option(
                "--prune/--no-prune",
                default=None,
                help="Delete what the specs no longer name; by default only when PATH is the source's own.",
            ),
            click.option("--max-prune", metavar="N|N%", help="How many may be deleted at once."),
            click.option("--allow-empty", is_flag=True, help="Deleting everything is meant."),
            click.option(
                "--allow-rewind", is_flag=True, help="A revision that does not descend from the applied one is meant."
            ),
            click.option("--reason", metavar="TEXT", help="Why; --allow-rewind needs it, and it is recorded."),
            click.option("--adopt", is_flag=True, help="Take over names that another source owns."),
            click.option(
                "--on-fault",
                type=click.Choice(["refuse", "hold_file"]),
                help="Whether a fault holds back everything, or the tasks of its file.",
            ),
            click.option(
                "--drift",
                type=click.Choice(["correct", "detect", "ignore"]),
                help="What becomes of what somebody changed by hand in a store.",
            ),
            catalogue_option,
        )
    ):
        function = option(function)
    return function


@contextmanager
def reading(wish: Wish, verb: str) -> Iterator[Reading]:
    """Look where the specs are, and read them; warnings and faults are on stderr by then.

    UsageError for a line that makes no sense, ReconcilerError where the place cannot be looked at.
    """
    from reconciler.gitrepo import origin_of

    settings = given().settings
    if wish.allow_rewind and not (wish.reason or "").strip():
        raise UsageError("--allow-rewind: say why: --allow-rewind --reason 'the commit was amended'")
    source, root, is_own = _chosen(wish)
    _say_what_stays(wish, source, root, is_own)
    origin = origin_of(source, settings.directory, None if is_own else root)
    revision = origin.look()
    environment = wish.environment or settings.environment
    with origin.opened(revision) as directory:
        for fault in discover(settings):
            note(f"reconciler: {fault}")
        # Of a path on the command line, faults are shown as it was typed.
        specs = read(root if source.repo is None or not is_own else directory, environment)
        if source.repo and is_own:
            from reconciler.sync.shown import as_in_repository

            specs = as_in_repository(specs, source, directory, settings.directory)
        found = Reading(specs, _options(wish, source, is_own), origin, revision, directory, environment)
        _tell(found, verb)
        yield found


def _chosen(wish: Wish) -> tuple[SourceSettings, Path, bool]:
    source, root, is_own = choose_source(given().settings, wish.source, wish.path)
    # A directory here is not the repository, even where its name is the same.
    return source, root, is_own and not (source.repo and wish.path is not None)


def _say_what_stays(wish: Wish, source: SourceSettings, root: Path, is_own: bool) -> None:
    if wish.prune is None and not is_own:
        note(
            f"reconciler: note: {root} is not the path of source '{source.name}': nothing is deleted; --prune if meant"
        )


def _options(wish: Wish, source: SourceSettings, is_own: bool) -> Options:
    from reconciler.sync.options import options_of

    return options_of(
        source,
        prune=wish.prune if wish.prune is not None else is_own and source.prune,
        max_prune=wish.max_prune,
        adopt=wish.adopt,
        allow_empty=wish.allow_empty,
        allow_rewind=wish.allow_rewind or None,
        reason=wish.reason,
        on_fault=wish.on_fault,
        drift=wish.drift,
    )


def _tell(found: Reading, verb: str) -> None:
    specs = found.specs
    for text in (*specs.faults, *(f"{warning} (warning)" for warning in specs.warnings)):
        note(str(text))
    if specs.faults:
        many = f"{len(specs.faults)} fault{'' if len(specs.faults) == 1 else 's'}"
        upshot = "nothing was applied" if verb in ("apply", "sync") else "no plan is made"
        upshot = upshot if found.is_refused else "the tasks of those files stay as they are"
        note(f"reconciler: {verb}: {many} in the specs: {upshot}")
