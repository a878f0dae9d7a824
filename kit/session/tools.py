"""The tools of a session: names, descriptions and arguments, and the check of what an agent sends."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kit.core.digest import Sha256
from kit.core.errors import KitError, UsageError
from kit.core.text import one_line
from kit.session.workspace import MAX_WORKSPACE

MAX_WAIT_S = 7 * 86400
MAX_STEPS = 10_000_000
MAX_ABOUT = 200
MAX_NUMBER = 10**15
"""Larger numbers are no numbers here; `nan` is not below it either."""


class ToolName(StrEnum):
    """The name of a tool."""

    BRIEF = "brief"
    LIST = "list"
    READ = "read"
    WRITE = "write"
    DELETE = "delete"
    CHECK = "check"
    TRY = "try"
    EVALUATE = "evaluate"
    HISTORY = "history"
    BUDGET = "budget"

    @property
    def starts_guest(self) -> bool:
        """Tell whether the tool runs the submission."""
        return self in (ToolName.TRY, ToolName.EVALUATE)

    @property
    def changes(self) -> bool:
        """Tell whether the tool needs a session that has not ended."""
        return self.starts_guest or self in (ToolName.WRITE, ToolName.DELETE)


class ToolRefusal(Exception):
    """A call that is refused; its text is for the agent. Costs nothing."""

    def __init__(self, text: str, kind: type[KitError] | None = None) -> None:
        """`kind` is what a command ends with; None for a call that was understood, and the answer is no."""
        super().__init__(text)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class ToolArgument:
    """One argument of a tool."""

    name: str
    kind: type
    """str, int or float."""
    text: str
    required: bool = False
    low: float = 0
    high: float = 0
    """The largest number, or the most characters."""


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """One tool."""

    name: ToolName
    text: str
    arguments: tuple[ToolArgument, ...] = ()

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of the arguments."""
        return {
            "type": "object",
            "properties": {argument.name: _schema(argument) for argument in self.arguments},
            "required": [argument.name for argument in self.arguments if argument.required],
            "additionalProperties": False,
        }


@dataclass(frozen=True, slots=True)
class ToolAnswer:
    """What a call returns: text for a model, the same as values, and whether it was refused."""

    text: str
    values: dict[str, Any]
    is_error: bool = False
    kind: type[KitError] | None = None
    """The error that a command ends with instead; its text stays the answer's."""


_PATH = ToolArgument("path", str, "Name of a file, relative to the workspace.", True, high=500)
TOOLS: Mapping[str, ToolSpec] = {
    spec.name: spec
    for spec in (
        ToolSpec(ToolName.BRIEF, "The task, its rules, the hints, and how a session works. Call it first."),
        ToolSpec(ToolName.LIST, "List the files of the workspace, which is the submission."),
        ToolSpec(
            ToolName.READ,
            "Read a text file of the workspace, at most 100,000 characters at once.",
            (_PATH, ToolArgument("start", int, "First character, from 0.", high=MAX_WORKSPACE)),
        ),
        ToolSpec(
            ToolName.WRITE,
            "Create or replace a text file of the workspace.",
            (_PATH, ToolArgument("content", str, "The whole text of the file.", True, high=MAX_WORKSPACE)),
        ),
        ToolSpec(ToolName.DELETE, "Delete a file of the workspace.", (_PATH,)),
        ToolSpec(
            ToolName.CHECK,
            "Check the workspace without running it: files, syntax, imports, and what the audits of the "
            "source would find. Costs nothing.",
        ),
        ToolSpec(
            ToolName.TRY,
            "Run the workspace in a container up to a bound of steps or seconds. Returns the end of its log "
            "and times by the host's clock, never a score. Charged by the host's clock.",
            (
                ToolArgument("steps", int, "End at this step.", low=1, high=MAX_STEPS),
                ToolArgument("seconds", float, "End after these seconds (600).", low=1, high=MAX_WAIT_S),
                ToolArgument("gpus", int, "Number of GPUs: 1, 2, 4 or 8 (the task's).", high=8),
                ToolArgument("lines", int, "Lines of the log to return (60).", low=1, high=400),
            ),
        ),
        ToolSpec(
            ToolName.EVALUATE,
            "Evaluate the workspace for real: a full run, audited and signed. The fastest valid evaluation "
            "is the winner. Charged by the host's clock.",
            (
                ToolArgument(
                    "parent", int, "The evaluation that it was made from (0: the start).",
                    high=10_000,
                ),
            ),
        ),
        ToolSpec(
            ToolName.HISTORY,
            "List all evaluations and tries, or show one of them again.",
            (
                ToolArgument("evaluation", int, "Show this evaluation.", low=1, high=10_000),
                ToolArgument("trial", int, "Show this try.", low=1, high=100_000),
            ),
        ),
        ToolSpec(ToolName.BUDGET, "Show what was spent, and what is left."),
    )
}  # fmt: skip


def parse_call(tool: str, arguments: Mapping[str, Any]) -> tuple[ToolSpec, dict[str, Any]]:
    """Return the tool and its checked arguments. Raises `ToolRefusal` that says what to pass instead."""
    spec = TOOLS.get(tool)
    if spec is None:
        raise ToolRefusal(
            f"there is no tool {one_line(ascii(tool), 60)}; tools: {', '.join(TOOLS)}", UsageError
        )
    known = {argument.name: argument for argument in spec.arguments}
    for name in arguments:
        if name not in known:
            takes = ", ".join(known) or "no arguments"
            raise ToolRefusal(
                f"{tool} has no argument {one_line(ascii(name), 60)}; it takes {takes}", UsageError
            )
    values = {name: value for name, value in arguments.items() if value is not None}
    for argument in spec.arguments:
        if argument.name in values:
            values[argument.name] = _checked(argument, values[argument.name])
        elif argument.required:
            raise ToolRefusal(f"{tool} needs the argument {argument.name}: {argument.text}", UsageError)
    return spec, values


def arguments_sha256(arguments: Any) -> Sha256:
    """Return the digest of arguments, which may be any JSON value."""
    try:
        text = json.dumps(arguments, sort_keys=True, ensure_ascii=True)
    except (RecursionError, TypeError, ValueError):
        text = "unreadable"
    return Sha256(hashlib.sha256(text.encode()).hexdigest())


def about(arguments: Mapping[str, Any]) -> str:
    """Return arguments in short, for a person: long texts are given by their length."""
    if not isinstance(arguments, Mapping):
        return "not an object"
    parts = [f"{one_line(str(name), 40)}={_short(value)}" for name, value in list(arguments.items())[:6]]
    return one_line(" ".join(parts), MAX_ABOUT)


def _short(value: Any) -> str:
    if isinstance(value, str):
        return one_line(ascii(value), 120) if len(value) <= 100 else f"<{len(value)} characters>"
    plain = isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < MAX_NUMBER)
    return str(value) if plain else f"<{type(value).__name__}>"


def _schema(argument: ToolArgument) -> dict[str, Any]:
    if argument.kind is str:
        bounds: dict[str, Any] = {"type": "string", "minLength": 1 if argument.name == "path" else 0}
        return {**bounds, "maxLength": int(argument.high), "description": argument.text}
    kind = "integer" if argument.kind is int else "number"
    return {
        "type": kind,
        "minimum": argument.low,
        "maximum": argument.high,
        "description": argument.text,
    }


def _checked(argument: ToolArgument, value: Any) -> Any:
    if argument.kind is str:
        if not isinstance(value, str):
            raise ToolRefusal(f"{argument.name} must be a text, not {type(value).__name__}", UsageError)
        if len(value) > argument.high:
            text = f"{argument.name} has {len(value):,} characters; the most is {argument.high:,}"
            raise ToolRefusal(text, UsageError)
        return value
    number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MAX_NUMBER
    if not number or (argument.kind is int and value != int(value)):
        raise ToolRefusal(
            f"{argument.name} must be {'a whole number' if argument.kind is int else 'a number'}", UsageError
        )
    if not argument.low <= value <= argument.high:
        text = f"{argument.name} must be from {argument.low:g} to {argument.high:g}"
        raise ToolRefusal(text, UsageError)
    return argument.kind(value)
