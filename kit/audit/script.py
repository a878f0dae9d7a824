"""
Read all files of a script and collect its signals and the errors of files that cannot be read.

Names are followed across the script's modules, so the files cannot be judged one by one.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from kit.audit import allowed
from kit.audit.allowlist import FORBIDDEN
from kit.audit.characters import odd_characters
from kit.audit.known import KnownNames, defined_attributes
from kit.audit.names import Names, split_chain
from kit.audit.parsing import ParsedFile, SourceFile
from kit.audit.patterns import VALIDATION
from kit.audit.reading import reads
from kit.audit.scopes import read_module
from kit.audit.signals import Signal, SourceRule, signals
from kit.audit.variables import Module
from kit.values.era_modules import ERA_MODULES

RUN_TOML = "run.toml"
DATA_OPTIONS = ("input_bin", "input_val_bin", "train_bin", "train_files", "val_max_steps", "val_tokens")
"""Options of the records' scripts. `argparse` accepts any unambiguous prefix of them."""
MAX_FILE = 64 << 10
"""Bytes of a file that is not Python; CUDA or C++ kernels take a few thousand."""
OF_SOME_ERAS = frozenset[str]().union(*ERA_MODULES.values())
"""Modules that only some images have."""
NOT_INSTALLED = frozenset({"xformers"})
"""A wheel of which an image takes single files, and no module."""
FOREIGN = sys.stdlib_module_names | OF_SOME_ERAS | NOT_INSTALLED | {
    "_distutils_hack", "filelock", "fsspec", "functorch", "isympy", "jinja2", "markupsafe", "mpmath",
    "networkx", "numpy", "nvidia", "pkg_resources", "setuptools", "sitecustomize", "sympy", "torch",
    "torchgen", "triton", "typing_extensions", "usercustomize",
}  # fmt: skip
"""
Modules of Python and of the images. A file of the script must not shadow them: torch would import the file
instead.
"""


@dataclass(frozen=True, slots=True)
class ReadScript:
    """The parsed files of a script, and the errors."""

    modules: tuple[tuple[str, Module], ...]
    """File name and parsed module."""
    signals: tuple[tuple[str, Signal], ...]
    """Signals of file names and raw text, each with its file name."""
    faults: tuple[str, ...]
    """Files that cannot be read, with the reason."""

    @property
    def names(self) -> tuple[Module, ...]:
        """Return the parsed modules."""
        return tuple(module for _, module in self.modules)


def read_script(files: Sequence[ParsedFile]) -> ReadScript:
    """Bind the names in the parsed files of a script."""
    modules: list[tuple[str, Module]] = []
    found: list[tuple[str, Signal]] = []
    faults: list[str] = []
    for parsed in files:
        file = parsed.file
        try:
            found += [(file.name, s) for s in _of_file(file)]
            if parsed.error is not None:
                faults.append(_fault(file.name, parsed.error))
            if parsed.tree is not None:
                modules.append((file.name, read_module(*_module_name(file.name), parsed.tree)))
        except (ValueError, RecursionError, MemoryError) as e:
            faults.append(_fault(file.name, e))
    return ReadScript(tuple(modules), tuple(found), tuple(faults))


def signals_of(script: ReadScript, known: KnownNames) -> tuple[list[tuple[str, Signal]], list[str]]:
    """
    Return every signal of a script with its file name, and the errors.

    `known` holds the names that the start script already uses.
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
    """Return the full names that name and attribute nodes may have, by node id."""
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
    """Return a file's import name, and whether it is a package."""
    parts = file.removesuffix(".py").split("/")
    is_package = parts[-1] == "__init__"
    return ".".join(parts[:-1] if is_package else parts), is_package


def _of_file(file: SourceFile) -> Iterator[Signal]:
    """Yield the signals of a file's name and raw text."""
    top = file.name.split("/")[0].split(".")[0]
    is_python = file.name.endswith(".py")
    if is_python and top in FOREIGN:
        yield Signal(SourceRule.PATCH, f"{file.name} shadows the module {top}", 0)
    if file.name == RUN_TOML:
        yield from _arguments(file.data)
    elif not is_python:
        if len(file.data) > MAX_FILE or b"\0" in file.data or not _is_text(file.data):
            text = f"{file.name} is binary or too large ({len(file.data)} bytes)"
            yield Signal(SourceRule.BLOB, text, 0)
        yield Signal(SourceRule.ALLOWED, f"{file.name} is neither Python nor run.toml", 0)
    if _is_text(file.data) and (is_python or b"\0" not in file.data):
        text = file.data.decode("utf-8-sig")
        for description, line in odd_characters(text, is_python):
            yield Signal(SourceRule.CHARACTERS, description, line)


def _arguments(data: bytes) -> Iterator[Signal]:
    """Yield arguments that select other data or another validation."""
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
