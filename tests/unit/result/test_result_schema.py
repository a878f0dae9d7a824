"""The schema and the values of a result say the same, and nothing in it is unbounded."""

import dataclasses
import types
from dataclasses import replace
from enum import StrEnum
from typing import Annotated, Union, get_args, get_origin, get_type_hints

import jsonschema
import pytest

from kit.core.codec import OPTIONAL, decode, encode
from kit.core.errors import SchemaError
from kit.core.schema import load_schema, schema_names, validate
from kit.result import dsse
from kit.result.predicate import Predicate, Reproduces


@pytest.fixture(scope="module")
def schema():
    return load_schema("result.v2")


def resolved(schema, node):
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].removeprefix("#/$defs/")]
    return node


def compare(schema, kind, node, where):
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    node = resolved(schema, node)
    if get_origin(kind) in (types.UnionType, Union):
        assert node["anyOf"][1] == {"type": "null"}, where
        (kind,) = (k for k in get_args(kind) if k is not type(None))
        compare(schema, kind, node["anyOf"][0], where)
    elif dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind, include_extras=True)
        names = {f.name for f in dataclasses.fields(kind)}
        optional = {name for name in names if OPTIONAL in getattr(hints[name], "__metadata__", ())}
        assert set(node["properties"]) == set(node["required"]) | optional == names, where
        assert not optional & set(node["required"]), where
        for name in names:
            hint = hints[name]
            if name in optional:
                (hint,) = (k for k in get_args(get_args(hint)[0]) if k is not type(None))
            compare(schema, hint, node["properties"][name], f"{where}.{name}")
    elif get_origin(kind) is tuple:
        item = get_args(kind)[0]
        if get_origin(item) is tuple and get_args(item)[0] is str and len(get_args(item)) == 2:
            assert "propertyNames" in node, where
            compare(schema, get_args(item)[1], node["additionalProperties"], f"{where}.*")
        else:
            compare(schema, item, node["items"], f"{where}[]")
    elif isinstance(kind, type) and issubclass(kind, StrEnum):
        assert set(node["enum"]) == {member.value for member in kind}, where
    else:
        plain = getattr(kind, "__supertype__", kind)
        spelled = {str: "string", int: "integer", float: "number", bool: "boolean"}[plain]
        assert node.get("type", "string" if "enum" in node else None) == spelled, where


def test_the_schema_has_exactly_the_fields_of_the_values(schema):
    compare(schema, Predicate, schema["properties"]["predicate"], "predicate")


def nodes(node):
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from nodes(value)
    elif isinstance(node, list):
        for value in node:
            yield from nodes(value)


def test_every_object_array_text_and_integer_of_the_schema_is_bounded(schema):
    kinds = {"object": 0, "array": 0, "string": 0, "integer": 0}
    for node in nodes(schema):
        kind = node.get("type")
        if not isinstance(kind, str) or kind not in kinds or "$ref" in node:  # what it refers to is bounded
            continue
        kinds[kind] += 1
        match kind:
            case "object":
                assert node["additionalProperties"] is False or "maxProperties" in node, node
            case "array":
                assert "maxItems" in node, node
            case "string":
                assert "maxLength" in node, node
            case "integer":
                assert {"minimum", "maximum"} <= set(node), node
    assert all(kinds.values())


def most_values(schema, node):
    """Return how many values the largest document of a schema's node has."""
    if "$ref" in node:
        target = schema
        for key in node["$ref"].removeprefix("#/").split("/"):
            target = target[key]
        return most_values(schema, target)
    if "anyOf" in node:
        return max(most_values(schema, one) for one in node["anyOf"])
    count = 1 + sum(most_values(schema, part) for part in node.get("properties", {}).values())
    count += sum(most_values(schema, part) for part in node.get("prefixItems", ()))
    if isinstance(node.get("items"), dict):
        count += node["maxItems"] * most_values(schema, node["items"])
    if isinstance(node.get("additionalProperties"), dict):
        count += node["maxProperties"] * most_values(schema, node["additionalProperties"])
    return count


@pytest.mark.parametrize("name", [n for n in schema_names() if "predicateType" in str(load_schema(n))])
def test_a_signed_document_has_fewer_values_than_are_read(name):
    most = most_values(load_schema(name), load_schema(name))
    if name.startswith("reservation"):  # what it plans is a result, whose schema is asked separately
        most += most_values(load_schema("result.v2"), load_schema("result.v2"))
    assert most < dsse.MAX_VALUES


class Unread(list):
    """An array that must not be looked into."""

    def __iter__(self):
        pytest.fail("its parts were looked at")


def test_an_array_with_more_parts_than_it_may_have_is_refused_unread(make, good):
    document = make.payload_of(good)
    document["predicate"]["claims"]["val_points"] = Unread([{}] * 5000)
    with pytest.raises(SchemaError, match="val_points"):
        validate("result.v2", document, "result")


def test_of_violations_without_end_the_first_thousand_are_compared(make, good, monkeypatch):
    document = make.payload_of(good)
    told = []
    monkeypatch.setattr(jsonschema.exceptions, "best_match", lambda found: told.extend(found))
    document["predicate"]["run"]["env"] = {f"={n}": 0 for n in range(200)}
    document["predicate"]["claims"]["val_points"] = [{}] * 4000
    validate("result.v2", document, "result")
    assert len(told) == 1000


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("sha256", "0" * 63 + "\n"),
        ("sha256", "A" * 64),
        ("id", "a\n"),
        ("id", ""),
        ("id", ".hidden"),
        ("commit", "0" * 40 + "\n"),
        *(
            ("path", p)
            for p in ("/a", "a/", "a//b", "..", "a/../b", "./a", "a/.", "a\n", "a\\b", "a\0b", "x\n/../y")
        ),
    ],
)
def test_patterns_refuse_what_slips_past_careless_ones(schema, name, bad):
    """Python's `$` accepts a line end behind the text."""
    node = {"$defs": schema["$defs"], "$ref": f"#/$defs/{name}"}
    assert not jsonschema.Draft202012Validator(node).is_valid(bad)


@pytest.mark.parametrize("good", ["train_gpt2.py", "lib/kernels.cu", "..a", "a..b/c", ".hidden"])
def test_ordinary_paths_are_accepted(schema, good):
    node = {"$defs": schema["$defs"], "$ref": "#/$defs/path"}
    assert jsonschema.Draft202012Validator(node).is_valid(good)


def test_the_subjects_have_one_order(make, good):
    document = make.payload_of(good)
    document["subject"].reverse()
    with pytest.raises(SchemaError, match="subject"):
        validate("result.v2", document, "result")


def test_a_trust_tier_cannot_be_asserted_by_the_writer(make, good):
    for place in ("audit", "score"):
        document = make.payload_of(good)
        document["predicate"][place]["tier"] = "canary"
        with pytest.raises(SchemaError):
            validate("result.v2", document, "result")


def test_an_optional_part_is_absent_or_whole_but_never_null(make, assets):
    plain = make.predicate(assets)
    assert not {"reproduces", "series"} & set(encode(Predicate, plain))
    named = replace(plain, reproduces=Reproduces("r03-x", "a" * 64, "b" * 64))
    document = encode(Predicate, named)
    assert decode(Predicate, document) == named
    document["reproduces"] = None
    with pytest.raises(SchemaError, match="reproduces"):
        decode(Predicate, document)
    payload = make.payload_of((assets / "good.json").read_bytes())
    payload["predicate"]["reproduces"] = None
    with pytest.raises(SchemaError, match="reproduces"):
        validate("result.v2", payload, "payload")
