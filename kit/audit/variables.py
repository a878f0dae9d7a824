"""
Variables, scopes and modules of a script as values, and which variables a name may be read from.

`kit.audit.scopes` makes them from a tree.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from enum import StrEnum

MAX_DEPTH = 50


class ScopeKind(StrEnum):
    """What a scope belongs to; a class's names are not seen from its functions."""

    MODULE = "module"
    FUNCTION = "function"
    CLASS = "class"
    COMPREHENSION = "comprehension"


class BindingKind(StrEnum):
    """What a name is bound to, other than to something that has a name already."""

    FUNCTION = "function"
    CLASS = "class"
    CALL = "call"
    VALUE = "value"


@dataclass(slots=True, eq=False)
class Variable:
    """One name in one scope."""

    paths: set[str] = field(default_factory=set)
    """Full names of what it may stand for: imports, and second names of imported things."""
    aliases: list[tuple[ast.expr, Scope]] = field(default_factory=list)
    """Names and dotted names that are assigned to it."""
    links: list[Variable] = field(default_factory=list)
    """Variables of other modules of the script that it is imported from."""
    other: bool = False
    """Whether it may be anything else."""
    kinds: set[BindingKind] = field(default_factory=set)
    """What else it may be, as far as it is plain."""
    makers: list[tuple[ast.expr, Scope]] = field(default_factory=list)
    """What is called for its values."""
    functions: list[tuple[ast.arguments, Scope]] = field(default_factory=list)
    """Functions by its name: what they take, and the scopes of their bodies."""
    tainted: bool = False
    """Whether it may hold text of the script itself."""


@dataclass(slots=True, eq=False)
class Scope:
    """The names of a module, function, class or comprehension."""

    kind: ScopeKind
    parent: Scope | None = None
    name: str = ""
    """Of the function."""
    depth: int = 0
    variables: dict[str, Variable] = field(default_factory=dict)
    is_generator: bool = False
    globals: set[str] = field(default_factory=set)
    nonlocals: set[str] = field(default_factory=set)

    def inner(self, kind: ScopeKind, name: str = "") -> Scope:
        """Open a scope in this one. Raises `ValueError` where that is too deep for any honest script."""
        if self.depth >= MAX_DEPTH:
            raise ValueError(f"functions within functions, {MAX_DEPTH} deep")
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
    """One file of a script, with the scope in which each of its nodes stands."""

    name: str
    """As it is imported: `triton_kernels`, `package.part`."""
    scope: Scope
    visits: list[Visit]
    """Each node comes before those in it."""
    aliased: set[int]
    """Ids of expressions that are only given a second name."""
    annotations: set[int]
    """Ids of the parts of annotations that are written as texts."""


def lookup(name: str, scope: Scope) -> tuple[list[Variable], bool]:
    """
    Return the variables that a name may be read from, and whether it may also be a builtin.

    A name of a function is bound there or nowhere; one of a class or module may still fall through.
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
