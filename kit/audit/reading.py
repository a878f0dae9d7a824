"""
Find the file reads of a script, above all reads of its own files other than by import.

A read is counted by its target: the script itself, a file with a literal name, or any other file. So a start
script's shard loader may be rewritten, but not replaced by one that reads `notes.txt`. The script is not run.
"""

from __future__ import annotations

import ast
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from kit.audit.names import OTHER, Names, split_chain
from kit.audit.variables import BindingKind, Module, Scope, ScopeKind, lookup
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
OWN_PATHS = frozenset({"__file__", "__loader__", "__spec__", "__cached__", "__path__", "__doc__"})
WRITING = re.compile(r"[wax][bt]?")
LOGGING_METHODS = frozenset({"save", "write"})
ROUNDS = 3
"""Nested function calls through which the script's source text is followed."""
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
    return list(reader.reads()), frozenset(reader.copied)


class _FileUse:
    def __init__(self, module: Module, names: Names) -> None:
        """Prepare to search `module`; search nothing yet."""
        self.module, self.names = module, names
        self.calls: dict[int, ast.Call] = {}
        """Calls, by the id of the called expression."""
        self.inner: set[int] = set()
        """Ids of the first parts of dotted names."""
        self.copied: set[int] = set()
        self.open: dict[str, list[tuple[int, int]]] = {}
        """Per name, the line ranges in which it is an open source file of the script, in order."""
        self.logged: set[int] = set()
        """Ids of values written to a log or a checkpoint."""
        self.named_calls: list[ast.Call] = []
        self.readers: set[int] = set()
        """Ids of variables that hold functions which read files."""
        self.file_names = FileNames(node for node, _ in module.visits)

    def reads(self) -> Iterator[Read]:
        """Yield every read."""
        for node, scope in self.module.visits:
            self._note(node)
            self._taint(node, scope)
        self._pass_on()
        found = [(node, scope, self._kind(node, scope)) for node, scope in self.module.visits]
        for _, scope, kind in found:
            if kind == "reads":
                self._note_reader(scope)
        for node, scope, kind in found:
            if id(node) in self.copied:
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
            case ast.Call(func=func, args=args, keywords=keywords):
                self.calls[id(func)] = node
                if isinstance(func, ast.Attribute) and func.attr in LOGGING_METHODS:
                    self.logged.update(map(id, args))
                if isinstance(func, ast.Name):
                    self.named_calls.append(node)
                    if func.id == "dict":
                        self.logged.update(id(k.value) for k in keywords)
            case ast.Dict(values=values):
                self.logged.update(map(id, values))
            case ast.Attribute(value=value):
                self.inner.add(id(value))

    def _pass_on(self) -> None:
        """Follow the script's source text into its functions and into `print`."""
        scopes = {id(node): scope for node, scope in self.module.visits if isinstance(node, ast.Call)}
        for _ in range(ROUNDS):
            for call in self.named_calls:
                scope = scopes[id(call)]
                given: list[tuple[int | str, ast.expr]] = [*enumerate(call.args)]
                given += [(k.arg, k.value) for k in call.keywords if k.arg]
                own = [(at, value) for at, value in given if self._is_tainted(value, scope)]
                if own and isinstance(call.func, ast.Name):
                    self._pass_to(call.func.id, own, scope)

    def _pass_to(self, name: str, own: list[tuple[int | str, ast.expr]], scope: Scope) -> None:
        variables, outside = lookup(name, scope)
        if name == "print" and outside and not variables:
            self.logged.update(id(value) for _, value in own)
        if any(v.kinds != {BindingKind.FUNCTION} or v.aliases for v in variables):
            return
        for arguments, inner in (f for v in variables for f in v.functions):
            names = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
            for at, value in own:
                parameter = names[at] if isinstance(at, int) and at < len(names) else at
                if parameter in names and isinstance(parameter, str):
                    inner.variables[parameter].tainted = True
                    self.logged.add(id(value))

    def _node(self, node: ast.AST, scope: Scope) -> Iterator[Read]:
        line = getattr(node, "lineno", 0)
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                variables = self.names.of_name(name, scope).variables
                own = self._is_open(node) or any(v.tainted for v in variables)
                if own and id(node) not in self.logged:
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
        if any(_is_own_path(p) for p in parts):
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

    def _taint(self, node: ast.AST, scope: Scope) -> None:
        """Mark the names that receive the script's source text."""
        match node:
            case ast.With(items=items, body=body):
                for item in items:
                    if isinstance(item.optional_vars, ast.Name) and self._holds(item.context_expr, scope):
                        self._copy(item, body, scope)
                        self._opened(item.optional_vars.id, node.lineno, node.end_lineno or node.lineno)
            case (
                ast.Assign(targets=[ast.Name() as target], value=value)
                | ast.AugAssign(target=ast.Name() as target, value=value)
                | ast.NamedExpr(target=ast.Name() as target, value=value)
            ):
                if self._holds(value, scope):
                    self._mark(target, scope)

    def _holds(self, node: ast.expr, scope: Scope) -> bool:
        """Return whether an expression contains the script's path or source text."""
        return any(self._is_open(p) or _is_own_path(p) or self._is_tainted(p, scope) for p in ast.walk(node))

    def _is_tainted(self, node: ast.AST, scope: Scope) -> bool:
        if not isinstance(node, ast.Name):
            return False
        return any(v.tainted for v in lookup(node.id, scope)[0])

    def _opened(self, name: str, first: int, last: int) -> None:
        lines = self.open.setdefault(name, [])
        if lines and first <= lines[-1][1]:
            first, last = lines[-1][0], max(last, lines.pop()[1])
        lines.append((first, last))

    def _is_open(self, node: ast.AST) -> bool:
        if not isinstance(node, ast.Name) or node.id not in self.open:
            return False
        lines = self.open[node.id]
        at = bisect_right(lines, node.lineno, key=lambda pair: pair[0]) - 1
        return at >= 0 and node.lineno <= lines[at][1]

    def _mark(self, target: ast.Name, scope: Scope) -> None:
        for variable in lookup(target.id, scope)[0]:
            variable.tainted = True

    def _copy(self, item: ast.withitem, body: list[ast.stmt], scope: Scope) -> None:
        """
        Exempt a script that appends a module's text to its source text for its log.

        Upstream's scripts of several files begin this way. Every other use of the text is counted.
        """
        names = [p.value for p in ast.walk(item.context_expr) if isinstance(p, ast.Constant)]
        own = [
            n for n in names if isinstance(n, str) and n.removesuffix(".py") in self.names.own and ".py" in n
        ]
        opened = item.optional_vars.id if isinstance(item.optional_vars, ast.Name) else ""
        for statement in body:
            match statement:
                case ast.AugAssign(target=ast.Name(id=name), op=ast.Add(), value=value):
                    had = any(v.tainted for v in lookup(name, scope)[0])
                    if not own or not had or not all(_only_copies(p, opened) for p in ast.walk(value)):
                        return
                case _:
                    return
        self.copied.update(id(p) for s in (item, *body) for p in ast.walk(s))


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


def _only_copies(node: ast.AST, opened: str) -> bool:
    match node:
        case ast.Name(id=name):
            return name == opened
        case ast.Attribute(attr=name):
            return name == "read"
        case ast.Call(args=[], keywords=[]):
            return True
    return isinstance(
        node,
        ast.Constant | ast.JoinedStr | ast.FormattedValue | ast.BinOp | ast.operator | ast.expr_context,
    )


def _is_own_path(node: ast.AST) -> bool:
    match node:
        case ast.Name(id=name):
            return name in OWN_PATHS
        case ast.Attribute(attr=name):
            return name == "argv" or name in OWN_PATHS
    return False
