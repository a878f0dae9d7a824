"""Find the settings in a script that select its validation tokens."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from kit.audit.names import last_name
from kit.audit.patterns import OFFICIAL, OFFICIAL_TOKENS, VALIDATION

DIRECTORY = "data_path"
JOINED = "os.path.join(data_path, the official files)"


def has_official_directory(nodes: Sequence[ast.AST]) -> bool:
    """
    Tell whether the only value of a script's `data_path` is that of upstream's scripts from record 27 on.

    In a run that is the working directory: only the host sets `DATA_PATH`, and it does not.
    """
    bound = [(names, node) for node in nodes if (names := _bound_names(node))]
    if any("os" in names and not _is_import_of_os(node) for names, node in bound):
        return False
    if sum(DIRECTORY in names for names, _ in bound) != 1:
        return False
    values = [
        node.value
        for node in nodes
        if isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == [DIRECTORY]
    ]
    return [ast.unparse(value) for value in values] == ["os.environ.get('DATA_PATH', '.')"]


def _is_import_of_os(node: ast.AST) -> bool:
    return isinstance(node, ast.alias) and (node.name, node.asname) == ("os", None)


def _bound_names(node: ast.AST) -> tuple[str | None, ...]:
    """Return the names that one node binds, assigns to or deletes."""
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            return (name,)
        case ast.arg(arg=name) | ast.alias(asname=str(name)) | ast.alias(name=name):
            return (name,)
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return (name,)
        case ast.ExceptHandler(name=name) | ast.MatchAs(name=name) | ast.MatchStar(name=name):
            return (name,)
        case ast.MatchMapping(rest=name):
            return (name,)
    return ()


def settings(node: ast.AST, is_official: bool = False) -> Iterator[str]:
    """
    Yield every assignment of the validation's size or files.

    `is_official`: whether `data_path` is as `has_official_directory` says.
    """
    names: list[str] = []
    value: ast.expr | None = None
    match node:
        case ast.Assign(targets=targets, value=value):
            names = [last_name(t) for t in targets if isinstance(t, ast.Name | ast.Attribute)]
        case (
            ast.AnnAssign(target=ast.Name(id=name), value=value)
            | ast.AugAssign(target=ast.Name(id=name), value=value)
            | ast.keyword(arg=str(name), value=value)
        ):
            names = [name]
    names = [name.lower() for name in names if VALIDATION.fullmatch(name.lower())]
    if value is None or not names:
        return
    text = _value(value)
    if text and not (is_official and text == JOINED):
        yield from (f"{name} = {text}" for name in names)


def _value(node: ast.expr) -> str:
    """Format a value; empty for the official validation window, with any batch size."""
    match node:
        case ast.BinOp(op=ast.FloorDiv(), left=tokens) if last_name(tokens) == "val_tokens":
            return ""
        case ast.BinOp(
            op=ast.FloorDiv(),
            left=ast.BinOp(op=ast.Mult(), left=ast.Name(id="grad_accum_steps"), right=tokens),
        ) if last_name(tokens) == "val_tokens":
            return ""
        case ast.Constant(value=value) if value in OFFICIAL:
            return ""
        case ast.Call(args=[ast.Name(id="data_path"), files]) if ast.unparse(node.func) == "os.path.join":
            # The same files below the same directory, whether as a literal or through the setting's own name
            if last_name(files) == "val_files" or (
                isinstance(files, ast.Constant) and files.value in OFFICIAL
            ):
                return JOINED
    number = _product(node)
    if number is not None:
        return "" if number == OFFICIAL_TOKENS else str(number)
    return ast.unparse(node)[:120]


def _product(node: ast.expr) -> int | None:
    match node:
        case ast.Constant(value=int(value)):
            return value
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            a, b = _product(left), _product(right)
            return None if a is None or b is None else a * b
    return None
