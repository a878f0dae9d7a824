"""
A script of one or more files, read as a whole: its signals, and what cannot be read. Judges nothing.

Names are followed from one module of the script into another, so its files cannot be judged one by one.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from kit.audit import allowed
from kit.audit.allowlist import FORBIDDEN
from kit.audit.characters import odd_characters
from kit.audit.known import KnownNames, defined_attributes
from kit.audit.names import Names, split_chain
from kit.audit.patterns import VALIDATION
from kit.audit.reading import reads
from kit.audit.scopes import read_module
from kit.audit.signals import Signal, SourceRule, parse, signals
from kit.audit.variables import Module

RUN_TOML = "run.toml"
DATA_OPTIONS = ("input_bin", "input_val_bin", "train_bin", "train_files", "val_max_steps", "val_tokens")
"""Of the records' scripts; `argparse` takes any beginning of one that is no other's."""
MAX_FILE = 64 << 10
"""Bytes of a file that is not Python; kernels in CUDA or C++ take a few thousand."""
FOREIGN = sys.stdlib_module_names | {
    "_distutils_hack", "filelock", "fsspec", "functorch", "isympy", "jinja2", "markupsafe", "mpmath",
    "networkx", "numpy", "nvidia", "pkg_resources", "setuptools", "sitecustomize", "sympy", "torch",
    "torchgen", "triton", "typing_extensions", "usercustomize",
}  # fmt: skip
"""
Modules that are Python's, the images' or the interpreter's own. A file of that name comes before them: torch
would import it, and hand it functions of its own.
"""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a script."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class ReadScript:
    """The files of a script, as far as they can be read."""

    modules: tuple[tuple[str, Module], ...]
    """Name of the file, and its nodes and names."""
    signals: tuple[tuple[str, Signal], ...]
    """Of files beside them, and of their text; each with the name of its file."""
    faults: tuple[str, ...]
    """What cannot be read, and why."""

    @property
    def names(self) -> tuple[Module, ...]:
        """Return the names of every module."""
        return tuple(module for _, module in self.modules)


def read_script(files: Sequence[SourceFile]) -> ReadScript:
    """Read the files of a script; none of them is run."""
    modules: list[tuple[str, Module]] = []
    found: list[tuple[str, Signal]] = []
    faults: list[str] = []
    for file in files:
        try:
            found += [(file.name, s) for s in _of_file(file)]
            if file.name.endswith(".py"):
                tree = parse(text_of(file.data))
                modules.append((file.name, read_module(*_module_name(file.name), tree)))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as e:
            faults.append(_fault(file.name, e))
    return ReadScript(tuple(modules), tuple(found), tuple(faults))


def signals_of(script: ReadScript, known: KnownNames) -> tuple[list[tuple[str, Signal]], list[str]]:
    """
    Return every signal of a script with the name of its file, and what cannot be read.

    `known` is what its start script lets it use.
    """
    found = list(script.signals)
    faults = list(script.faults)
    names = Names(script.names)
    own = defined_attributes(script.names)
    known = replace(known, attributes=known.attributes | own)
    for name, module in script.modules:
        try:
            found += [(name, s) for s in _of_module(module, names, known)]
        except (ValueError, RecursionError, MemoryError) as e:
            faults.append(_fault(name, e))
    return found, faults


def _fault(name: str, error: Exception) -> str:
    return f"{name}: {type(error).__name__}: {ascii(str(error))[1:121]}"


def _of_module(module: Module, names: Names, known: KnownNames) -> Iterator[Signal]:
    found, copied = reads(module, names)
    for read in found:
        yield Signal(SourceRule.FILES if read.fatal else SourceRule.ALLOWED, read.description, read.line)
    for use in allowed.uses(module, names, known, copied):
        yield Signal(SourceRule.ALLOWED, use.description, use.line)
    yield from signals([node for node, _ in module.visits], _meanings(module, names))


def _meanings(module: Module, names: Names) -> dict[int, frozenset[str]]:
    """Return the full names of what names and dotted names may stand for, by the ids of their nodes."""
    called = {id(n.func) for n, _ in module.visits if isinstance(n, ast.Call)}
    inner = {id(n.value) for n, _ in module.visits if isinstance(n, ast.Attribute)}
    meanings: dict[int, frozenset[str]] = {}
    for node, scope in module.visits:
        if not isinstance(node, ast.Name | ast.Attribute) or id(node) in inner:
            continue
        root, attributes = split_chain(node)
        if not isinstance(root, ast.Name):
            continue
        meaning = names.of_name(root.id, scope)
        if root.id in FORBIDDEN and meaning.builtin:
            if not meaning.variables or id(node) in called:
                meanings[id(node)] = frozenset({f"builtins.{root.id}"})
        elif meaning.paths:
            meanings[id(node)] = names.of_chain(root, attributes, scope).paths
    return meanings


def _module_name(file: str) -> tuple[str, bool]:
    """Return the name by which a file is imported, and whether it stands for its folder."""
    parts = file.removesuffix(".py").split("/")
    is_package = parts[-1] == "__init__"
    return ".".join(parts[:-1] if is_package else parts), is_package


def _of_file(file: SourceFile) -> Iterator[Signal]:
    """Yield what a file says by its name and its text alone."""
    top = file.name.split("/")[0].split(".")[0]
    is_python = file.name.endswith(".py")
    if is_python and top in FOREIGN:
        yield Signal(SourceRule.PATCH, f"{file.name}, which stands in for the module {top}", 0)
    if file.name == RUN_TOML:
        yield from _arguments(file.data)
    elif not is_python:
        if len(file.data) > MAX_FILE or b"\0" in file.data or not _is_text(file.data):
            text = f"{file.name}, {len(file.data)} bytes that are not text or too many"
            yield Signal(SourceRule.BLOB, text, 0)
        yield Signal(SourceRule.ALLOWED, f"{file.name}, a file that no script may read", 0)
    if _is_text(file.data) and (is_python or b"\0" not in file.data):
        text = file.data.decode("utf-8-sig")
        for description, line in odd_characters(text, is_python):
            yield Signal(SourceRule.CHARACTERS, description, line)


def text_of(data: bytes) -> str:
    """Decode a script; one that Python reads in another encoding is another script than what is seen here."""
    encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    if encoding not in ("utf-8", "utf-8-sig"):
        raise ValueError(f"it declares the encoding {encoding!r}")
    return data.decode(encoding)


def _arguments(data: bytes) -> Iterator[Signal]:
    """Read the script's arguments for other data and another validation."""
    args = [str(a) for a in tomllib.loads(data.decode("utf-8")).get("args", ())]
    for name, value in zip(args, (*args[1:], ""), strict=False):
        key = name.lstrip("-").replace("-", "_").lower().split("=")[0]
        shortened = bool(key) and any(option.startswith(key) for option in DATA_OPTIONS)
        about_data = VALIDATION.fullmatch(key) or shortened
        if name.startswith("-") and about_data:
            yield Signal(SourceRule.DATA, f"{name} {value}", 0)


def _is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
