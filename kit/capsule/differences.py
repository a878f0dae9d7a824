"""Describe how a received file differs from the file that this kit makes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kit.core.errors import SchemaError
from kit.core.schema import parse_json
from kit.core.text import counted

MAX_LISTED = 12
"""Number of differences that are listed for one file."""


def differences(received: bytes, made: bytes, is_config: bool) -> tuple[str, ...]:
    """Describe how `received` differs from `made`; `is_config` for a container's config.json."""
    if is_config:
        try:
            lines = list(_config(parse_json(received, "it"), parse_json(made, "made")))
        except SchemaError:
            lines = ["is not valid JSON"]
        except (AttributeError, KeyError, TypeError):
            lines = ["is not a container configuration"]
        lines = lines or ["has the same content in another JSON encoding"]
    else:
        lines = list(_lines(received, made))
    left = len(lines) - MAX_LISTED
    more = [f"and {counted(left, 'more difference')}"] if left > 0 else []
    return (*lines[:MAX_LISTED], *more)


def _lines(received: bytes, made: bytes) -> Iterator[str]:
    mine, theirs = made.split(b"\n"), received.split(b"\n")
    for number, (own, line) in enumerate(zip(mine, theirs, strict=False), 1):
        if own != line:
            yield f"line {number} is {_short(line.decode('utf-8', 'replace'))}"
            return
    yield f"has {len(theirs)} lines, expected {len(mine)}"


def _config(received: dict[str, Any], made: dict[str, Any]) -> Iterator[str]:
    yield from _process(received["process"], made["process"])
    yield from _mounts(received["mounts"], made["mounts"])
    yield from _linux(received["linux"], made["linux"])
    named = ("process", "mounts", "linux")
    for key in sorted({*received, *made}.difference(named)):
        if received.get(key) != made.get(key):
            yield f"{_short(key)} is {_short(received.get(key))}, expected {_short(made.get(key))}"


def _process(received: dict[str, Any], made: dict[str, Any]) -> Iterator[str]:
    if received.get("user") != made["user"]:
        yield f"runs as user {_short(received.get('user'))}, expected uid {made['user']['uid']}"
    if received.get("noNewPrivileges") is not True:
        yield "lets processes gain privileges (noNewPrivileges is not set)"
    kept = received.get("capabilities")
    if kept != made["capabilities"]:
        yield f"grants capabilities: {_short(kept)}"
    named = ("user", "noNewPrivileges", "capabilities")
    for key in sorted({*received, *made}.difference(named)):
        if received.get(key) != made.get(key):
            yield f"process.{_short(key)} is {_short(received.get(key))}, expected {_short(made.get(key))}"


def _mounts(received: list[Any], made: list[Any]) -> Iterator[str]:
    for mount in received:
        if mount not in made:
            options = mount.get("options")
            at = f"{_short(mount.get('source'))} at {_short(mount.get('destination'))}"
            yield f"mounts {at}, {_short(options)}"
    for mount in made:
        if mount not in received:
            yield f"lacks the expected mount of {mount['destination']}"


def _linux(received: dict[str, Any], made: dict[str, Any]) -> Iterator[str]:
    if "seccomp" not in received:
        yield "has no seccomp filter: all system calls are allowed"
    elif received["seccomp"] != made["seccomp"]:
        yield "has a different seccomp filter"
    inside = [n.get("type") for n in received.get("namespaces", ())]
    for namespace in made["namespaces"]:
        if namespace["type"] not in inside:
            yield f"shares the {namespace['type']} namespace of the host"
    named = ("seccomp",)
    for key in sorted({*received, *made}.difference(named)):
        if received.get(key) != made.get(key):
            yield f"linux.{_short(key)} is {_short(received.get(key))}, expected {_short(made.get(key))}"


def _short(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
