"""
Collect the names that a submission may use because it or its start script defines or uses them.

A name that is not on the allowlist is accepted if the start script uses it or the script defines it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from kit.audit.names import last_name
from kit.audit.variables import Module

CLOCKS = frozenset({"time.perf_counter", "time.perf_counter_ns", "time.time"})
"""Clock functions; allowed if the start script uses one of them."""


@dataclass(frozen=True, slots=True)
class KnownNames:
    """Names that a submission may use because its start script does."""

    attributes: frozenset[str] = frozenset()
    clock: bool = False
    """Whether the start script reads a clock."""


def defined_attributes(modules: tuple[Module, ...]) -> frozenset[str]:
    """Return the attributes that a script defines."""
    walked: set[int] = set()
    return frozenset(name for m in modules for node, _ in m.visits for name in _defined(node, walked))


def known_names(modules: tuple[Module, ...]) -> KnownNames:
    """Return the names of a start script that its submissions may use."""
    nodes = [node for m in modules for node, _ in m.visits]
    used = frozenset(n.attr for n in nodes if isinstance(n, ast.Attribute))
    imported = {f"{n.module}.{a.name}" for n in nodes if isinstance(n, ast.ImportFrom) for a in n.names}
    chains = {
        f"{n.value.id}.{n.attr}"
        for n in nodes
        if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)
    }
    return KnownNames(used | defined_attributes(modules), not CLOCKS.isdisjoint(imported | chains))


def _defined(node: ast.AST, walked: set[int]) -> Iterator[str]:
    """Yield the attributes that a node defines. `walked` gets the ids of nodes that need no other walk."""
    match node:
        case ast.Attribute(attr=name, ctx=ast.Store()):
            yield name
        case ast.ClassDef(body=body):
            for part in body:
                match part:
                    case ast.FunctionDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
                        yield name
                    case ast.Assign(targets=targets):
                        yield from (t.id for t in targets if isinstance(t, ast.Name))
        case ast.Call(func=func, args=args, keywords=keywords):
            yield from (k.arg for k in keywords if k.arg)
            last = last_name(func)
            if last in ("register_buffer", "register_parameter", "add_module", "setattr"):
                for text in (a.value for a in args[:2] if isinstance(a, ast.Constant)):
                    yield str(text)
            if last == "add_argument":
                for text in (a.value for a in args if isinstance(a, ast.Constant)):
                    yield str(text).lstrip("-").replace("-", "_")
            if last == "namedtuple":
                for inside in (p for a in args[1:] if id(a) not in walked for p in ast.walk(a)):
                    walked.add(id(inside))
                    if isinstance(inside, ast.Constant):
                        yield from str(inside.value).replace(",", " ").split()
