"""
Bind the names of a module by Python's scope rules, and collect what each name may refer to.

A module is walked once, without recursion. A name keeps every value that is bound to it anywhere: a name that
is imported once counts as imported wherever it can be read.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from functools import partial

from kit.audit.parsing import parse_annotation
from kit.audit.variables import BindingKind, Module, Scope, ScopeKind, Variable, Visit


def read_module(name: str, is_package: bool, tree: ast.Module) -> Module:
    """Walk a syntax tree and bind its names."""
    return _Walk(name, is_package).module(tree)


def relative(module: str | None, level: int, name: str, is_package: bool) -> str:
    """Return the absolute module of a relative `from ... import` in the module `name`."""
    if not level:
        return module or ""
    parts = name.split(".")
    parts = parts[: len(parts) - level + (1 if is_package else 0)]
    return ".".join([*parts, *([module] if module else [])])


_Binding = Callable[[Variable], None]


def _bind_kind(kind: BindingKind, variable: Variable) -> None:
    variable.other = True
    variable.kinds.add(kind)


def _bind_path(path: str, variable: Variable) -> None:
    variable.paths.add(path)


def _bind_alias(value: ast.expr, scope: Scope, variable: Variable) -> None:
    variable.aliases.append((value, scope))


def _bind_function(arguments: ast.arguments, inner: Scope, variable: Variable) -> None:
    _bind_kind(BindingKind.FUNCTION, variable)
    variable.functions.append((arguments, inner))


class _Walk:
    """The state of one walk: pending nodes, and names to bind after all declarations are known."""

    def __init__(self, name: str, is_package: bool) -> None:
        """Prepare to walk a module; nothing is visited or bound yet."""
        self.name, self.is_package = name, is_package
        self.visits: list[Visit] = []
        self.aliased: set[int] = set()
        self.annotations: set[int] = set()
        self.bindings: list[tuple[Scope, str, _Binding]] = []
        self.bound: set[int] = set()
        """Ids of targets that are already bound."""
        self.stack: list[Visit] = []

    def module(self, tree: ast.Module) -> Module:
        """Walk the tree and return the module with its bound names."""
        scope = Scope(ScopeKind.MODULE)
        self.stack = [(tree, scope)]
        while self.stack:
            node, at = visit = self.stack.pop()
            self.visits.append(visit)
            self._bind_names(node, at)
            if not isinstance(node, ast.Name | ast.Constant):
                self.stack += reversed(list(self._children(node, at)))
        for at, name, bind in self.bindings:
            bind(_home(at, name).variables.setdefault(name, Variable()))
        return Module(self.name, scope, self.visits, self.aliased, self.annotations)

    def _annotation(self, node: ast.AST) -> list[ast.expr]:
        code = _annotation(node)
        self.annotations.update(id(part) for n in code for part in ast.walk(n))
        return code

    def _bind(self, scope: Scope, name: str, kind: BindingKind = BindingKind.VALUE) -> None:
        self.bindings.append((scope, name, partial(_bind_kind, kind)))

    def _children(self, node: ast.AST, scope: Scope) -> Iterator[Visit]:
        """Yield a node's children with their scopes; contexts and operators are left out."""
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                yield from self._function(node, scope)
            case ast.ClassDef():
                inner = scope.inner(ScopeKind.CLASS)
                yield from ((n, scope) for n in (*node.decorator_list, *node.bases, *node.keywords))
                yield from ((n, inner) for n in node.body)
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                inner = scope.inner(ScopeKind.COMPREHENSION)
                first = node.generators[0]
                self.visits.append((first, inner))
                yield first.iter, scope
                yield first.target, inner
                yield from ((n, inner) for n in (*first.ifs, *node.generators[1:]))
                parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
                yield from ((n, inner) for n in parts)
            case _:
                for n in ast.iter_child_nodes(node):
                    if not isinstance(
                        n, ast.expr_context | ast.operator | ast.unaryop | ast.cmpop | ast.boolop
                    ):
                        yield n, scope
                yield from ((n, scope) for n in self._annotation(node))

    def _function(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, scope: Scope
    ) -> Iterator[Visit]:
        inner = scope.inner(ScopeKind.FUNCTION, getattr(node, "name", ""))
        if not isinstance(node, ast.Lambda):
            yield from ((n, scope) for n in node.decorator_list)
            if node.returns is not None:
                yield node.returns, scope
                yield from ((n, scope) for n in self._annotation(node))
            self.bindings.append((scope, node.name, partial(_bind_function, node.args, inner)))
        a = node.args
        self.visits.append((a, scope))
        for arg in (*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg):
            if arg is not None:
                self._bind(inner, arg.arg)
                yield arg, scope
        yield from ((n, scope) for n in (*a.defaults, *a.kw_defaults) if n is not None)
        body = [node.body] if isinstance(node, ast.Lambda) else node.body
        yield from ((n, inner) for n in body)

    def _bind_names(self, node: ast.AST, scope: Scope) -> None:
        match node:
            case ast.ClassDef(name=name):
                self._bind(scope, name, BindingKind.CLASS)
            case ast.Yield() | ast.YieldFrom():
                at: Scope | None = scope
                while at is not None and at.kind is not ScopeKind.FUNCTION:
                    at = at.parent
                if at is not None:
                    at.is_generator = True
            case ast.Global(names=names):
                scope.globals.update(names)
            case ast.Nonlocal(names=names):
                scope.nonlocals.update(names)
            case ast.Import(names=aliases):
                for a in aliases:
                    root = a.name.split(".")[0]
                    path = a.name if a.asname else root
                    self.bindings.append((scope, a.asname or root, partial(_bind_path, path)))
            case ast.ImportFrom(module=module, names=aliases, level=level):
                origin = relative(module, level, self.name, self.is_package)
                for a in aliases:
                    path = f"{origin}.{a.name}"
                    self.bindings.append((scope, a.asname or a.name, partial(_bind_path, path)))
            case ast.Assign(targets=targets, value=ast.Name() | ast.Attribute() as value):
                plain = [t for t in targets if isinstance(t, ast.Name)]
                if len(plain) == len(targets):
                    self._alias(plain, value, scope)
            case ast.AnnAssign(target=ast.Name() as target, value=ast.Name() | ast.Attribute() as value):
                self._alias([target], value, scope)
            case ast.NamedExpr(target=ast.Name() as target):
                at = scope
                while at.kind is ScopeKind.COMPREHENSION and at.parent is not None:
                    at = at.parent
                self._bind(at, target.id)
                self.bound.add(id(target))
            case (
                ast.ExceptHandler(name=str(name))
                | ast.MatchAs(name=str(name))
                | ast.MatchStar(name=str(name))
            ):
                self._bind(scope, name)
            case ast.MatchMapping(rest=str(name)):
                self._bind(scope, name)
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()) if id(node) not in self.bound:
                self._bind(scope, name)

    def _alias(self, targets: list[ast.Name], value: ast.expr, scope: Scope) -> None:
        if scope.kind is ScopeKind.CLASS or any(t.id in scope.nonlocals for t in targets):
            return
        self.aliased.add(id(value))
        for target in targets:
            self.bound.add(id(target))
            self.bindings.append((scope, target.id, partial(_bind_alias, value, scope)))


def _home(scope: Scope, name: str) -> Scope:
    if name in scope.globals:
        return scope.module
    if name in scope.nonlocals:
        at = scope.parent
        while at is not None and at.kind is not ScopeKind.MODULE:
            if at.kind is ScopeKind.FUNCTION and name not in at.nonlocals:
                return at
            at = at.parent
    return scope


def _annotation(node: ast.AST) -> list[ast.expr]:
    """Parse an annotation that is written as a string: libraries evaluate it."""
    text = getattr(node, "returns", None) or getattr(node, "annotation", None)
    if not (isinstance(text, ast.Constant) and isinstance(text.value, str)):
        return []
    try:
        code = parse_annotation(text.value)
    except (SyntaxError, ValueError):
        return []
    for part in ast.walk(code):
        if hasattr(part, "lineno"):
            part.lineno = text.lineno
    return [code]
