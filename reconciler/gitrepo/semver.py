"""Which tag is the newest within a range of versions. Where the tags come from is not known here."""

from __future__ import annotations

import re
from collections.abc import Iterable

PREFIX = "semver:"


def newest(tags: Iterable[str], wanted: str) -> str | None:
    """The tag of the highest version within `wanted`; None without one; ValueError, with examples, for no range.

    A leading `v` is left aside, what is no version too. A pre-release counts only where the range names one.
    """
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.version import Version

    try:
        ranges = [SpecifierSet(translated(part)) for part in wanted.split("||")]
    except InvalidSpecifier as error:
        raise ValueError(f"'{wanted}' is no range of versions; examples: >=1.2,<2 or ^1.2 or 1.x") from error
    best: tuple[Version, str] | None = None
    for tag in tags:
        try:
            version = Version(tag)
        except ValueError:  # or a number of thousands of digits
            continue
        is_in = any(one.contains(version, prereleases=bool(one.prereleases)) for one in ranges)
        if is_in and (best is None or (version, tag) > best):
            best = version, tag
    return best[1] if best else None


def translated(wanted: str) -> str:
    """`^1.2`, `~1.2`, `1.x` and a bare version as packaging writes them; all else as it is."""
    # An operator may stand apart from its version; else a blank separates as a comma does.
    joined = re.sub(r"([<>=!~^])\s+", r"\1", wanted.strip())
    return ",".join(_one(part) for part in re.split(r"[\s,]+", joined) if part and part not in ("*", "x", "X"))


def _one(part: str) -> str:
    found = re.fullmatch(r"(\^|~(?!=)|=(?!=))?[vV]?(\d+(?:\.\d+)*)((?:\.[xX*])+)?([-+]?[a-zA-Z].*|-.*|\+.*)?", part)
    if found is None:
        return re.sub(r"^([<>=!~]+)[vV]", r"\1", part)
    operator, numbers, wild, rest = found[1] or "", found[2], found[3] or "", found[4] or ""
    release = [int(number) for number in numbers.split(".")]
    if operator == "^":
        return f">={numbers}{rest},<{_after(release, _first_that_counts(release))}"
    if operator == "~":
        return f">={numbers}{rest},<{_after(release, min(1, len(release) - 1))}"
    if wild or (len(release) < 3 and not rest and not operator):
        return f"=={numbers}.*"
    return f"=={numbers}{rest}"


def _first_that_counts(release: list[int]) -> int:
    """Where `^` allows no change: the first number that is not 0."""
    return next((place for place, number in enumerate(release) if number), len(release) - 1)


def _after(release: list[int], place: int) -> str:
    return ".".join(str(number) for number in (*release[:place], release[place] + 1))
