"""
Find the file reads of a script, above all reads of its own files other than by import.

A read is counted by its target: the script itself, a file with a literal name, or any other file. So a start
script's shard loader may be rewritten, but not replaced by one that reads `notes.txt`. The script is not run.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from kit.audit.names import OTHER, Names, split_chain
from kit.audit.own_text import OWN_PATHS, OwnText, is_own_path
from kit.audit.variables import Module, Scope, ScopeKind
from kit.audit.writing import FileNames

READING_ATTRIBUTES = frozenset(
    {
        "__cached__",
        "__file__",
        "__loader__",
        "__path__",
        "__spec__",
        "from_file",
        "fromfile",
        "get_data",
        "getlines",
        "getsource",
        "getsourcelines",
        "load_state_dict_from_url",
        "memmap",
        "open",
        "open_binary",
        "open_code",
        "open_memmap",
        "open_text",
        "read_bytes",
        "read_text",
    }
)
"""Attributes and names that read files, on any object."""
READERS = re.compile(
    r"numpy\.(fromfile|memmap|genfromtxt|loadtxt|fromregex|DataSource|lib\.format\..*)|torch\.from_file"
    r"|(io|codecs|tokenize|gzip|bz2|lzma|dbm|shelve|webbrowser|_io|_pyio)\.\w*(open|FileIO|OpenWrapper)\w*"
    r"|os\.(open|read|pread|preadv|readv|readlink|sendfile|copy_file_range|splice|fdopen)"
    r"|(mmap|linecache|fileinput|runpy|inspect|zipfile|tarfile|shutil|configparser|tomllib|csv|sqlite3|wave|pkgutil"
    r"|importlib|zipimport|traceback|tracemalloc|trace|pydoc|ast|dis|symtable|tokenize|mimetypes|netrc|xml"
    r"|plistlib|logging)\..*"
)
WRITING = re.compile(r"[wax][bt]?")
MAX_LOOKED_AT = 40
"""Parts of a call that are searched for a file name."""
MAX_MODE = 3
"""Characters of the longest mode of `open`; a longer string may be a file name."""
OPTION = "fromfile_prefix_chars"
"""The option that makes `argparse` read files."""
LOOKING = re.compile(r"glob\.(glob|iglob)|os\.(listdir|scandir|walk|fwalk)")
LOOKING_ATTRIBUTES = frozenset({"glob", "rglob", "iterdir", "iglob"})


@dataclass(frozen=True, slots=True)
class Read:
    """One read or listing of files in a script."""

    description: str
    line: int
    fatal: bool
    """Whether a file's content is read."""


def reads(module: Module, names: Names) -> tuple[list[Read], frozenset[int]]:
    """Return the reads of a module, and the ids of nodes that only copy its source into its log."""
    reader = _FileUse(module, names)
    return list(reader.reads()), frozenset(reader.own_text.copied)


class _FileUse:
    def __init__(self, module: Module, names: Names) -> None:
        """Prepare to search `module`; search nothing yet."""
        self.module, self.names = module, names
        self.calls: dict[int, ast.Call] = {}
        """Calls, by the id of the called expression."""
        self.inner: set[int] = set()
        """Ids of the first parts of dotted names."""
        self.own_text = OwnText(module, names)
        self.readers: set[int] = set()
        """Ids of variables that hold functions which read files."""
        self.file_names = FileNames(node for node, _ in module.visits)

    def reads(self) -> Iterator[Read]:
        """Yield every read."""
        for node, _ in self.module.visits:
            self._note(node)
        found = [(node, scope, self._kind(node, scope)) for node, scope in self.module.visits]
        for _, scope, kind in found:
            if kind == "reads":
                self._note_reader(scope)
        for node, scope, kind in found:
            if id(node) in self.own_text.copied:
                continue
            line = getattr(node, "lineno", 0)
            if kind == "looks":
                yield Read("lists files", line, False)
            elif kind and isinstance(node, ast.expr):
                yield Read(self._what(node, kind), line, kind == "reads")
            yield from self._node(node, scope)

    def _note(self, node: ast.AST) -> None:
        """Record the nodes whose context matters later."""
        match node:
            case ast.Call(func=func):
                self.calls[id(func)] = node
            case ast.Attribute(value=value):
                self.inner.add(id(value))

    def _node(self, node: ast.AST, scope: Scope) -> Iterator[Read]:
        line = getattr(node, "lineno", 0)
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                variables = self.names.of_name(name, scope).variables
                if self.own_text.is_used(node, variables):
                    yield Read("uses the script's source text", line, False)
                if any(id(v) in self.readers for v in variables) and not _in_generator(scope):
                    yield Read("uses a function of the script that reads files", line, False)
            case ast.ImportFrom(module=str(module), names=aliases):
                if any(READERS.fullmatch(f"{module}.{a.name}") for a in aliases):
                    yield Read(f"from {module} import", line, True)
            case ast.Import(names=aliases):
                for a in aliases:
                    if READERS.fullmatch(f"{a.name}.x"):
                        yield Read(f"import {a.name}", line, True)
            case ast.keyword(arg=name) if name == OPTION:
                yield Read(f"{OPTION}=", node.value.lineno, True)
            case ast.Constant(value=str(name)) | ast.Attribute(attr=name) if name == OPTION:
                yield Read(OPTION, line, True)

    def _kind(self, node: ast.AST, scope: Scope) -> str:
        """Return `reads`, `writes` or `looks` for a name that does so with files, else an empty string."""
        if not isinstance(node, ast.Name | ast.Attribute) or not isinstance(node.ctx, ast.Load):
            return ""
        if id(node) in self.inner:
            return ""
        root, attributes = split_chain(node)
        meaning = OTHER
        if isinstance(root, ast.Name):
            meaning = self.names.of_name(root.id, scope)
            outside = meaning.builtin and not (meaning.variables and attributes)
            if outside and root.id in OWN_PATHS:
                return "reads"
            if outside and root.id == "open":
                return self._mode(node) if not attributes else "reads"
            meaning = self.names.of_chain(root, attributes, scope)
        last = attributes[-1] if attributes else ""
        if any(READERS.fullmatch(path) for path in meaning.paths):
            return "reads"
        if any(LOOKING.fullmatch(path) for path in meaning.paths):
            return "looks"
        if not READING_ATTRIBUTES.isdisjoint(attributes[:-1]):
            return "reads"
        if last in LOOKING_ATTRIBUTES:
            return "looks"
        if last in READING_ATTRIBUTES:
            return self._mode(node) if last == "open" else "reads"
        return ""

    def _mode(self, node: ast.expr) -> str:
        """Return `writes` if a call of `open` has a literal mode that cannot read, else `reads`."""
        call = self.calls.get(id(node))
        if call is None:
            return "reads"
        position = 0 if isinstance(node, ast.Attribute) else 1
        modes = [k.value for k in call.keywords if k.arg == "mode"] + call.args[position : position + 1]
        plain = not any(isinstance(a, ast.Starred) for a in call.args) and all(k.arg for k in call.keywords)
        match modes:
            case [ast.Constant(value=str(mode))] if plain and WRITING.fullmatch(mode):
                return "writes"
        return "reads"

    def _what(self, node: ast.expr, kind: str) -> str:
        """Describe the file that a name reads or writes, by its literal name if there is one."""
        call = self.calls.get(id(node))
        if kind == "writes":
            written = node.value if isinstance(node, ast.Attribute) else _file_of(call)
            known = self.file_names.is_harmless(written)
            return "opens a file for writing" if known else "opens a file for writing, under a computed name"
        about = [*call.args, *(k.value for k in call.keywords)] if call else []
        parts = list(islice((p for a in [node, *about] for p in ast.walk(a)), MAX_LOOKED_AT))
        if any(is_own_path(p) for p in parts):
            return "reads the script's source"
        texts = [p.value for p in parts if isinstance(p, ast.Constant) and isinstance(p.value, str | bytes)]
        named = [t for t in texts if len(t) > MAX_MODE]
        return f"reads {named[0]!r}"[:80] if named else "reads a file"

    def _note_reader(self, scope: Scope) -> None:
        """Record the variable of the function that contains a read."""
        at: Scope | None = scope
        while at is not None and at.kind is not ScopeKind.FUNCTION:
            at = at.parent
        if at is not None and at.parent is not None and at.parent.kind is not ScopeKind.CLASS:
            variable = at.parent.variables.get(at.name)
            if variable is not None:
                self.readers.add(id(variable))


def _file_of(call: ast.Call | None) -> ast.expr | None:
    if call is None:
        return None
    named = [k.value for k in call.keywords if k.arg == "file"]
    return next(iter([*call.args, *named]), None)


def _in_generator(scope: Scope) -> bool:
    """Return whether the scope is inside a generator, as in a shard loader."""
    at: Scope | None = scope
    while at is not None and at.kind is not ScopeKind.FUNCTION:
        at = at.parent
    return at is not None and at.is_generator
