"""One target under the fuzzer, in a process of its own: `python -m fuzzed.child TARGET [libFuzzer's options]`."""

from __future__ import annotations

import sys

import atheris

# Only what is imported here tells the fuzzer which lines an input came to.
with atheris.instrument_imports(include=["reconciler"]):
    from fuzzed.targets import TARGETS

target, *options = sys.argv[1:]
# The first word is what the fuzzer starts itself again with, to make a corpus small.
atheris.Setup([f"{sys.executable} -m fuzzed.child {target}", *options], TARGETS[target])
atheris.Fuzz()
