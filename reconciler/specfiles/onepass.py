"""One pass over the files of a specs' directory: what each holds now, opening only those that may have changed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.spec import Fault
from reconciler.specfiles.calendars import Calendars
from reconciler.specfiles.layers import Check, Layer, Rules
from reconciler.specfiles.onefile import Held, defaults_in, specs_in
from reconciler.specfiles.walk import DEFAULTS, Amiss, Found, Stamp, Unreadable, Walk, content, is_settled
from reconciler.specfiles.yamlgate import FILE_BYTES, too_large


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

    def run(self, environment: str | None, check: Check | None) -> None:
        """Look at every file; never raises for what one holds."""
        specs = []
        for file in self.found.files:
            folder, slash, name = file.path.rpartition("/")
            if name in DEFAULTS:
                self._take_defaults(file, folder + slash)
            else:
                specs.append((file, folder + slash))
        for file, folder in specs:
            self.known[file.path] = self._spec_file(file, self._chain(folder), environment, check)
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

    def _spec_file(self, file: Found, chain: Chain, environment: str | None, check: Check | None) -> Known:
        old = self.before.get(file.path)
        is_current = old is not None and old.defaults == chain.digests
        if old is not None and old.calendars:
            is_current = is_current and self._calendars.are(old.calendars)
        if old is not None and is_current and old.stamp == file.stamp and old.is_settled:
            return old
        data, fault = self._bytes(file)
        if fault is not None:
            return self._replaced(old, Known(file.stamp, False, "", Held(faults=[fault])))
        known = Known(file.stamp, is_settled(file.stamp), hashlib.sha256(data).hexdigest(), Held())
        known.defaults = chain.digests
        if old is not None and is_current and old.digest == known.digest:
            known.held, known.calendars = old.held, old.calendars
            return known
        rules = Rules(environment, self._calendars.lender(known.calendars), check)
        known.held = self._held(data, file.path, chain, rules)
        return self._replaced(old, known)

    def _held(self, data: bytes, path: str, chain: Chain, rules: Rules) -> Held:
        shown_path = self.where(path)
        try:
            return specs_in(data, path, shown_path, chain.layers, rules)
        except Exception as error:
            # A bug of ours costs one file its specs, not the service its pass.
            what = f"cannot be read ({type(error).__name__}: {printable(str(error))[:200]}); please report this"
            return Held(faults=[Fault(shown_path, 1, 1, "file", what)])

    def _replaced(self, old: Known | None, new: Known) -> Known:
        if old is not None and old.held == new.held:
            new.held = old.held
        else:
            self.changed += 1
        return new

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


def printable(text: str) -> str:
    """The text with everything escaped that a terminal would act on or an encoder refuse."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
