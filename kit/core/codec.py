"""
Convert frozen dataclasses to JSON values and back, by their annotations. Schemas check the bounds.

* a dataclass is an object with exactly its fields as keys; None is null and is never omitted, except for
  fields marked `OPTIONAL`, which keep older documents valid
* `Pairs[T]` is an object; `tuple[T, ...]` is an array; a StrEnum is its value
* `Any` is any JSON value, unchanged
* a float is a number (an integer if it is whole, as in RFC 8785)
* `Prose` is text that a guest may have written: `encode` makes it printable and truncates it
"""

from __future__ import annotations

import dataclasses
import functools
import sys
import types
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from kit.core.errors import SchemaError

T = TypeVar("T")

Pairs = tuple[tuple[str, T], ...]
"""A mapping as an immutable tuple of names and values; names are unique, and `pairs` sorts them."""

_PROSE = "prose"
Prose = Annotated[str, _PROSE]
"""Text for people. Callers pass any `str`; `encode` keeps at most `MAX_PROSE` printable characters."""

OPTIONAL = "optional"
"""Marks `Annotated[T | None, OPTIONAL]`: the key is omitted for None and never null."""

MAX_PROSE = 2000


def pairs(mapping: Mapping[str, T]) -> Pairs[T]:
    """Return a mapping as sorted pairs."""
    return tuple(sorted(mapping.items(), key=lambda item: item[0].encode("utf-16-be", "surrogatepass")))


def prose(text: str) -> str:
    """Return `text` as one printable line of at most `MAX_PROSE` characters."""
    cut = text[:MAX_PROSE]
    return "".join(c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in cut)


def encode(kind: Any, value: Any) -> Any:
    """
    Return the JSON value of `value`, which is annotated as `kind`.

    Raises `SchemaError` for a duplicate name in `Pairs`. Does not check `value` against `kind`: mypy does,
    and the schema does before anything is signed.
    """
    if value is None:
        return None
    kind = _without_none(kind)
    if get_origin(kind) is Annotated:
        return prose(value) if _PROSE in get_args(kind)[1:] else encode(get_args(kind)[0], value)
    if dataclasses.is_dataclass(value):
        hints = _hints(cast(type, type(value)))
        there = ((name, hint, getattr(value, name)) for name, hint in hints.items())
        return {name: encode(hint, v) for name, hint, v in there if v is not None or not _is_optional(hint)}
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, tuple):
        (item, *_) = get_args(kind)
        named = _pair_value(item)
        if named is None:
            return [encode(item, v) for v in value]
        encoded = {name: encode(named, v) for name, v in value}
        if len(encoded) != len(value):
            raise SchemaError(f"duplicate name in {[name for name, _ in value][:20]}")
        return encoded
    return value


def decode(kind: Any, value: Any, where: str = "$") -> Any:
    """
    Return the value annotated as `kind` that `encode` would write as this JSON value.

    Raises `SchemaError` naming the JSON path for a missing or unknown key or a value of another type.
    """
    kind, is_nullable = _unwrapped(kind)
    if value is None and is_nullable:
        return None
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return _decode_object(cast(type, kind), value, where)
    if get_origin(kind) is tuple:
        return _decode_tuple(get_args(kind)[0], value, where)
    plain = getattr(kind, "__supertype__", kind)
    if isinstance(plain, type) and issubclass(plain, StrEnum):
        if value not in tuple(plain):
            raise SchemaError(f"{where}: {str(value)[:80]!r} is not one of {sorted(plain)}")
        return plain(value)
    if plain is float and type(value) in (int, float) and abs(value) <= sys.float_info.max:
        return float(value)
    if type(value) is plain:
        return value
    raise SchemaError(f"{where}: expected {plain.__name__}, found {type(value).__name__}")


def _decode_object(kind: type, value: Any, where: str) -> Any:
    hints = _hints(kind)
    if isinstance(value, dict):
        hints = {name: h for name, h in hints.items() if value.get(name) is not None or not _is_optional(h)}
    if not isinstance(value, dict) or set(value) != set(hints):
        actual = sorted(value) if isinstance(value, dict) else type(value).__name__
        raise SchemaError(f"{where}: expected the keys {sorted(hints)}, found {actual}")
    return kind(**{name: decode(hint, value[name], f"{where}.{name}") for name, hint in hints.items()})


def _decode_tuple(item: Any, value: Any, where: str) -> Any:
    named = _pair_value(item)
    if named is not None:
        if not isinstance(value, dict):
            raise SchemaError(f"{where}: expected an object, found {type(value).__name__}")
        return pairs({name: decode(named, v, f"{where}.{name}") for name, v in value.items()})
    if not isinstance(value, list):
        raise SchemaError(f"{where}: expected an array, found {type(value).__name__}")
    return tuple(decode(item, v, f"{where}[{i}]") for i, v in enumerate(value))


@functools.cache
def _pair_value(item: Any) -> Any:
    """Return T if `item` is the element of `Pairs[T]`, else None."""
    args = get_args(item)
    return args[1] if get_origin(item) is tuple and len(args) == 2 and args[0] is str else None


@functools.cache
def _unwrapped(kind: Any) -> tuple[Any, bool]:
    """Return T for T, `T | None` and annotated ones, and whether None is allowed."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    is_nullable = get_origin(kind) in (types.UnionType, Union)
    kind = _without_none(kind)
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind, is_nullable


@functools.cache
def _is_optional(hint: Any) -> bool:
    return get_origin(hint) is Annotated and OPTIONAL in get_args(hint)[1:]


@functools.cache
def _without_none(kind: Any) -> Any:
    """Return T for `T | None`."""
    if get_origin(kind) in (types.UnionType, Union):
        (kind,) = (k for k in get_args(kind) if k is not type(None))
    return kind


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {f.name: hints[f.name] for f in dataclasses.fields(kind)}
