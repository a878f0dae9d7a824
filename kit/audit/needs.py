"""
Find what a script surely needs when it starts: CUDA, or modules that no image has.

Only code that runs whenever the script is started counts (`kit.audit.executed`): a script that asks
`torch.cuda.is_available()` first needs no CUDA. The script is parsed, never run.
"""

from __future__ import annotations

import ast
import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from kit.audit.dotted import ImportedNames, full_names, imported_names
from kit.audit.executed import executed_nodes
from kit.audit.parsing import ParsedFile
from kit.audit.script import FOREIGN, NOT_INSTALLED, OF_SOME_ERAS

CUDA_CALLS = frozenset({
    "CUDAGraph", "Event", "Stream", "current_device", "current_stream", "default_stream",
    "get_device_capability", "get_device_name", "get_device_properties", "graph", "init", "mem_get_info",
    "set_device", "set_stream", "synchronize",
})  # fmt: skip
"""Functions of `torch.cuda` that raise an error without a GPU."""
CUDA_MODULES = frozenset({"nvidia", "triton"})
"""Modules that only the images with CUDA have."""
TENSOR_MAKERS = frozenset({"new_empty", "new_full", "new_ones", "new_tensor", "new_zeros", "to"})
"""Methods of tensors and modules that take a device."""
SWITCHED_OFF = frozenset({"GradScaler", "autocast"})
"""They only warn without a GPU."""

SHOWN = 60
"""Characters of a call that a description shows."""


@dataclass(frozen=True, slots=True)
class Need:
    """One place in a script that fails without CUDA, or without a module."""

    file: str
    line: int
    what: str
    """The code, for example `torch.cuda.set_device()`."""


@dataclass(frozen=True, slots=True)
class StartCode:
    """The files of a script, and what of them runs whenever the script is started."""

    modules: Mapping[str, ast.Module]
    """Trees of the Python files, by name; those that cannot be parsed are left out."""
    own: frozenset[str]
    """Names of the modules and packages that the files are."""
    executed: tuple[tuple[str, ast.AST], ...]
    """Nodes with the names of their files."""


def start_code(files: Sequence[ParsedFile], entry: str) -> StartCode:
    """Find what runs whenever the file `entry` is started."""
    modules = {parsed.file.name: parsed.tree for parsed in files if parsed.tree is not None}
    executed: list[tuple[str, ast.AST]] = []
    with contextlib.suppress(RecursionError):  # an expression of thousands of parts is no reason to refuse
        executed = executed_nodes(modules, entry)
    own = frozenset(p.file.name.split("/")[0].removesuffix(".py") for p in files)
    return StartCode(modules, own, tuple(executed))


def cuda_needs(code: StartCode) -> tuple[Need, ...]:
    """
    Return the places at which a script stops on a machine without CUDA, sorted by file and line.

    What runs only under a condition is not found.
    """
    replaced = _replaced_names(code.modules)
    names = {
        name: imported_names(list(ast.walk(tree)), MappingProxyType({}))
        for name, tree in code.modules.items()
    }
    devices = {name: _cuda_names(tree) for name, tree in code.modules.items()}
    found: set[tuple[str, int, str]] = set()
    with contextlib.suppress(RecursionError):
        for name, node in code.executed:
            for what in _cuda_in(node, names[name], devices[name], replaced):
                found.add((name, getattr(node, "lineno", 0), what))
    return tuple(Need(*place) for place in sorted(found))


def missing_modules(code: StartCode, cuda: bool, more: frozenset[str] = frozenset()) -> tuple[Need, ...]:
    """
    Return the imports that fail because neither Python, the image nor the script have the module.

    `cuda` says whether the image is one with CUDA, and `more` what it has beyond other images: see
    `kit.values.era_modules.modules_of`.
    """
    known = (FOREIGN - OF_SOME_ERAS - NOT_INSTALLED) | more | code.own | {"__future__"}
    if not cuda:
        known -= CUDA_MODULES - code.own
    found: set[tuple[str, int, str]] = set()
    for name, node in code.executed:
        match node:
            case ast.Import(names=aliases):
                roots = [a.name.split(".")[0] for a in aliases]
            case ast.ImportFrom(module=str(module), level=0):
                roots = [module.split(".")[0]]
            case _:
                continue
        found.update((name, node.lineno, f"import {root}") for root in roots if root not in known)
    return tuple(Need(*place) for place in sorted(found))


def _replaced_names(modules: Mapping[str, ast.Module]) -> frozenset[str]:
    """Return the names of methods and functions that the script itself defines or replaces."""
    replaced: set[str] = set()
    for node in (n for tree in modules.values() for n in ast.walk(tree)):
        match node:
            case ast.Attribute(attr=name, ctx=ast.Store()) | ast.FunctionDef(name=name):
                replaced.add(name)
            case ast.Call(func=ast.Name(id="setattr"), args=[_, ast.Constant(value=str(name)), *_]):
                replaced.add(name)
    return frozenset(replaced)


def _cuda_names(tree: ast.Module) -> frozenset[str]:
    """Return the names that a module binds once, to a CUDA device: `device = "cuda"`."""
    bound: Counter[str] = Counter()
    values: dict[str, ast.expr] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                bound[name] += 1
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                values[name] = value
    return frozenset(n for n, value in values.items() if bound[n] == 1 and _is_cuda(value, frozenset()))


def _is_cuda(node: ast.expr | None, names: frozenset[str]) -> bool:
    """Tell whether an expression is certainly a CUDA device."""
    match node:
        case ast.Constant(value=str(text)):
            return text.split(":")[0] == "cuda"
        case ast.JoinedStr(values=[ast.Constant(value=str(text)), *_]):
            return text.startswith("cuda:")
        case ast.Name(id=name):
            return name in names
        case ast.Call(func=ast.Attribute(attr="device") | ast.Name(id="device"), args=[first, *_]):
            return _is_cuda(first, names)
    return False


def _end_of(node: ast.expr) -> str:
    """Return the source of an expression without its first part, if `SHOWN` characters follow that."""
    end = ""
    while len(end) < SHOWN:
        match node:
            case ast.Attribute(value=ast.Attribute() | ast.Call() | ast.Name() as inner, attr=name):
                end = f".{name}{end}"
            case ast.Call(func=ast.Attribute() | ast.Call() | ast.Name() as inner):
                end = ast.unparse(ast.Call(ast.Name(""), node.args, node.keywords)) + end
            case _:
                return ast.unparse(node) + end
        node = inner
    return end


def _cuda_in(
    node: ast.AST, names: ImportedNames, devices: frozenset[str], replaced: frozenset[str]
) -> Iterator[str]:
    """Yield what a node does that fails without CUDA."""
    if isinstance(node, ast.Assert) and isinstance(node.test, ast.Call):
        if "torch.cuda.is_available" in full_names(node.test.func, names):
            yield "assert torch.cuda.is_available()"
        return
    if not isinstance(node, ast.Call):
        return
    full = full_names(node.func, names)[0]
    last = full.rpartition(".")[2]
    if last in replaced:
        return
    keywords = {k.arg: k.value for k in node.keywords}
    first = node.args[0] if node.args else None
    if full.startswith("torch.cuda.") and last in CUDA_CALLS and full.count(".") == 2:
        yield f"{full}()"
    elif isinstance(node.func, ast.Attribute) and last == "cuda":
        yield f"{_end_of(node.func)[-SHOWN:]}()"
    elif last == "init_process_group":
        backend = keywords.get("backend", first)
        if isinstance(backend, ast.Constant) and backend.value == "nccl":
            yield 'init_process_group("nccl")'
    elif full == "torch.set_default_device" and _is_cuda(keywords.get("device", first), devices):
        yield "torch.set_default_device() with CUDA"
    elif last == "to" and _is_cuda(first, devices):
        yield f".to({ast.unparse(first)[:40]})" if first is not None else ".to()"
    elif full.startswith("torch.") or last in TENSOR_MAKERS:
        device = keywords.get("device")
        if device is not None and last not in SWITCHED_OFF and _is_cuda(device, devices):
            yield f"{last}(device={ast.unparse(device)[:40]})"
