"""What may be written for an instant, a length and a parameter."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import click
import pytest

from reconciler.cli.arguments import Instant, Length, Parameter, as_meant, aware, told_to_quote
from reconciler.cli.group import COMMANDS
from reconciler.nearest import nearest
from reconciler.registry.params import ParamFault


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("region=eu", ("region", "eu")),
        ("n=3", ("n", 3)),
        ("rate=1.5", ("rate", 1.5)),
        ("dry=true", ("dry", True)),
        ("none=null", ("none", None)),
        ("empty=", ("empty", "")),
        ("sql=a=b", ("sql", "a=b")),
        ('word="3"', ("word", "3")),
        ("list=[1, 2]", ("list", [1, 2])),
        ("list=[a, no]", ("list", ["a", "no"])),
        ("word='3'", ("word", "3")),
        ('dsn={"from_env": "DSN"}', ("dsn", {"from_env": "DSN"})),
    ],
)
def test_a_parameter_means_what_a_spec_would_mean(text: str, pair: tuple[str, Any]) -> None:
    assert Parameter().convert(text, None, None) == pair


@pytest.mark.parametrize("text", ["region", "=eu", "a={", "a=yes", "a=[1,", "a=[1,2"])
def test_a_parameter_that_is_none_is_a_usage_error(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Parameter().convert(text, None, None)


def test_an_instant_is_iso_and_may_be_a_length_of_time_ago_where_the_past_is_meant() -> None:
    assert Instant().convert("2026-01-02T03:00:00Z", None, None) == datetime(2026, 1, 2, 3, tzinfo=UTC)
    before = datetime.now(UTC)
    found = Instant(is_past=True).convert("2h", None, None)
    assert before <= found + timedelta(hours=2) <= datetime.now(UTC)
    for kind, text in ((Instant(), "2h"), (Instant(is_past=True), "yesterday")):
        with pytest.raises(click.BadParameter):
            kind.convert(text, None, None)


@pytest.mark.parametrize("text", ["0001-01-01", "1899-12-31T23:59:59Z", "9999-12-31T23:59:59-12:00"])
def test_an_instant_that_nothing_can_be_counted_from_is_a_usage_error(text: str) -> None:
    with pytest.raises(click.BadParameter, match="the year has to be from 1900 to 2999"):
        Instant().convert(text, None, None)


def test_a_naive_instant_is_read_on_the_clocks_of_the_zone() -> None:
    assert aware(datetime(2026, 1, 2, 3), "Europe/Berlin") == datetime(2026, 1, 2, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "zone", "told"),
    [
        ("2026-01-02T03:00:00+01:00", "Europe/Berlin", ""),
        ("2026-01-02T03:00", "UTC", "2026-01-02 03:00:00 has no offset: read as 2026-01-02 03:00:00 UTC\n"),
        (
            "2026-01-02",
            "Europe/Berlin",
            "2026-01-02 00:00:00 has no offset: read as 2026-01-02 00:00:00 Europe/Berlin (2026-01-01T23:00:00Z)\n",
        ),
        (  # a time that the clock skips
            "2026-03-29T02:30",
            "Europe/Berlin",
            "2026-03-29 02:30:00 has no offset: read as 2026-03-29 03:30:00 Europe/Berlin (2026-03-29T01:30:00Z)\n",
        ),
    ],
)
def test_of_a_naive_instant_a_note_says_how_it_was_read(
    text: str, zone: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    moment = datetime.fromisoformat(text)
    assert as_meant(moment, zone) == aware(moment, zone)
    assert capsys.readouterr() == ("", told)


def test_a_length_without_a_unit_says_how_to_write_it() -> None:
    assert Length().convert("1h30m", None, None) == timedelta(minutes=90)
    with pytest.raises(click.BadParameter, match="examples"):
        Length().convert("90", None, None)


def test_a_broken_list_is_told_in_words_of_the_house() -> None:
    with pytest.raises(click.BadParameter, match=r"\[1,2 is neither a list of JSON nor one of YAML"):
        Parameter().convert("message=[1,2", None, None)


def test_a_number_where_text_is_wanted_is_shown_as_a_shell_has_to_be_told() -> None:
    fault = ParamFault("message", "3 is not text; quote it: '3'")
    assert told_to_quote(fault, {"message": 3}) == "message: 3 is not text; quote it: -p \"message='3'\""
    assert told_to_quote(fault, {}) == str(fault)  # from the spec, where one writes it so


@pytest.mark.parametrize(("word", "near"), [("bogus", None), ("rnu", "run"), ("lgos", "logs"), ("hist", "history")])
def test_only_a_word_that_is_alike_is_suggested(word: str, near: str | None) -> None:
    assert nearest(word, COMMANDS) == near
