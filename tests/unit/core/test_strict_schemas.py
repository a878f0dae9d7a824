"""Every schema compiles in validators that are stricter than the kit's, such as ajv with `strict: true`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from kit.core.schema import load_schema, with_definitions

SCHEMAS = sorted(
    (path for path in files("kit.core.schema").iterdir() if path.name.endswith(".schema.json")),
    key=lambda path: path.name,
)


def objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(part)


@pytest.fixture(params=SCHEMAS, ids=lambda path: path.name.removesuffix(".schema.json"))
def named(request):
    path = request.param
    return path.name.removesuffix(".schema.json"), json.loads(path.read_text())


def test_the_id_is_made_from_the_name(named):
    name, schema = named
    assert schema["$id"] == f"urn:speedrun-kit:schema:{name}"


def test_what_is_required_is_defined_beside_it(named):
    _, schema = named
    for part in objects(schema):
        if isinstance(part.get("required"), list):
            assert set(part["required"]) <= part.get("properties", {}).keys(), part


def test_it_is_a_json_schema(named):
    _, schema = named
    Draft202012Validator.check_schema(schema)


def test_definitions_stand_in_the_places_of_references_to_them(named):
    name, schema = named
    used = with_definitions(load_schema(name))
    assert load_schema(name) == schema
    known: dict[int, Any] = {}
    stack: list[Any] = [used]
    while stack:
        part = stack.pop()
        if isinstance(part, dict | list) and id(part) not in known:
            known[id(part)] = part
            stack += part.values() if isinstance(part, dict) else part
    left = [p for p in known.values() if isinstance(p, dict) and "$ref" in p]
    assert all(p.keys() - {"$ref", "description"} for p in left), left


@pytest.mark.parametrize(
    ("document", "is_valid"),
    [
        ({"next": {"next": {"name": "a"}}}, True),
        ({"next": {"next": {"name": 1}}}, False),
        ({"list": [{"name": "a"}, {"next": {"name": "b"}}]}, True),
        ({"list": [{"next": {"other": 1}}]}, False),
    ],
)
def test_a_definition_may_hold_itself(document, is_valid):
    node = {"properties": {"name": {"$ref": "#/$defs/name"}, "next": {"$ref": "#/$defs/node"}}}
    node["properties"]["list"] = {"items": {"$ref": "#/$defs/node"}}
    schema = {
        "$ref": "#/$defs/node",
        "type": "object",
        "$defs": {"name": {"type": "string"}, "node": {**node, "additionalProperties": False}},
    }
    for same in (schema, with_definitions(schema)):
        assert Draft202012Validator(same).is_valid(document) is is_valid
