"""One pass over the files of a specs' directory: what each holds now, opening only those that may have changed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from reconciler.spec import Fault
from reconciler.specfiles.calendars import Calendars
from reconciler.specfiles.instep import Steps, in_step
from reconciler.specfiles.layers import Check, Layer, Rules
from reconciler.specfiles.onefile import Held, defaults_in, specs_in
from reconciler.specfiles.shares import shared_out
from reconciler.specfiles.walk import DEFAULTS, Amiss, Found, Stamp, Unreadable, Walk, content, is_settled
from reconciler.specfiles.yamlgate import FILE_BYTES, too_large

# What several files read in step may have in them: their contents are held at once.
TOGETHER_BYTES = 64 * 1024

# Hears how many files are done, and of how many.
Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Known:
    """What a file held when it was last opened, and all that this depended on."""

    stamp: Stamp
    is_settled: bool
    digest: str
    held: Held
    layer: Layer | None = None
    defaults: tuple[str, ...] = ()
    calendars: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Chain:
    """The defaults that hold in a folder, outermost first, and the digests that tell them apart."""

    layers: tuple[Layer, ...] = ()
    digests: tuple[str, ...] = ()


class Pass:
    """`known` is what every file holds, in order; `changed` counts those that hold something else than `before`."""

    def __init__(self, found: Walk, shown_root: str, before: Mapping[str, Known]) -> None:
        self.found = found
        self.shown_root = shown_root
        self.before = before
        self.known: dict[str, Known] = {}
        self.changed = 0
        self._calendars = Calendars(found.root)
        self._chains: dict[str, Chain] = {}
        self._defaults: dict[str, Known] = {}

    def run(self, environment: str | None, check: Check | None, progress: Progress) -> None:
        """Look at every file; never raises for what one holds."""
        defaults = []
        for file in self.found.files:
            if file.path.endswith(DEFAULTS):
                folder, slash, name = file.path.rpartition("/")
                if name in DEFAULTS:
                    self._take_defaults(file, folder + slash)
                    defaults.append(file.path)
        others = self.found.files
        if defaults:
            apart = set(defaults)
            others = [file for file in others if file.path not in apart]
        unknown = []
        before, known, chains = self.before, self.known, self._chains
        for file in others:
            path, _, stamp = file
            old = before.get(path)
            folder = path[: path.rfind("/") + 1]
            chain = chains.get(folder) or self._chain(folder)
            if old and old.stamp == stamp and old.is_settled and self._is_current(old, chain):
                known[path] = old
            else:
                known[path] = Known(stamp, False, "", Held())  # its place, in order
                unknown.append((file, folder))
        self._open(unknown, environment, check, progress)
        self.known |= {folder + DEFAULTS[0]: known for folder, known in self._defaults.items()}

    def where(self, path: str) -> str:
        """A path below the root as a person would write it, and as any terminal can show it."""
        return printable(f"{self.shown_root}{path}") or "."

    def _take_defaults(self, file: Found, folder: str) -> None:
        if folder in self._defaults:
            self.found.amiss.append(Amiss(file.path, f"stands beside {DEFAULTS[0]}; keep one of them"))
            return
        old = self.before.get(folder + DEFAULTS[0])
        if old is not None and old.stamp == file.stamp and old.is_settled:
            self._defaults[folder] = old
            return
        data, fault = self._bytes(file)
        digest = hashlib.sha256(data).hexdigest()
        if old is not None and old.digest == digest and fault is None:
            self._defaults[folder] = Known(file.stamp, is_settled(file.stamp), digest, old.held, old.layer)
            return
        self.changed += 1
        layer, faults = (None, [fault]) if fault else defaults_in(data, self.where(file.path))
        self._defaults[folder] = Known(
            file.stamp, fault is None and is_settled(file.stamp), digest, Held(faults=faults), layer
        )

    def _chain(self, folder: str) -> Chain:
        chain = self._chains.get(folder)
        if chain is None:
            above = folder[:-1].rpartition("/")
            chain = self._chain(above[0] + above[1]) if folder else Chain()
            own = self._defaults.get(folder)
            if own is not None and own.layer is not None:
                chain = Chain((*chain.layers, own.layer), (*chain.digests, own.digest))
            self._chains[folder] = chain
        return chain

    def _is_current(self, old: Known, chain: Chain) -> bool:
        """Whether all that a file's content depended on besides the file is still as it was."""
        return old.defaults == chain.digests and (not old.calendars or self._calendars.are(old.calendars))

    def _open(
        self, files: Sequence[tuple[Found, str]], environment: str | None, check: Check | None, progress: Progress
    ) -> None:
        """Read these files and take over what they hold now; many are shared out among processes."""

        left = left_by(check)

        def opened(some: Sequence[tuple[Found, str]]) -> list[tuple[Known, bool, set[str] | None]]:
            before = len(left)
            works = [self._opened(file, self._chain(folder), environment, check) for file, folder in some]
            is_little = sum(file.stamp[2] for file, _ in some) <= TOGETHER_BYTES
            answers = in_step(works) if is_little else [in_step([work])[0] for work in works]
            noted = set(left) if len(left) > before else None  # it may have been noted in a child
            return [(known, is_same, noted) for known, is_same in answers]

        ahead = len(self.found.files) - len(files)
        answers = shared_out(opened, files, lambda done: progress(ahead + done, len(self.found.files)))
        for (file, _), (known, is_same, found) in zip(files, answers, strict=True):
            left.update(found or ())
            old = self.before.get(file.path)
            if old is not None and (is_same or old.held == known.held):
                known.held = old.held
            else:
                self.changed += 1
            self.known[file.path] = known

    def _opened(
        self, file: Found, chain: Chain, environment: str | None, check: Check | None
    ) -> Steps[tuple[Known, bool]]:
        """What the file holds now, and whether that is just what it held before, which is not worked out again."""
        data, fault = self._bytes(file)
        if fault is not None:
            return Known(file.stamp, False, "", Held(faults=[fault])), False
        known = Known(file.stamp, is_settled(file.stamp), hashlib.sha256(data).hexdigest(), Held())
        known.defaults = chain.digests
        old = self.before.get(file.path)
        if old is not None and old.digest == known.digest and self._is_current(old, chain):
            known.calendars = old.calendars
            return known, True
        rules = Rules(environment, self._calendars.lender(known.calendars), check)
        known.held = yield from self._held(data, file.path, chain, rules)
        return known, False

    def _held(self, data: bytes, path: str, chain: Chain, rules: Rules) -> Steps[Held]:
        shown_path = self.where(path)
        try:
            return (yield from specs_in(data, path, shown_path, chain.layers, rules))
        except Exception as error:
            # A bug of ours costs one file its specs, not the service its pass.
            what = f"cannot be read ({type(error).__name__}: {printable(str(error))[:200]}); please report this"
            return Held(faults=[Fault(shown_path, 1, 1, "file", what)])

    def _bytes(self, file: Found) -> tuple[bytes, Fault | None]:
        what = None
        data = b""
        if printable(file.path) != file.path:
            what = "its name has characters that cannot be shown; rename it"
        elif file.stamp[2] > FILE_BYTES:
            what = too_large(file.stamp[2])
        else:
            try:
                data = content(file.place, FILE_BYTES)
            except Unreadable as error:
                what = str(error)
        return data, Fault(self.where(file.path), 1, 1, "file", what) if what else None


def left_by(check: Check | None) -> set[str]:
    """The tasks that a check could not judge, where it is one that notes them."""
    found = getattr(check, "left", None)
    return found if isinstance(found, set) else set()


def printable(text: str) -> str:
    """The text with everything escaped that a terminal would act on or an encoder refuse."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
