"""
Load and validate the project's documents: TOML written by people, JSON by machines, with one schema each.

Schemas are JSON Schema 2020-12 files next to this module, named `<name>.schema.json`; the name contains
the version (`result.v1`). Validation never fetches a remote reference.
"""

from __future__ import annotations

import copy
import functools
import itertools
import json
import math
import re
import tomllib
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema

from kit.core.errors import CHECK_PATH, PrerequisiteError, SchemaError, UsageError
from kit.core.reading import open_file, unreadable

MAX_DOCUMENT = 64 << 20
"""Largest size of a document in bytes; a larger one is refused before parsing."""

CORRECT = "correct the file, or pass another one"
MAX_DEPTH = 64
"""Objects and arrays within each other; the kit's own documents have 8."""
MAX_VIOLATIONS = 1000
"""Violations of a schema that are compared for the one to tell."""

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_TEXT = re.compile(rb'"(?:[^"\\]|\\.?)*+"?', re.DOTALL)
"""A text of a JSON document. It matches behind every quotation mark, so that no document is read twice."""
_NO_BRACKETS = re.compile(rb"[^\[\]{}]+")
_LEAVES = re.compile(rb"\[\]|\{\}")


@functools.cache
def load_schema(name: str) -> dict[str, Any]:
    """Return the schema called `name`, for example `result.v1`."""
    source = resources.files(__package__).joinpath(f"{name}.schema.json")
    try:
        schema: dict[str, Any] = json.loads(source.read_bytes())
    except FileNotFoundError as e:
        raise UsageError(f"unknown schema {name!r}", "list the schemas: speedrun bundle schema --list") from e
    return schema


def schema_names() -> list[str]:
    """Return the names that `load_schema` accepts, sorted."""
    suffix = ".schema.json"
    return sorted(
        p.name.removesuffix(suffix) for p in resources.files(__package__).iterdir() if p.name.endswith(suffix)
    )


def validate(name: str, document: Any, where: str) -> None:
    """
    Check `document` against schema `name`.

    Raises `SchemaError` that names `where`, the JSON path and the violated rule of the topmost violation.
    """
    validator = _validator(name)
    try:
        found = itertools.islice(validator.iter_errors(document), MAX_VIOLATIONS)
        worst = jsonschema.exceptions.best_match(found)
    except (RecursionError, ValueError) as e:  # a value that cannot even be spelled in the message
        raise SchemaError(f"{where}: nested too deeply, or a number is too long") from e
    if worst is not None:
        text = worst.message if len(worst.message) <= 300 else worst.message[:300] + " …"
        raise SchemaError(
            f"{where}: {worst.json_path}: {text}", f"print the schema: speedrun bundle schema {name}"
        )


@functools.cache
def _validator(name: str) -> jsonschema.Draft202012Validator:
    schema = with_definitions(load_schema(name))
    own: dict[str, Any] = {"pattern": _pattern}
    for keyword, limit in (
        ("items", "maxItems"),
        ("additionalProperties", "maxProperties"),
        ("propertyNames", "maxProperties"),
    ):
        own[keyword] = _unless_too_many(jsonschema.Draft202012Validator.VALIDATORS[keyword], limit)
    validator = jsonschema.validators.extend(jsonschema.Draft202012Validator, own)  # type: ignore[no-untyped-call]
    instance: jsonschema.Draft202012Validator = validator(schema)
    return instance


def with_definitions(schema: dict[str, Any]) -> dict[str, Any]:
    """
    Return a schema with its definitions in the places of the references to them.

    It accepts the same documents, and the validator need not resolve a reference for each value again. A
    reference beside other keywords stays.
    """
    schema = copy.deepcopy(schema)
    stack: list[dict[str, Any] | list[Any]] = [schema]
    known: set[int] = set()
    while stack:
        part = stack.pop()
        if id(part) in known:
            continue
        known.add(id(part))
        if isinstance(part, list):
            part[:] = [_definition(value, schema) for value in part]
        else:
            part.update({key: _definition(value, schema) for key, value in part.items()})
        values = part if isinstance(part, list) else part.values()
        stack += [value for value in values if isinstance(value, dict | list)]
    return schema


def _definition(value: Any, schema: dict[str, Any]) -> Any:
    """Return the definition that a value refers to by nothing but its name, else the value."""
    while isinstance(value, dict) and "$ref" in value and value.keys() <= {"$ref", "description"}:
        value = schema["$defs"][value["$ref"].removeprefix("#/$defs/")]
    return value


def _pattern(
    validator: object, pattern: str, instance: object, schema: object
) -> Iterator[jsonschema.ValidationError]:
    """Match `$` only at the end of the text, as in JSON Schema; Python also matches before a last newline."""
    strict = re.sub(r"(?<!\\)\$", r"\\Z", pattern)
    if isinstance(instance, str) and not re.search(strict, instance):
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")


def _unless_too_many(keyword: Callable[..., Iterator[Any]], limit: str) -> Callable[..., Iterator[Any]]:
    """Return a keyword that looks at nothing in what has more parts than its schema allows: that is told."""

    def bounded(validator: object, value: object, instance: Any, schema: dict[str, Any]) -> Iterator[Any]:
        if not isinstance(instance, list | dict) or len(instance) <= schema.get(limit, len(instance)):
            yield from keyword(validator, value, instance, schema)

    return bounded


def parse_json(data: bytes, where: str, max_values: int | None = None) -> Any:
    """
    Parse JSON strictly: UTF-8, no duplicate keys, finite numbers, no lone surrogates, bounded size and depth.

    `max_values` bounds objects, arrays and what is in them, before they take any memory. Raises `SchemaError`
    naming `where`.
    """
    if len(data) > MAX_DOCUMENT:
        raise SchemaError(f"{where}: larger than {MAX_DOCUMENT} bytes")
    structure = _TEXT.sub(b"", data)
    if max_values is not None and sum(map(structure.count, (b",", b"[", b"{"))) > max_values:
        raise SchemaError(f"{where}: more than {max_values} values")

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key, value in items:
            if key in mapping:
                raise ValueError(f"duplicate key {key!r}")
            mapping[key] = value
        return mapping

    try:
        document = json.loads(
            data.decode("utf-8"), object_pairs_hook=pairs, parse_constant=_finite, parse_float=_finite
        )
        if _SURROGATE.search(data):
            json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as e:
        raise SchemaError(f"{where}: not valid JSON: {_short(e)}") from e
    if _is_too_deep(structure):
        raise SchemaError(f"{where}: objects and arrays lie more than {MAX_DEPTH} deep")
    return document


def _is_too_deep(structure: bytes) -> bool:
    """Tell whether a valid document, without its texts, is deeper than `MAX_DEPTH`."""
    brackets = _NO_BRACKETS.sub(b"", structure)
    for _ in range(MAX_DEPTH):
        if not brackets:
            return False
        brackets = _LEAVES.sub(b"", brackets)
    return bool(brackets)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is not a finite number")
    return number


def _short(e: Exception) -> str:
    """Return a parser's message, which may quote the document, as valid UTF-8."""
    return str(e).encode("utf-8", "replace").decode()[:200]


def read_json(path: Path, schema: str | None = None) -> Any:
    """Read a JSON file and validate it against `schema`, if given. Raises `PrerequisiteError` if missing."""
    document = _parsed(parse_json, path)
    if schema is not None:
        validate(schema, document, str(path))
    return document


def read_toml(path: Path, schema: str | None = None) -> dict[str, Any]:
    """Read a TOML file and validate it against `schema`, if given. Raises `PrerequisiteError` if missing."""
    document: dict[str, Any] = _parsed(parse_toml, path)
    if schema is not None:
        validate(schema, document, str(path))
    return document


def parse_toml(data: bytes, where: str) -> dict[str, Any]:
    """Parse TOML with finite numbers. Raises `SchemaError` that names `where`."""
    try:
        return tomllib.loads(data.decode("utf-8"), parse_float=_finite)
    except (ValueError, RecursionError) as e:
        raise SchemaError(f"{where}: not valid TOML: {_short(e)}") from e


def read_bounded(path: Path) -> bytes:
    """
    Read a file of at most `MAX_DOCUMENT` bytes, without trusting the size that the file system reports.

    Raises `SchemaError` if the file is larger, and the file system's `OSError`.
    """
    with open_file(path) as f:
        data = f.read(MAX_DOCUMENT + 1)
    if len(data) > MAX_DOCUMENT:
        raise SchemaError(f"{path}: larger than {MAX_DOCUMENT} bytes")
    return data


def _parsed(parse: Callable[[bytes, str], Any], path: Path) -> Any:
    try:
        return parse(_read(path), str(path))
    except SchemaError as e:
        raise SchemaError(e.message, e.hint or CORRECT) from e


def _read(path: Path) -> bytes:
    try:
        return read_bounded(path)
    except FileNotFoundError as e:
        raise PrerequisiteError(f"{path} does not exist", CHECK_PATH) from e
    except OSError as e:
        raise unreadable(path, e) from e
