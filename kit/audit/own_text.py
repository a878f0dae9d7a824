"""
Follow the text of a script's own files through its variables and functions.

Upstream's scripts read their own source and write it into their log. That is allowed; every other use of the
text is counted.
"""

from __future__ import annotations

import ast
from bisect import bisect_right
from collections.abc import Iterable

from kit.audit.names import Names
from kit.audit.variables import BindingKind, Module, Scope, Variable, lookup

OWN_PATHS = frozenset({"__file__", "__loader__", "__spec__", "__cached__", "__path__", "__doc__"})
"""Names by which a module reaches its own file."""
LOGGING_METHODS = frozenset({"save", "write"})
ROUNDS = 3
"""Nested function calls through which the script's source text is followed."""

_Part = tuple[str, int]
"""A name with its line; an empty name for a path of the script."""


class OwnText:
    """The places of a module that hold the script's source text; marks its variables as tainted."""

    def __init__(self, module: Module, names: Names) -> None:
        """Follow the text through `module`."""
        self._names = names
        self.copied: set[int] = set()
        """Ids of nodes that only copy the script's source text into its log."""
        self._open: dict[str, list[tuple[int, int]]] = {}
        """Per name, the line ranges in which it is an open source file of the script, in order."""
        self._logged: set[int] = set()
        """Ids of values written to a log or a checkpoint."""
        self._named_calls: list[tuple[ast.Call, Scope]] = []
        self._parameters: dict[int, dict[int | str, list[Variable]]] = {}
        """Per id of a variable, what its functions call an argument, by position and by name."""
        self._candidates = {""}
        """Names that may hold the text somewhere. An empty one stands for a path of the script."""
        self._parts: dict[int, tuple[list[_Part], int, int]] = {}
        """Per id of an expression, its names: a list that it may share, and its part of that list."""
        for node, scope in module.visits:
            self._note(node, scope)
            self._taint(node, scope)
        self._pass_on()

    def is_used(self, node: ast.Name, variables: Iterable[Variable]) -> bool:
        """Tell whether a name of `variables` holds the text, and is not only written to a log."""
        holds = self._is_open(node.id, node.lineno) or any(v.tainted for v in variables)
        return holds and id(node) not in self._logged

    def _note(self, node: ast.AST, scope: Scope) -> None:
        """Record the calls by name, and the values that are logged."""
        match node:
            case ast.Call(func=ast.Attribute(attr=name), args=args) if name in LOGGING_METHODS:
                self._logged.update(map(id, args))
            case ast.Call(func=ast.Name(id=name), keywords=keywords):
                self._named_calls.append((node, scope))
                if name == "dict":
                    self._logged.update(id(k.value) for k in keywords)
            case ast.Dict(values=values):
                self._logged.update(map(id, values))

    def _taint(self, node: ast.AST, scope: Scope) -> None:
        """Mark the names that receive the script's source text."""
        match node:
            case ast.With(items=items, body=body):
                opened: list[ast.withitem] = []
                for item in items:
                    if isinstance(item.optional_vars, ast.Name) and self._holds(item.context_expr, scope):
                        opened.append(item)
                        self._opened(item.optional_vars.id, node.lineno, node.end_lineno or node.lineno)
                self._copy(opened, body, scope)
            case (
                ast.Assign(targets=[ast.Name() as target], value=value)
                | ast.AugAssign(target=ast.Name() as target, value=value)
                | ast.NamedExpr(target=ast.Name() as target, value=value)
            ):
                if self._holds(value, scope):
                    self._mark(target, scope)

    def _holds(self, node: ast.expr, scope: Scope) -> bool:
        """Return whether an expression contains the script's path or source text."""
        if id(node) not in self._parts:
            self._collect(node)
        parts, start, end = self._parts[id(node)]
        possible = {part for part in parts[start:end] if part[0] in self._candidates}
        return any(not p[0] or self._is_open(*p) or _is_tainted(p[0], scope) for p in possible)

    def _collect(self, expression: ast.expr) -> None:
        """Collect the names in an expression, also for each `:=` inside it, with one walk."""
        parts: list[_Part] = []
        assigned = {id(expression)}
        stack: list[ast.AST | tuple[int, int]] = [expression]
        while stack:
            node = stack.pop()
            if isinstance(node, tuple):
                self._parts[node[0]] = (parts, node[1], len(parts))
                continue
            if id(node) in assigned:
                stack.append((id(node), len(parts)))  # it ends when all that is above this was taken
            if is_own_path(node):
                parts.append(("", 0))
            elif isinstance(node, ast.Name):
                parts.append((node.id, node.lineno))
            elif isinstance(node, ast.NamedExpr):
                assigned.add(id(node.value))
            stack += ast.iter_child_nodes(node)

    def _opened(self, name: str, first: int, last: int) -> None:
        self._candidates.add(name)
        lines = self._open.setdefault(name, [])
        if lines and first <= lines[-1][1]:
            first, last = lines[-1][0], max(last, lines.pop()[1])
        lines.append((first, last))

    def _is_open(self, name: str, line: int) -> bool:
        lines = self._open.get(name, [])
        at = bisect_right(lines, line, key=lambda pair: pair[0]) - 1
        return at >= 0 and line <= lines[at][1]

    def _mark(self, target: ast.Name, scope: Scope) -> None:
        self._candidates.add(target.id)
        for variable in lookup(target.id, scope)[0]:
            variable.tainted = True

    def _copy(self, items: list[ast.withitem], body: list[ast.stmt], scope: Scope) -> None:
        """
        Exempt a script that appends a module's text to its source text for its log.

        Upstream's scripts of several files begin this way. Every other use of the text is counted.
        """
        items = [item for item in items if self._opens_own_module(item)]
        if not items:
            return
        read: set[str] = set()
        for statement in body:
            match statement:
                case ast.AugAssign(target=ast.Name(id=name), op=ast.Add(), value=value):
                    if not _is_tainted(name, scope) or not all(map(_only_copies, ast.walk(value))):
                        return
                    read.update(p.id for p in ast.walk(value) if isinstance(p, ast.Name))
                case _:
                    return
        for item in items:
            if isinstance(item.optional_vars, ast.Name) and read <= {item.optional_vars.id}:
                self.copied.update(id(p) for p in ast.walk(item))
                if id(body[0]) not in self.copied:
                    self.copied.update(id(p) for s in body for p in ast.walk(s))

    def _opens_own_module(self, item: ast.withitem) -> bool:
        texts = (p.value for p in ast.walk(item.context_expr) if isinstance(p, ast.Constant))
        return any(
            isinstance(t, str) and t.removesuffix(".py") in self._names.own and ".py" in t for t in texts
        )

    def _pass_on(self) -> None:
        """Follow the script's source text into its functions and into `print`."""
        for _ in range(ROUNDS):
            for call, scope in self._named_calls:
                given: list[tuple[int | str, ast.expr]] = [*enumerate(call.args)]
                given += [(k.arg, k.value) for k in call.keywords if k.arg]
                own = [(at, v) for at, v in given if isinstance(v, ast.Name) and _is_tainted(v.id, scope)]
                if own and isinstance(call.func, ast.Name):
                    self._pass_to(call.func.id, own, scope)

    def _pass_to(self, name: str, own: list[tuple[int | str, ast.Name]], scope: Scope) -> None:
        variables, outside = lookup(name, scope)
        if name == "print" and outside and not variables:
            self._logged.update(id(value) for _, value in own)
        if any(v.kinds != {BindingKind.FUNCTION} or v.aliases for v in variables):
            return
        for variable in variables:
            parameters = self._parameters_of(variable)
            for at, value in own:
                if at in parameters:
                    self._logged.add(id(value))
                    while parameters[at]:  # those of a later call are marked already
                        parameters[at].pop().tainted = True

    def _parameters_of(self, variable: Variable) -> dict[int | str, list[Variable]]:
        if id(variable) not in self._parameters:
            known = self._parameters[id(variable)] = {}
            for arguments, inner in variable.functions:
                parts = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
                for at, part in enumerate(parts):
                    if part.arg in inner.variables:  # else it is declared global, and Python refuses it
                        for key in (at, part.arg):
                            known.setdefault(key, []).append(inner.variables[part.arg])
        return self._parameters[id(variable)]


def _is_tainted(name: str, scope: Scope) -> bool:
    return any(v.tainted for v in lookup(name, scope)[0])


def is_own_path(node: ast.AST) -> bool:
    """Tell whether an expression is a path of the script itself, or its arguments."""
    match node:
        case ast.Name(id=name):
            return name in OWN_PATHS
        case ast.Attribute(attr=name):
            return name == "argv" or name in OWN_PATHS
    return False


def _only_copies(node: ast.AST) -> bool:
    """Tell whether a part of an appended value changes nothing; `_copy` looks at the names."""
    match node:
        case ast.Attribute(attr=name):
            return name == "read"
        case ast.Call(args=[], keywords=[]):
            return True
    return isinstance(
        node,
        ast.Name
        | ast.Constant
        | ast.JoinedStr
        | ast.FormattedValue
        | ast.BinOp
        | ast.operator
        | ast.expr_context,
    )
