"""
What is known of the names of files that a script writes: one that can be imported is code. Runs nothing.

The folder of a script is on Python's path, and the guest can write there. So what is written has to have a
name that surely ends as those of logs and checkpoints do.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable

from kit.audit.names import split_chain

HARMLESS = re.compile(r".*\.(txt|log|csv|tsv|json|jsonl|md|pt|ckpt|bin|npy|npz|png|svg|out)", re.DOTALL)
FIELD = re.compile(r"%[-+ #0]*+\d*+(?:\.\d++)?[a-zA-Z]")
"""What `%` fills in. Python before 3.11.5 loses some matches of a possessive group, so this has none."""
MAX_DEPTH = 6
"""Names of names, and parts of parts, that are followed; of honest scripts, three are enough."""
PATHS = frozenset({"Path", "join", "os.fspath", "os.path.join", "pathlib.Path", "str"})
"""Functions whose result is a text or a path, and ends as their last argument does."""


class FileNames:
    """What the names of one module may be bound to, wherever it binds them."""

    def __init__(self, nodes: Iterable[ast.AST]) -> None:
        """Look for every binding; whatever is not a plain assignment may be anything."""
        self.values: dict[str, list[ast.expr]] = {}
        self.unclear: set[str] = set()
        self.imported: set[str] = set()
        self.opened: set[str] = set()
        """Names of `with open(...) as name`."""
        self._harmless: dict[tuple[str, int], bool] = {}
        self._plain: dict[tuple[str, int], bool] = {}
        """What is known of names, by name and remaining depth: each of their values is looked at once."""
        plain: set[int] = set()
        for node in nodes:
            match node:
                case (
                    ast.Assign(targets=[ast.Name() as target], value=value)
                    | ast.AnnAssign(target=ast.Name() as target, value=ast.expr() as value)
                ):
                    plain.add(id(target))
                    self.values.setdefault(target.id, []).append(value)
                case ast.withitem(
                    context_expr=ast.Call(func=ast.Name(id="open") | ast.Attribute(attr="open")),
                    optional_vars=ast.Name() as target,
                ):
                    plain.add(id(target))
                    self.opened.add(target.id)
                case ast.Name(id=name, ctx=ast.Store()) if id(node) not in plain:
                    self.unclear.add(name)
                case ast.arg(arg=name):
                    self.unclear.add(name)
                case ast.alias(name=full, asname=name):
                    self.imported.add(name or full.split(".")[0])
                case (
                    ast.ExceptHandler(name=str(name))
                    | ast.MatchAs(name=str(name))
                    | ast.MatchStar(name=str(name))
                    | ast.FunctionDef(name=name)
                    | ast.ClassDef(name=name)
                ):
                    self.unclear.add(name)

    def is_harmless(self, node: ast.expr | None, depth: int = MAX_DEPTH) -> bool:
        """Tell whether a file's name surely ends as that of a log or a checkpoint does."""
        if node is None or depth == 0:
            return False
        match node:
            case ast.Constant(value=str(text)):
                return HARMLESS.fullmatch(text) is not None
            case ast.JoinedStr(values=[*_, last]):
                return self.is_harmless(last, depth - 1)
            case ast.BinOp(left=ast.Constant(value=str(text)), op=ast.Mod()):
                return HARMLESS.fullmatch("x" + _after_last_field(text)) is not None
            case ast.BinOp(left=left, op=ast.Add() | ast.Div(), right=right):
                return self._is_plain(left, depth - 1) and self.is_harmless(right, depth - 1)
            case ast.Call(args=[*_, last], keywords=[]):
                return self._is_plain(node, depth) and self.is_harmless(last, depth - 1)
            case ast.Name(id=name):
                if (name, depth) not in self._harmless:
                    values = [v for v in self._values(name) if not _is_none(v)]
                    known = bool(values) and all(self.is_harmless(v, depth - 1) for v in values)
                    self._harmless[name, depth] = known
                return self._harmless[name, depth]
        return False

    def is_file(self, name: str) -> bool:
        """Tell whether a name is that of an open file and of nothing else."""
        return name in self.opened and not (
            name in self.values or name in self.unclear or name in self.imported
        )

    def _is_plain(self, node: ast.expr, depth: int) -> bool:
        """Tell whether this is certainly a built-in string or path, not an instance of the script's class."""
        match node:
            case ast.Constant(value=str()) | ast.JoinedStr():
                return True
            case ast.BinOp(left=left):
                return depth > 0 and self._is_plain(left, depth - 1)
            case ast.Call(func=ast.Name() | ast.Attribute() as func):
                root, attributes = split_chain(func)
                name = root.id if isinstance(root, ast.Name) else ""
                own = name in self.unclear or name in self.values or name in self.opened
                is_path = ".".join([name, *attributes]) in PATHS
                return not own and is_path and (name in self.imported or name == "str")
            case ast.Name(id=name):
                if (name, depth) not in self._plain:
                    values = self._values(name) if depth > 0 else []
                    known = bool(values) and all(self._is_plain(v, depth - 1) for v in values)
                    self._plain[name, depth] = known
                return self._plain[name, depth]
        return False

    def _values(self, name: str) -> list[ast.expr]:
        if name in self.unclear or name in self.imported or name in self.opened:
            return []
        return self.values.get(name, [])


def _after_last_field(text: str) -> str:
    """Return what of a text follows the last value that `%` fills in."""
    end = 0
    for field in FIELD.finditer(text):
        end = field.end()
    return text[end:]


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
