"""
Variables, scopes and modules of a script, and the lookup of names in them.

`kit.audit.scopes` creates them from a syntax tree.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from enum import StrEnum

MAX_DEPTH = 50


class ScopeKind(StrEnum):
    """The kind of a scope; functions do not see the names of their class."""

    MODULE = "module"
    FUNCTION = "function"
    CLASS = "class"
    COMPREHENSION = "comprehension"


class BindingKind(StrEnum):
    """The kind of value that a name is bound to, if it is not an alias."""

    FUNCTION = "function"
    CLASS = "class"
    VALUE = "value"


@dataclass(slots=True, eq=False)
class Variable:
    """One name in one scope."""

    paths: set[str] = field(default_factory=set)
    """Full names that it may refer to: imports and aliases of them."""
    aliases: list[tuple[ast.expr, Scope]] = field(default_factory=list)
    """Names and dotted names that are assigned to it."""
    links: list[Variable] = field(default_factory=list)
    """Variables of other modules of the script that it is imported from."""
    other: bool = False
    """Whether it may be any other value."""
    kinds: set[BindingKind] = field(default_factory=set)
    """The kinds of those other values, if known."""
    functions: list[tuple[ast.arguments, Scope]] = field(default_factory=list)
    """Functions of this name: their arguments and the scopes of their bodies."""
    tainted: bool = False
    """Whether it may hold the script's source text."""


@dataclass(slots=True, eq=False)
class Scope:
    """The names of a module, function, class or comprehension."""

    kind: ScopeKind
    parent: Scope | None = None
    name: str = ""
    """Name of the function."""
    depth: int = 0
    variables: dict[str, Variable] = field(default_factory=dict)
    is_generator: bool = False
    globals: set[str] = field(default_factory=set)
    nonlocals: set[str] = field(default_factory=set)

    def inner(self, kind: ScopeKind, name: str = "") -> Scope:
        """Open a nested scope. Raises `ValueError` beyond `MAX_DEPTH`."""
        if self.depth >= MAX_DEPTH:
            raise ValueError(f"functions are nested more than {MAX_DEPTH} deep")
        return Scope(kind, self, name, self.depth + 1)

    @property
    def module(self) -> Scope:
        """Return the outermost scope."""
        scope = self
        while scope.parent is not None:
            scope = scope.parent
        return scope


Visit = tuple[ast.AST, Scope]


@dataclass(slots=True, eq=False)
class Module:
    """One file of a script, with the scope of each node."""

    name: str
    """Import name: `triton_kernels`, `package.part`."""
    scope: Scope
    visits: list[Visit]
    """Each node comes before its children."""
    aliased: set[int]
    """Ids of expressions that are only assigned to an alias."""
    annotations: set[int]
    """Ids of the nodes inside annotations that are strings."""


def lookup(name: str, scope: Scope) -> tuple[list[Variable], bool]:
    """
    Return the variables that a name may be read from, and whether it may also be a builtin.

    A local name of a function is always found there; a name of a class or module may fall through.
    """
    variables: list[Variable] = []
    at = scope
    while at.parent is not None and name not in at.globals:
        seen = at is scope or at.kind is not ScopeKind.CLASS
        if seen and name in at.variables and name not in at.nonlocals:
            variables.append(at.variables[name])
            if at.kind is not ScopeKind.CLASS:
                return variables, False
        at = at.parent
    variable = scope.module.variables.get(name)
    return (variables if variable is None else [*variables, variable]), True
