"""
Normalise a script: what stays is code that can have an effect.

Comments, docstrings, annotations, statements that are only a constant, branches under a constant false test,
statements after a return, and definitions that nothing refers to are removed. Untrusted input: size, nodes
and depth are bounded.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kit.audit.parsing import parse, text_of
from kit.core.digest import Sha256, sha256_bytes
from kit.core.errors import SchemaError
from kit.core.text import one_line

MAX_SOURCE = 1 << 20
"""Bytes of all Python files together; the largest upstream script has 0.2 MiB."""
MAX_NODES = 100_000
"""Nodes of all syntax trees together."""
MAX_DEPTH = 100
"""Levels of a syntax tree."""
MAX_TEXT = 40
"""Characters of a string constant that a model is shown; longer ones, and prose, are replaced."""
MAX_ROUNDS = 20
"""Rounds in which unused definitions are removed; a definition can be used by another unused one."""

_OWNERS = (ast.Module, ast.FunctionDef, ast.If, ast.With, ast.For)
_SHORTER = "a script of a record has fewer than 20,000 nodes in 40 levels"


@dataclass(frozen=True, slots=True)
class NormalFile:
    """One Python file of a script, normalised."""

    name: str
    tree: ast.Module


@dataclass(frozen=True, slots=True)
class NormalSource:
    """A normalised script: its Python files sorted by name, and the arguments of its command line."""

    files: tuple[NormalFile, ...]
    args: tuple[str, ...] = ()

    def text(self) -> str:
        """Return the files as one text, each after a line with its name, then the arguments."""
        parts = [f"# {file.name}\n{ast.unparse(file.tree)}\n" for file in self.files]
        if self.args:
            parts.append("# arguments\n" + "\n".join(self.args) + "\n")
        return "\n".join(parts)

    def sha256(self) -> Sha256:
        """Return the sha256 of `text`."""
        return sha256_bytes(self.text().encode("utf-8", "backslashreplace"))


def normalise(files: Mapping[str, bytes], args: Sequence[str] = ()) -> NormalSource:
    """
    Return the normalised script of a submission's files; files that are not Python are left out.

    Raises `SchemaError` that names the file for a syntax error, and for a script beyond the bounds.
    """
    size = sum(len(data) for name, data in files.items() if name.endswith(".py"))
    if size > MAX_SOURCE:
        raise SchemaError(f"the script has {size:,} bytes, more than {MAX_SOURCE:,}", "submit code, not data")
    trees: dict[str, ast.Module] = {}
    nodes = 0
    for name, data in sorted(files.items()):
        if name.endswith(".py"):
            trees[name] = _parsed(name, data)
            nodes += _measure(name, trees[name], nodes)
    for name, tree in trees.items():
        trees[name] = ast.fix_missing_locations(_Normaliser().visit(tree))
    _remove_unused(list(trees.values()))
    for name, tree in trees.items():
        _require_text(name, tree)
    return NormalSource(tuple(NormalFile(name, tree) for name, tree in trees.items()), tuple(args))


def _parsed(name: str, data: bytes) -> ast.Module:
    try:
        return parse(text_of(data))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as e:
        why = one_line(str(e), 120) if isinstance(e, SyntaxError | ValueError) else "nested too deeply"
        raise SchemaError(f"{name}: cannot parse the script: {why}", "check it: python -m py_compile") from e


def _measure(name: str, tree: ast.Module, before: int) -> int:
    """Return the number of nodes. Raises `SchemaError` beyond `MAX_NODES` and `MAX_DEPTH`."""
    count, waiting = 0, [(tree, 0)]
    while waiting:
        node, depth = waiting.pop()
        count += 1
        if depth > MAX_DEPTH:
            raise SchemaError(f"{name}: nested more than {MAX_DEPTH} levels deep", _SHORTER)
        if before + count > MAX_NODES:
            raise SchemaError(f"{name}: the script has more than {MAX_NODES:,} nodes", _SHORTER)
        waiting += [(child, depth + 1) for child in ast.iter_child_nodes(node)]  # type: ignore[misc]
    return count


def _require_text(name: str, tree: ast.Module) -> None:
    """Raise `SchemaError` for a tree that cannot be written as text, such as some nested f-strings."""
    try:
        ast.unparse(tree)
    except (ValueError, RecursionError) as e:
        raise SchemaError(f"{name}: cannot write the script: {one_line(str(e), 120)}", _SHORTER) from e


class _Normaliser(ast.NodeTransformer):
    """Removes what has no effect, one statement list at a time."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list):
                kept = list(_effective(block))
                if name == "body" and not kept and not isinstance(node, ast.Module):
                    kept = [ast.Pass()]
                setattr(node, name, kept)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
        self.generic_visit(node)
        if node.value is None:
            return None
        return ast.Assign(targets=[node.target], value=node.value, lineno=node.lineno)

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)


def _effective(block: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in block:
        match statement:
            case ast.Expr(value=ast.Constant()) | ast.Pass():
                continue
            case ast.If(test=ast.Constant(value=value), body=body, orelse=orelse):
                yield from body if value else orelse
                continue
            case ast.While(test=ast.Constant(value=value)) if not value:
                continue
        yield statement
        if isinstance(statement, ast.Return | ast.Raise | ast.Break | ast.Continue):
            return


def _remove_unused(trees: Sequence[ast.Module]) -> None:
    """Remove undecorated definitions whose names occur nowhere else, in at most `MAX_ROUNDS` rounds."""
    for _ in range(MAX_ROUNDS):
        uses = Counter(name for tree in trees for name in _names(tree))
        removed = 0
        for owner in [node for tree in trees for node in ast.walk(tree) if isinstance(node, _OWNERS)]:
            kept = [s for s in owner.body if not _is_unused(s, uses)]
            removed += len(owner.body) - len(kept)
            owner.body = kept if kept or isinstance(owner, ast.Module) else [ast.Pass()]
        if not removed:
            return


def _is_unused(statement: ast.stmt, uses: Counter[str]) -> bool:
    if not isinstance(statement, ast.FunctionDef | ast.ClassDef) or statement.decorator_list:
        return False
    own = sum(name == statement.name for name in _names(statement))
    return uses[statement.name] == own


def _names(tree: ast.AST) -> Iterator[str]:
    """Yield every name that is read in a tree, attributes and imports from other files included."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                yield name
            case ast.Attribute(attr=name):
                yield name
            case ast.ImportFrom(names=aliases):
                yield from (alias.name for alias in aliases)
            case ast.Constant(value=str(name)) if name.isidentifier():
                yield name


class _TextReplacer(ast.NodeTransformer):
    """Replaces long strings and prose, which could speak to a model."""

    def __init__(self) -> None:
        self.replaced = 0

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        value = node.value
        if isinstance(value, str) and (len(value) > MAX_TEXT or value.count(" ") > 1):
            self.replaced += 1
            return ast.Constant(f"text {self.replaced}")
        return ast.Constant(b"bytes") if isinstance(value, bytes) and len(value) > MAX_TEXT else node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.Constant:
        self.replaced += 1
        return ast.Constant(f"text {self.replaced}")


def shown_text(source: NormalSource) -> str:
    """Return a source as a model is shown it: without f-strings, long strings and strings of many words."""
    copies = [
        NormalFile(file.name, _TextReplacer().visit(ast.parse(ast.unparse(file.tree))))
        for file in source.files
    ]
    return NormalSource(tuple(copies), source.args).text()
