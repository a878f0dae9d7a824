"""
Resolve the names and dotted names of a script, across its files.

Aliases are followed through assignments and through the script's modules until nothing changes.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kit.audit.patterns import MAX_PARTS, REACHED
from kit.audit.variables import Module, Scope, Variable, lookup

ROUNDS = 6
"""Rounds of following aliases of aliases; honest scripts need one."""
MAX_MEANINGS = 8
"""Meanings that one name may have; a name with more is reported as unclear."""
MAX_PATH = 1000
"""Characters of a full name that gets further parts."""
UNCLEAR = "…"
BUILTIN_NAMES = frozenset(dir(builtins))


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a name may refer to."""

    paths: frozenset[str] = frozenset()
    """Full names of imported objects and of the script's modules."""
    builtin: bool = False
    """Whether it may be a builtin, a predefined module name such as `__name__`, or undefined."""
    other: bool = False
    """Whether it may be any other value of the script; such values are judged by their attributes."""
    variables: tuple[Variable, ...] = ()


OTHER = Meaning(other=True)


class Names:
    """The names of a script that consists of these modules."""

    def __init__(self, modules: Iterable[Module]) -> None:
        """Resolve every alias."""
        self.own: Mapping[str, Module] = {m.name: m for m in modules}
        """The script's modules, by import name."""
        parts = [name.split(".") for name in self.own]
        self._packages = {".".join(p[:n]) for p in parts for n in range(1, len(p))}
        self._meanings: dict[tuple[int, str], Meaning] = {}
        """A cache by scope id and name; valid once all aliases are resolved."""
        self._is_settled = False
        variables = [v for m in self.own.values() for v in _variables(m)]
        for variable in variables:
            if len(variable.paths) > MAX_MEANINGS:
                variable.paths = {UNCLEAR}
            self._link(variable)
        aliases = [v for v in variables if v.aliases or v.links]
        for _ in range(ROUNDS):
            if not sum([self._follow(v) for v in aliases]):
                break
        else:
            for variable in aliases:
                if self._follow(variable):
                    variable.paths.add(UNCLEAR)
        self._is_settled = True

    def _link(self, variable: Variable) -> None:
        """Replace an import from a module of the script by that module's variable."""
        for path in sorted(variable.paths):
            module, _, name = path.rpartition(".")
            origin = None if self.is_own(path) else self.variable(module, name)
            if origin is not None and origin is not variable:
                variable.paths.discard(path)
                variable.links.append(origin)

    def _follow(self, variable: Variable) -> bool:
        """Follow the aliases of one variable. Return whether the set of its possible meanings grew."""
        before = (len(variable.paths), variable.other)
        for node, scope in variable.aliases:
            root, attributes = split_chain(node)
            meaning = self.of_chain(root, attributes, scope)
            variable.other = variable.other or meaning.other or meaning.builtin
            variable.paths.update(meaning.paths)
            if len(variable.paths) > MAX_MEANINGS:
                break
        for origin in variable.links:
            variable.other = variable.other or origin.other
            variable.paths.update(origin.paths)
        if len(variable.paths) > MAX_MEANINGS:
            variable.paths, variable.aliases, variable.links = {UNCLEAR}, [], []
        return (len(variable.paths), variable.other) != before

    def of_name(self, name: str, scope: Scope) -> Meaning:
        """Return what a name may refer to in a scope."""
        key = (id(scope), name)
        if key not in self._meanings or not self._is_settled:
            self._meanings[key] = self._look_up(name, scope)
        return self._meanings[key]

    def _look_up(self, name: str, scope: Scope) -> Meaning:
        variables, outside = lookup(name, scope)
        paths = {p for v in variables for p in v.paths}
        if len(paths) > MAX_MEANINGS:
            paths = {UNCLEAR}
        other = any(v.other for v in variables)
        builtin = outside and (not variables or name in BUILTIN_NAMES or name.startswith("__"))
        return Meaning(frozenset(paths), builtin, other, tuple(variables))

    def of_chain(self, root: ast.expr, attributes: list[str], scope: Scope) -> Meaning:
        """Return what `root.a.b` may refer to."""
        meaning = self.of_name(root.id, scope) if isinstance(root, ast.Name) else OTHER
        for attribute in attributes:
            if not meaning.paths:
                return OTHER
            meaning = self.step(meaning, attribute)
        return meaning

    def step(self, meaning: Meaning, attribute: str) -> Meaning:
        """Return what an attribute of a value may refer to."""
        paths: set[str] = set()
        other = meaning.other or meaning.builtin
        for path in meaning.paths:
            if self.is_own(path) and not self.is_own(f"{path}.{attribute}"):
                variable = self.variable(path, attribute)
                if variable is not None:
                    paths |= variable.paths
                    other = other or variable.other
                    continue
            paths.add(_extended(path, attribute))
        return Meaning(frozenset(paths), other=other)

    def is_own(self, path: str) -> bool:
        """Return whether this names a module or package of the script."""
        return path in self.own or path in self._packages

    def variable(self, path: str, name: str) -> Variable | None:
        """Return the variable of this name in a module of the script."""
        module = self.own.get(path)
        return None if module is None else module.scope.variables.get(name)


def split_chain(node: ast.expr) -> tuple[ast.expr, list[str]]:
    """Split `a.b.c` into its root and its attribute names."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    return node, attributes[::-1]


def last_name(node: ast.expr) -> str:
    """Return the last part of a dotted name; empty for any other expression."""
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _extended(path: str, attribute: str) -> str:
    """Return the full name of an attribute; `torch.os` is spelled `os`."""
    if attribute in REACHED and path not in ("", UNCLEAR, attribute):
        return attribute
    is_short = path.count(".") < MAX_PARTS and len(path) < MAX_PATH
    return f"{path}.{attribute}" if is_short else path


def _variables(module: Module) -> list[Variable]:
    """Return every variable of a module, in the order of its scopes."""
    scopes = {id(scope): scope for _, scope in module.visits}
    return [v for scope in scopes.values() for v in scope.variables.values()]
