"""What of a store's URL is secret, and that nothing else is taken for one."""

from __future__ import annotations

import pytest

from reconciler.registry.references import Mask
from reconciler.urls import redacted, secrets_of


@pytest.mark.parametrize(
    ("url", "passwords"),
    [
        ("postgresql://app:s3cret@db/app", ["s3cret"]),
        ("postgresql+psycopg://app:s3cret@db:5432/app?sslmode=require", ["s3cret"]),
        ("postgresql://app:s%40me%2Fword@db/app", ["s%40me%2Fword", "s@me/word"]),
        ("postgresql://app@db/app?password=s3cret", ["s3cret"]),
        ("postgresql://app:one%20@db/app?sslpassword=two", ["one%20", "one ", "two"]),
        ("redis://:s3cret@cache:6379/0", ["s3cret"]),
        ("redis://:s3cret@cache/0?client_name=me@here", ["s3cret"]),
        ("unix:///run/redis.sock?password=s3cret&db=1", ["s3cret"]),
        # Not a URL by the letter, and yet somebody's password.
        ("postgresql://app:pa/ss@word@db/app", ["pa/ss@word"]),
    ],
)
def test_the_password_of_a_url_is_found_wherever_it_is(url: str, passwords: list[str]) -> None:
    assert secrets_of(url) == [url, *passwords]
    masked = Mask.of_stores({"RECONCILER_DATABASE_URL": url})
    assert masked(url) == "***"
    assert all(masked(f"it is {password}!") == "it is ***!" for password in passwords if len(password) >= 4)
    assert all(password not in redacted(url) for password in passwords)


@pytest.mark.parametrize(
    "url",
    ["", "postgresql:///app", "postgresql://app@db/app", "redis://cache", "unix:///run/redis.sock", "redis://:@h"],
)
def test_a_url_without_a_password_is_no_secret(url: str) -> None:
    assert secrets_of(url) == []
    assert Mask.of_stores({"RECONCILER_REDIS_URL": url}) == Mask()


def test_a_password_that_is_a_name_too_is_masked_within_its_url_only() -> None:
    url = "postgresql://reconciler:reconciler@db/reconciler"
    masked = Mask.of_stores({"RECONCILER_DATABASE_URL": url})
    assert masked(f"/srv/reconciler/tasks: {url}") == "/srv/reconciler/tasks: ***"


def test_the_stores_and_the_parameters_are_masked_together() -> None:
    both = Mask.of_stores({"RECONCILER_REDIS_URL": "redis://:s3cret@cache"}).also(["hunter22"])
    assert both("s3cret hunter22") == "*** ***"
    assert both.also([]) is both
