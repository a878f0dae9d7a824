"""
Signals: what the source rules count in a script's syntax tree.

A signal has a rule and a description with full names: after `import torch.distributed as d`, the call
`d.all_reduce(x)` counts as `torch.distributed.all_reduce`. The line is not part of the description, so moving
a line or renaming a variable adds no signal. The script is never imported or run.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise
from types import MappingProxyType

from kit.audit.dotted import ImportedNames, full_names, imported_names
from kit.audit.patterns import (
    ALLOWED_CONFIGS,
    CLAIM,
    COMPILE_OPTIONS,
    CONFIGS,
    CUDA_GRAPHS,
    DATA_TEXT,
    DATA_VARIABLES,
    DYNAMIC,
    DYNAMIC_ATTRIBUTES,
    DYNAMIC_BUILTINS,
    FALSE_CLAIM,
    KNOWN_VARIABLES,
    MAX_ITEMS,
    MAX_LINE,
    MAX_LINES_OF_TEXT,
    MAX_TEXT,
    NETWORK,
    NVIDIA_SMI,
    NVIDIA_SMI_OPTIONS,
    OFFICIAL,
    OUTPUT,
    PROCESS,
    PROCESS_CALLS,
    SETTINGS,
    SURROUNDINGS,
    TIMER,
    WEIGHTS,
)
from kit.audit.selection import LossNodes, find_loss_nodes, selections_in
from kit.audit.validation import has_official_directory, settings


class SourceRule(StrEnum):
    """The rule that a signal belongs to; also the last part of the check's id."""

    DATA = "data"
    PATCH = "patch"
    CLAIM = "claim"
    LINES = "lines"
    OUTPUT = "output"
    TIMER = "timer"
    NETWORK = "network"
    PROCESS = "process"
    DYNAMIC = "dynamic"
    WEIGHTS = "weights"
    COMPILER = "compiler"
    BLOB = "blob"
    SURROUNDINGS = "surroundings"
    SELECTION = "selection"
    FILES = "files"
    CHARACTERS = "characters"
    ALLOWED = "allowed"


@dataclass(frozen=True, slots=True)
class Signal:
    """One use of something that a source rule counts."""

    rule: SourceRule
    description: str
    """The same use has the same text in both scripts."""
    line: int


def signals(
    nodes: list[ast.AST], meanings: Mapping[int, frozenset[str]] = MappingProxyType({})
) -> Iterator[Signal]:
    """
    Yield every signal of one script. `nodes` lists each node before its children.

    `meanings` maps ids of name and attribute nodes to further full names that they may have.
    """
    names = imported_names(nodes, meanings)
    loss_nodes = find_loss_nodes(nodes)
    prose = _docstrings(nodes)
    is_official = has_official_directory(nodes)
    for node in nodes:
        if id(node) not in prose:
            line = getattr(node, "lineno", 0)
            for rule, description in _signals_of_node(node, names, loss_nodes):
                yield Signal(rule, description, line)
            for description in settings(node, is_official):
                yield Signal(SourceRule.DATA, description, line)


def _docstrings(nodes: list[ast.AST]) -> set[int]:
    """Return the ids of docstrings: statements that are only a constant."""
    return {id(n.value) for n in nodes if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)}


def _signals_of_node(
    node: ast.AST, names: ImportedNames, loss_nodes: LossNodes
) -> Iterator[tuple[SourceRule, str]]:
    match node:
        case ast.Import(names=aliases):
            for a in aliases:
                yield from _module(a.name)
        case ast.ImportFrom(module=str(module), names=aliases):
            for a in aliases:
                yield from _module(module)
                yield from _reach(f"{module}.{a.name}")
                if a.asname == "print" or a.name == "print":
                    yield SourceRule.PATCH, "print"
        case ast.Call():
            for full in full_names(node.func, names):
                yield from _call(node, full, names)
        case ast.Attribute() | ast.Name() if not isinstance(node.ctx, ast.Load):
            for full in full_names(node, names):
                yield from _bound(node, full, names)
        case ast.Attribute() | ast.Name():
            if isinstance(node, ast.Attribute) or node.id in names.full or id(node) in names.meanings:
                for full in full_names(node, names):
                    yield from _reach(full)
        case (
            ast.FunctionDef(name="print")
            | ast.ClassDef(name="print")
            | ast.arg(arg="print")
            | ast.MatchAs(name="print")
            | ast.MatchStar(name="print")
            | ast.ExceptHandler(name="print")
        ):
            yield SourceRule.PATCH, "print"
        case ast.Subscript(value=value):
            for full in full_names(value, names):
                yield from _subscript(full, node)
        case ast.Constant(value=str() | bytes() as value):
            yield from _text(value)
        case ast.Constant(value=int() as value) if value.bit_length() > 8 * MAX_TEXT:
            yield SourceRule.BLOB, f"a number of {value.bit_length() // 8} bytes"
        case ast.JoinedStr(values=values):
            yield from _printed(values)
        case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items) if len(items) > MAX_ITEMS:
            yield SourceRule.BLOB, f"a literal of {len(items)} items"
        case ast.Dict(keys=items) if len(items) > MAX_ITEMS:
            yield SourceRule.BLOB, f"a literal of {len(items)} entries"
    yield from ((SourceRule.SELECTION, description) for description in _selections(node, names, loss_nodes))


def _selections(node: ast.AST, names: ImportedNames, loss_nodes: LossNodes) -> Iterator[str]:
    """Yield what is done to losses, by whatever names functions go."""
    called: set[str] = set()
    handed: set[str] = set()
    if isinstance(node, ast.Call):
        called = {full.rpartition(".")[2] for full in full_names(node.func, names)}
        if "partial" in called and node.args:
            handed = {full.rpartition(".")[2] for full in full_names(node.args[0], names)}
    return selections_in(node, loss_nodes, called, handed)


def _module(name: str) -> Iterator[tuple[SourceRule, str]]:
    root = name.split(".")[0]
    if root in NETWORK:
        yield SourceRule.NETWORK, f"import {root}"
    if root in PROCESS:
        yield SourceRule.PROCESS, f"import {root}"
    if root in DYNAMIC:
        yield SourceRule.DYNAMIC, f"import {root}"


@lru_cache(maxsize=1024)
def _reach(full: str) -> tuple[tuple[SourceRule, str], ...]:
    """Return the signals of using a name."""
    return tuple(_reached(full))


def _reached(full: str) -> Iterator[tuple[SourceRule, str]]:
    if DYNAMIC_ATTRIBUTES.fullmatch(full):
        yield SourceRule.DYNAMIC, full
    if DYNAMIC_BUILTINS.fullmatch(full):
        yield SourceRule.DYNAMIC, f"{full.removeprefix('builtins.')}()"
    if PROCESS_CALLS.fullmatch(full):
        yield SourceRule.PROCESS, full
    if WEIGHTS.fullmatch(full):
        yield SourceRule.WEIGHTS, full
    if OUTPUT.fullmatch(full) and not full.endswith((".flush", "stdout", "stderr")):
        yield SourceRule.OUTPUT, full
    if full.startswith("subprocess.") and full.split(".")[1] not in NVIDIA_SMI:
        yield SourceRule.PROCESS, full
    if SURROUNDINGS.fullmatch(full):
        yield SourceRule.SURROUNDINGS, full


def _call(node: ast.Call, full: str, names: ImportedNames) -> Iterator[tuple[SourceRule, str]]:
    if full in ("setattr", "delattr", "object.__setattr__", "builtins.setattr") and node.args:
        target = full_names(node.args[0], names)[-1]
        if target.split(".")[0] in names.roots and not SETTINGS.fullmatch(f"{target}.x"):
            yield SourceRule.PATCH, f"setattr({target})"
        if CONFIGS.fullmatch(target):
            yield SourceRule.COMPILER, f"setattr({target})"
    if TIMER.fullmatch(full):
        yield SourceRule.TIMER, f"{full}()"
    if full == "torch.compile":
        yield from _options(node, "torch.compile")
    elif full.endswith(".compile") and not full.startswith("re."):
        yield from _options(node, "compile")
    elif CONFIGS.fullmatch(full) and full.split(".")[-1] in ("update", "patch", "set_stance", "load_config"):
        yield SourceRule.COMPILER, f"{full}()"
    if full.startswith("subprocess.") and not _is_nvidia_smi(node):
        yield SourceRule.PROCESS, f"{full}()"
    if full == "open":
        yield SourceRule.SURROUNDINGS, "open()"
    if full == "os.environ.setdefault" and node.args:
        yield from _set_variable(node.args[0])
    if full in ("os.environ.get", "os.getenv") and node.args:
        yield from _variable(node.args[0])
    if full.endswith(".next_batch") and "val" in full:
        yield SourceRule.DATA, "next_batch() of validation data"


def _options(node: ast.Call, name: str) -> Iterator[tuple[SourceRule, str]]:
    """Yield the options of a compiler's call that the rules do not allow."""
    for keyword in node.keywords:
        match keyword:
            case ast.keyword(arg="mode", value=ast.Constant(value=mode)) if mode == CUDA_GRAPHS:
                yield SourceRule.ALLOWED, f"{name}(mode='{CUDA_GRAPHS}')"
            case ast.keyword(arg=option) if option not in COMPILE_OPTIONS:
                yield SourceRule.COMPILER, f"{name}({option or '**'}=)"


def _is_nvidia_smi(node: ast.Call) -> bool:
    match node.args:
        case [ast.List(elts=[ast.Constant(value="nvidia-smi")])]:
            return all(k.arg in NVIDIA_SMI_OPTIONS for k in node.keywords)
    return False


def _bound(
    node: ast.Attribute | ast.Name, full: str, names: ImportedNames
) -> Iterator[tuple[SourceRule, str]]:
    """Yield the signals of assigning to or deleting a name."""
    if isinstance(node, ast.Name):
        if node.id == "print":
            yield SourceRule.PATCH, "print"
        return
    if CONFIGS.fullmatch(full) and full not in ALLOWED_CONFIGS:
        yield SourceRule.COMPILER, f"{full} ="
    root = full.split(".")[0]
    if not SETTINGS.fullmatch(full) and (root in names.roots or root in ("builtins", "__builtins__")):
        yield SourceRule.PATCH, f"{full} ="
    if full.endswith((".__class__", ".__code__", ".__eq__", ".__dict__")):
        yield SourceRule.PATCH, f"{full.split('.')[-1]} ="


def _subscript(full: str, node: ast.Subscript) -> Iterator[tuple[SourceRule, str]]:
    stores = not isinstance(node.ctx, ast.Load)
    if stores and (full in ("sys.modules", "__builtins__") or full.endswith(".__dict__")):
        yield SourceRule.PATCH, f"{full}[] ="
    if full == "os.environ":
        yield from _variable(node.slice)
        if stores:
            yield from _set_variable(node.slice)


def _variable(node: ast.expr) -> Iterator[tuple[SourceRule, str]]:
    name = node.value if isinstance(node, ast.Constant) else None
    if not isinstance(name, str) or name not in KNOWN_VARIABLES:
        yield SourceRule.SURROUNDINGS, f"os.environ[{name if isinstance(name, str) else '?'}]"


def _set_variable(node: ast.expr) -> Iterator[tuple[SourceRule, str]]:
    name = node.value if isinstance(node, ast.Constant) else None
    if name in DATA_VARIABLES:
        yield SourceRule.DATA, f"os.environ[{name}] ="


def _text(value: str | bytes) -> Iterator[tuple[SourceRule, str]]:
    if len(value) > (MAX_LINES_OF_TEXT if _has_short_lines(value) else MAX_TEXT):
        yield (
            SourceRule.BLOB,
            f"a literal of {len(value)} {'bytes' if isinstance(value, bytes) else 'characters'}",
        )
        return
    text = value if isinstance(value, str) else value.decode("latin-1")
    if "\n" not in text.strip() and text not in OFFICIAL and DATA_TEXT.search(text):
        yield SourceRule.DATA, f"the string {text!r}"
    if FALSE_CLAIM.search(text):
        yield SourceRule.CLAIM, f"a literal loss or time in the string {text[:80]!r}"
    elif CLAIM.search(text):
        yield SourceRule.LINES, "a string that names a loss or time"


def _has_short_lines(value: str | bytes) -> bool:
    """Tell whether this may be the source of a kernel."""
    return isinstance(value, str) and max(map(len, value.split("\n"))) <= MAX_LINE


def _printed(values: list[ast.expr]) -> Iterator[tuple[SourceRule, str]]:
    for before, value in pairwise(values):
        text = before.value if isinstance(before, ast.Constant) else ""
        constant = isinstance(value, ast.FormattedValue) and isinstance(value.value, ast.Constant)
        if constant and isinstance(text, str) and re.search(r"(val_loss:|val loss |train_time:)$", text):
            yield SourceRule.CLAIM, "a constant printed as a loss or time"
