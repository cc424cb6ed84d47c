"""A virtual environment for a peer, made once from its pinned releases, and made again when those change."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

from contents import OWN, requirements

ROOT = Path(__file__).parents[2]
PLACE = ROOT / ".reconciler" / "peers"


def programs(peer: str) -> Path:
    """The directory with the peer's programs, installed if need be. CalledProcessError where pip cannot."""
    if peer == OWN:
        return Path(sys.executable).parent
    place = PLACE / peer
    made = place / "made-from.txt"
    wanted = f"{sys.version}\n{requirements(peer).read_text(encoding='utf-8')}"
    if not made.exists() or made.read_text(encoding="utf-8") != wanted:
        print(f"installing {peer} into {place}", file=sys.stderr, flush=True)
        shutil.rmtree(place, ignore_errors=True)
        venv.create(place, with_pip=True)
        install = [str(place / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, "--requirement", str(requirements(peer))], check=True, stdout=sys.stderr)
        made.write_text(wanted, encoding="utf-8")
    return place / "bin"
