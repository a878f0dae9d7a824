"""Values to JSON and back."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.core.codec import MAX_PROSE, Pairs, Prose, decode, encode, pairs
from kit.core.digest import canonical_json
from kit.core.errors import SchemaError


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


@dataclass(frozen=True, slots=True)
class Leaf:
    colour: Colour
    weight: float | None


@dataclass(frozen=True, slots=True)
class Tree:
    name: str
    note: Prose
    count: int
    alive: bool
    leaves: tuple[Leaf, ...]
    figures: Pairs[float]
    maybe: Leaf | None
    kinds: Pairs[Colour] | None


leaves = st.builds(
    Leaf, st.sampled_from(Colour), st.none() | st.floats(allow_nan=False, allow_infinity=False)
)
trees = st.builds(
    Tree,
    st.text(st.characters(exclude_categories=["Cs"])),
    st.text(st.characters(categories=["L", "N"]), max_size=20),
    st.integers(-(2**53) + 1, 2**53 - 1),
    st.booleans(),
    st.lists(leaves).map(tuple),
    st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.floats(-1e300, 1e300)).map(pairs),
    st.none() | leaves,
    st.none() | st.dictionaries(st.sampled_from("abc"), st.sampled_from(Colour)).map(pairs),
)


@given(trees)
def test_a_value_survives_its_canonical_json(tree):
    from kit.result.dsse import parse_canonical

    data = canonical_json(encode(Tree, tree))
    assert decode(Tree, parse_canonical(data, "tree")) == tree


def sample(**changes):
    document = encode(Tree, Tree("a", "b", 1, True, (Leaf(Colour.RED, 1.0),), (("x", 2.0),), None, None))
    return document | changes


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"name": 1}, r"\$\.name: expected str, found int"),
        ({"count": True}, r"\$\.count: expected int, found bool"),
        ({"count": 1.5}, r"\$\.count: expected int, found float"),
        ({"alive": 1}, r"\$\.alive: expected bool"),
        ({"alive": None}, r"\$\.alive: expected bool, found NoneType"),
        ({"leaves": {}}, r"\$\.leaves: expected an array"),
        ({"leaves": [{"colour": "blue", "weight": 1}]}, r"\$\.leaves\[0\]\.colour: 'blue' is not one of"),
        ({"leaves": [{"colour": [], "weight": 1}]}, r"\$\.leaves\[0\]\.colour"),
        ({"leaves": [{"colour": "red"}]}, r"\$\.leaves\[0\]: expected the keys"),
        ({"figures": []}, r"\$\.figures: expected an object"),
        ({"figures": {"x": "1"}}, r"\$\.figures\.x: expected float"),
        ({"figures": {"x": True}}, r"\$\.figures\.x: expected float"),
        ({"maybe": 3}, r"\$\.maybe: expected the keys"),
        ({"extra": 1}, r"\$: expected the keys"),
    ],
)
def test_a_value_of_another_type_is_refused_with_its_place(changes, where):
    with pytest.raises(SchemaError, match=where):
        decode(Tree, sample(**changes))


def test_a_name_that_occurs_twice_is_not_written():
    with pytest.raises(SchemaError, match="duplicate name"):
        encode(Pairs[float], (("a", 1.0), ("a", 2.0)))


def test_prose_of_a_guest_can_neither_break_nor_flood_the_document():
    hostile = "\x1b[2J\ud800\x00\r\n" + "x" * 10_000
    written = encode(Prose, hostile)
    assert len(written) == MAX_PROSE
    assert written.isprintable()
    canonical_json(written)


@dataclass(frozen=True, slots=True)
class Remark:
    text: Prose | None
    value: Any


@pytest.mark.parametrize("value", [None, 1, "text", [1, {"a": None}], {"a": [True]}])
def test_optional_prose_is_made_printable_and_any_json_value_is_kept(value: Any) -> None:
    document = encode(Remark, Remark("a\n\x1b[2J", value))
    assert document == {"text": "a \N{REPLACEMENT CHARACTER}[2J", "value": value}
    assert decode(Remark, document) == Remark("a \N{REPLACEMENT CHARACTER}[2J", value)
    assert decode(Remark, encode(Remark, Remark(None, value))) == Remark(None, value)
    with pytest.raises(SchemaError):
        decode(Remark, {"text": 5, "value": value})


def test_a_json_value_of_any_kind_is_unchanged():
    value = [1, None, {"b": [True, "x"]}]
    assert decode(Any, encode(Any, value)) == value
    assert decode(Pairs[Any], encode(Pairs[Any], (("a", value), ("b", None)))) == (("a", value), ("b", None))
