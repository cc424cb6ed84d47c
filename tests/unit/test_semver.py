"""Which tag is the newest within a range."""

from __future__ import annotations

import pytest

from reconciler.gitrepo.semver import newest

TAGS = ["v1.2.0", "1.2.9", "v1.10.0", "v2.0.0-rc.1", "v2.0.0", "nonsense", "0.2.9", "v0.3.0", "1.3.0-rc1", "0.0.3", ""]


@pytest.mark.parametrize(
    ("wanted", "tag"),
    [
        # as packaging has it
        (">=1.2,<2", "v1.10.0"),
        ("==1.2.*", "1.2.9"),
        ("~=1.2", "v1.10.0"),
        ("!=2.0.0", "v1.10.0"),
        # as npm and cargo have it
        ("^1.2", "v1.10.0"),
        ("^1.2.3", "v1.10.0"),
        ("^0.2.3", "0.2.9"),
        ("^0.0.3", "0.0.3"),
        ("^0", "v0.3.0"),
        ("~1.2", "1.2.9"),
        ("~1", "v1.10.0"),
        ("1.x", "v1.10.0"),
        ("1.2.x", "1.2.9"),
        ("v1.*", "v1.10.0"),
        ("1.2", "1.2.9"),
        ("=1.2.0", "v1.2.0"),
        ("1.2.0", "v1.2.0"),
        (">=1.2 <2", "v1.10.0"),
        (">= v1.2, < 2", "v1.10.0"),
        ("^0.2 || ^1.2", "v1.10.0"),
        # anything that is a release
        ("*", "v2.0.0"),
        ("", "v2.0.0"),
        # pre-releases only where one is named
        (">=1.10,<2", "v1.10.0"),
        ("<2", "v1.10.0"),
        ("==2.0.0-rc.1", "v2.0.0-rc.1"),
        (">=1.3.0-rc1,<1.4", "1.3.0-rc1"),
        # none
        ("^3", None),
        ("1.2.3", None),
    ],
)
def test_the_newest_tag_within_a_range(wanted: str, tag: str | None) -> None:
    assert newest(TAGS, wanted) == tag


@pytest.mark.parametrize("wanted", ["newest", "main", ">>1", "^x.1", "1.2.3.four", "><", "^"])
def test_what_is_no_range_is_said_with_examples(wanted: str) -> None:
    with pytest.raises(ValueError, match=r"is no range of versions; examples: >=1\.2,<2 or \^1\.2 or 1\.x"):
        newest(TAGS, wanted)


def test_of_two_spellings_of_a_version_it_is_always_the_same_one() -> None:
    assert newest(["v1.0", "1.0.0"], "1.x") == newest(["1.0.0", "v1.0"], "1.x")
