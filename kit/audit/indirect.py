"""
Calls of allowed functions that reach, by a text, what no name of the script says. Runs nothing.

Such a function copies, sets or defines attributes whose names it is given, or lets code of the script's own
write a file. It may be called in its plain form.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator

from kit.audit.allowlist import DUNDERS
from kit.audit.writing import FileNames

ONE_ARGUMENT = frozenset(
    {"enum.Enum", "enum.Flag", "enum.IntEnum", "enum.IntFlag", "enum.StrEnum", "functools.wraps"}
)
"""With more than one they define, or copy, attributes by texts: `wraps(f, assigned=("__globals__",))`."""
SAVES = "torch.save"
BUFFERS = frozenset({"numpy.frombuffer", "torch.asarray", "torch.frombuffer"})
"""
They look at the memory of any object: `np.frombuffer(np.array([None]), "i8")[0] = address` forges a Python
object, and so reaches what no name says. They may look at what was read from an open file, and nothing else.
"""
ARRAY = "numpy.ndarray"
"""Its constructor does the same, so it may stand in annotations and tests alone."""
PLAIN_CALLS = frozenset({"functools.wraps", SAVES}) | BUFFERS
"""Functions that are judged by their arguments, so they may be called and no more."""
SPECIAL = re.compile(r"__\w+__")
MAIN = "__main__"


def indirections(node: ast.Call, paths: Collection[str], files: FileNames) -> Iterator[str]:
    """
    Yield what a call does by texts or by code that it hands on.

    `paths` are the full names of what may be called, `files` knows what names of files may be.
    """
    plain = not node.keywords and not any(isinstance(a, ast.Starred) for a in node.args)
    for path in sorted(paths):
        if path in ONE_ARGUMENT and not (plain and len(node.args) == 1):
            yield f"{path}() with more than one argument"
        if path == SAVES and not (plain and len(node.args) == 2):
            yield f"{path}() of more than a value and a file's name"
        elif path == SAVES and not files.is_harmless(node.args[1]):
            yield f"{path}() under a name that is not written out"
        if path in BUFFERS and not _is_read(node.args[0] if node.args else None, files):
            yield f"{path}() of memory that was not read from a file"
        if path == "argparse.Namespace" and any(k.arg is None for k in node.keywords):
            yield f"{path}() of names that are not written out"
    if isinstance(node.func, ast.Attribute):
        yield from _arguments_of_a_parser(node.func.attr, node)


def _is_read(node: ast.expr | None, files: FileNames) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="read"), keywords=[]):
            return files.is_file(name)
        case ast.List() | ast.ListComp() | ast.Tuple():
            return True  # it has no memory that could be looked at, and is copied
    return False


def tested_types(node: ast.AST, walked: set[int]) -> Iterator[ast.AST]:
    """
    Yield the parts of a node where a class is only named or compared: annotations and tests.

    `walked` gets the ids of parts that were yielded with all that is inside them, and are not walked again.
    """
    whole: ast.expr | None = None
    match node:
        case ast.arg(annotation=ast.expr() as annotation) | ast.AnnAssign(annotation=annotation):
            whole = annotation
        case ast.FunctionDef(returns=ast.expr() as annotation):
            whole = annotation
        case ast.Call(func=ast.Name(id="isinstance" | "issubclass"), args=[_, classes]):
            whole = classes
        case ast.Call(func=ast.Name(id="print" | "repr" | "str"), args=shown):
            yield from shown
        case ast.Compare(left=left, comparators=others):
            yield from (left, *others)
        case ast.Attribute(value=value) | ast.FormattedValue(value=value):
            yield value
    if whole is not None and id(whole) not in walked:
        for part in ast.walk(whole):
            walked.add(id(part))
            yield part


def _arguments_of_a_parser(method: str, node: ast.Call) -> Iterator[str]:
    """Judge the names under which a parser of arguments keeps values: they become attributes."""
    match method:
        case "set_defaults" if any(k.arg is None for k in node.keywords):
            yield "set_defaults() of names that are not written out"
        case "parse_args" | "parse_known_args":
            if len(node.args) > 1 or any(k.arg in ("namespace", None) for k in node.keywords):
                yield f"{method}() into an object"
        case "add_argument":
            names = [*node.args, *(k.value for k in node.keywords if k.arg == "dest")]
            if any(not isinstance(n, ast.Constant) for n in names) or not all(k.arg for k in node.keywords):
                yield "add_argument() of a name that is not written out"


def special_name(text: object) -> str:
    """Return a text that is the name of a special attribute which a script may not use; empty for others."""
    if isinstance(text, str) and SPECIAL.fullmatch(text) and text not in DUNDERS and text != MAIN:
        return text
    return ""
