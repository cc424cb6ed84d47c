"""Who waits for whom, round in a circle."""

from __future__ import annotations

import pytest

from reconciler.spec.circles import MOST, circles, words

TABLE = [
    ({}, []),
    ({"a": ["b"], "b": ["c"]}, []),
    ({"a": ["a"]}, [("a",)]),
    ({"b": ["a"], "a": ["b"]}, [("a", "b")]),
    ({"c": ["a"], "a": ["b"], "b": ["c"]}, [("a", "b", "c")]),
    # what leads into a circle is not in it
    ({"a": ["c"], "c": ["d"], "d": ["c"]}, [("c", "d")]),
    # two ways to the same name are no circle
    ({"a": ["b", "c"], "b": ["d"], "c": ["d"]}, []),
    ({"a": ["b"], "b": ["a"], "x": ["y"], "y": ["x"]}, [("a", "b"), ("x", "y")]),
]


@pytest.mark.parametrize(("waits", "found"), TABLE)
def test_circles_are_found_and_begin_with_their_first_name(
    waits: dict[str, list[str]], found: list[tuple[str, ...]]
) -> None:
    assert list(circles(waits)) == found


def test_a_long_chain_is_no_deep_recursion() -> None:
    chain = {f"n{number:05}": [f"n{number + 1:05}"] for number in range(20_000)}
    assert list(circles(chain)) == []
    chain["n20000"] = ["n00000"]
    [circle] = circles(chain)
    assert len(circle) == 20_001


def test_where_everybody_waits_for_everybody_the_first_circles_are_enough() -> None:
    names = [f"n{number}" for number in range(60)]
    assert len(list(circles({name: [other for other in names if other != name] for name in names}))) == MOST


@pytest.mark.parametrize(
    ("circle", "text"),
    [
        (("a", "b", "c"), "a -> b -> c -> a goes round in a circle; remove one of these"),
        (
            tuple(f"n{number:02}" for number in range(30)),
            "n00 -> n01 -> n02 -> n03 -> n04 -> n05 -> n06 -> n07 -> n08 -> n09 -> … 20 more … -> n00"
            " goes round in a circle; remove one of these",
        ),
    ],
)
def test_a_circle_is_shown_from_name_to_name(circle: tuple[str, ...], text: str) -> None:
    assert words(circle) == text
