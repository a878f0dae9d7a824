"""
Find the names that a script uses and that are not on the allowlist.

Every import, attribute and builtin must be on `kit.audit.allowlist`. A module may be named but not used as a
value: not stored, passed or returned. The same holds for builtins such as `getattr`, which may only be
called. An attribute of any other value is judged by its name alone.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from kit.audit.allowlist import (
    BUILTINS,
    CALLED_ONLY,
    CALLED_PATHS,
    DATA_ATTRIBUTES,
    DUNDERS,
    FORBIDDEN,
    LITERAL_ARGUMENTS,
    METHODS,
    MODULES,
    ODD,
    READ_DUNDERS,
)
from kit.audit.indirect import ARRAY, PLAIN_CALLS, indirections, special_name, tested_types
from kit.audit.known import CLOCKS, KnownNames
from kit.audit.names import BUILTIN_NAMES, OTHER, UNCLEAR, Meaning, Names, split_chain
from kit.audit.parsing import parse_annotation
from kit.audit.patterns import KNOWN_VARIABLES, SETTINGS
from kit.audit.reading import LOOKING, READERS, READING_ATTRIBUTES
from kit.audit.variables import BindingKind, Module, Scope
from kit.audit.writing import FileNames

NAMESPACES = frozenset(
    ".".join(parts[:n]) for parts in (name.split(".") for name in MODULES) for n in range(1, len(parts) + 1)
)
DECORATORS = frozenset({"torch.library.custom_op", "torch.library.triton_op"})
"""They evaluate annotations, so they are allowed only as decorators, where the annotations are visible."""
MARKS = frozenset(
    {"abc.ABC", "enum.Enum", "enum.Flag", "enum.IntEnum", "enum.IntFlag", "enum.StrEnum"}
    | {"typing.Generic", "typing.Protocol"}
)
"""
Bases that a class may have beside another. One that is a module and a dictionary could be added to a module
under any name, and numpy takes a dictionary of a certain name for a description of memory.
"""
BUILTIN = Meaning(builtin=True)
ENVIRONMENT = "os.environ"
OPERATOR_NAME = re.compile(r"([A-Za-z_]\w*)::([A-Za-z_]\w*)")
OWN_OPERATORS = frozenset({"aten", "prim", "prims", "quantized", "profiler", "c10d", "inductor"})
"""Operator namespaces of torch."""
FIELD = re.compile(r"\{[^{}]*[.\[]")
ITSELF = frozenset({"cls", "ctx", "self"})
CRITICAL = frozenset({"elapsed_time", "item", "tolist"})
"""Methods that produce printed values; assigning an attribute of that name is always reported."""


@dataclass(frozen=True, slots=True)
class Use:
    """One use of a name that is not on the allowlist."""

    description: str
    line: int


def uses(
    module: Module, names: Names, known: KnownNames, ignored: frozenset[int] = frozenset()
) -> Iterator[Use]:
    """
    Yield the names that a module uses and that are not on the allowlist.

    `known` holds further allowed names, `ignored` the ids of nodes to skip.
    """
    yield from _Judge(module, names, known).uses(ignored)


class _Judge:
    """The check of one module; remembers the expressions that are already judged."""

    def __init__(self, module: Module, names: Names, known: KnownNames) -> None:
        """Prepare the check of `module`; no expression is checked yet."""
        self.module, self.names = module, names
        self.files = FileNames(node for node, _ in module.visits)
        self.attributes = known.attributes - ODD
        self.clocks = CLOCKS if known.clock else frozenset()
        self.done: set[int] = set()
        """Ids of names and dotted names that are judged with their parent expression."""
        self.called: set[int] = set()
        self.decorating: set[int] = set()
        self.decorators: set[int] = set()
        self.idle: set[int] = set()
        """Ids of dotted names that are whole statements and have no effect."""
        self.tested = set(module.annotations)
        """Ids of expressions that only name or compare a class."""
        self.walked: set[int] = set()
        """Ids of those whose parts are all in `tested`."""
        self.environment: set[int] = set()
        """Ids of expressions that may be `os.environ`: subscripted, or to the right of `in`."""
        self.operators = {
            f"torch.ops.{m[1]}.{m[2]}"
            for n, _ in module.visits
            if isinstance(n, ast.Constant)
            and isinstance(n.value, str)
            and (m := OPERATOR_NAME.fullmatch(n.value))
            if m[1] not in OWN_OPERATORS
        }
        """Full names of operators that a string of the script declares."""
        self.modules = NAMESPACES | {name.rpartition(".")[0] for name in self.operators}
        self.saved = frozenset(self._saved())
        """Ids of expressions that the script only saves to a file."""

    def uses(self, ignored: frozenset[int]) -> Iterator[Use]:
        """Yield every use."""
        for node, _ in self.module.visits:
            self._note(node)
        for node, scope in self.module.visits:
            if id(node) in ignored:
                continue
            line = getattr(node, "lineno", 0)
            for description in self._node(node, scope):
                yield Use(description, line)

    def _saved(self) -> Iterator[int]:
        """
        Yield the ids of what a script of one file puts into a dictionary that it saves and never reads.

        Record 2 saves `dict(args=args.__dict__)`. Whoever holds that dictionary itself could add to it.
        """
        values: dict[str, list[ast.expr]] = {}
        plain: set[int] = set()
        others: set[str] = set()
        for node, scope in self.module.visits:
            match node:
                case ast.Assign(
                    targets=[ast.Name(id=name) as target],
                    value=ast.Call(func=ast.Name(id="dict") as func, args=[], keywords=keywords),
                ) if self._meaning(func, scope) == BUILTIN:
                    values.setdefault(name, []).extend(keyword.value for keyword in keywords)
                    plain.add(id(target))
                case ast.Call(func=ast.Attribute() as func, args=[ast.Name() as saved, _], keywords=[]):
                    if self._meaning(func, scope).paths == {"torch.save"}:
                        plain.add(id(saved))
                case ast.Name(id=name) if id(node) not in plain:
                    others.add(name)
                case ast.Import() | ast.ImportFrom() if self._imports_itself(node):
                    return
        if len(self.names.own) == 1:
            yield from (id(value) for name in values.keys() - others for value in values[name])

    def _imports_itself(self, node: ast.Import | ast.ImportFrom) -> bool:
        named = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        return getattr(node, "level", 0) > 0 or any(map(self.names.is_own, named))

    def _note(self, node: ast.AST) -> None:
        """Record the nodes whose context matters later."""
        self.tested.update(map(id, tested_types(node, self.walked)))
        match node:
            case ast.Attribute(value=ast.Name() | ast.Attribute() as value):
                self.done.add(id(value))
            case ast.Call(func=func):
                self.called.add(id(func))
            case ast.Subscript(value=value):
                self.environment.add(id(value))
            case ast.Compare(ops=[ast.In() | ast.NotIn()], comparators=[value]):
                self.environment.add(id(value))
            case ast.FunctionDef(decorator_list=decorators):
                self.decorators.update(map(id, decorators))
                self.decorating.update(id(d.func) for d in decorators if isinstance(d, ast.Call))

    def _node(self, node: ast.AST, scope: Scope) -> Iterator[str]:
        match node:
            case ast.Import(names=aliases):
                yield from (f"import {a.name}" for a in aliases if not self._is_module(a.name))
            case ast.ImportFrom():
                yield from self._import_from(node)
            case ast.Name(ctx=ast.Load()) | ast.Attribute():
                if id(node) not in self.done:
                    yield from self._chain(node, scope)
            case ast.Name(id=name):
                yield from _definition(name)
            case ast.Call():
                yield from self._call(node, scope)
            case ast.FunctionDef():
                yield from _definition(node.name)
                yield from self._operator(node, scope)
            case ast.Expr(value=ast.Attribute() as value):
                self.idle.add(id(value))
            case ast.ClassDef(name=name, bases=bases, keywords=keywords):
                yield from _definition(name)
                if sum(not self._only_marks(base, scope) for base in bases) > 1:
                    yield f"class {name} of several classes"
                yield from (f"class {k.arg or '**'}=" for k in keywords)
            case ast.arg(arg=name) | ast.alias(asname=str(name)):
                yield from _definition(name)
            case ast.Subscript(value=ast.Name() | ast.Attribute() as value, slice=key):
                if ENVIRONMENT in self._meaning(value, scope).paths:
                    yield from _environment(key)
            case ast.MatchClass(kwd_attrs=attributes):
                yield from (d for a in attributes for d in self._attribute(a))
            case ast.Constant(value=value) if special_name(value):
                yield f"the text {value!r}"
            case ast.AsyncFunctionDef() | ast.AsyncFor() | ast.AsyncWith() | ast.Await():
                yield type(node).__name__

    def _meaning(self, node: ast.expr, scope: Scope) -> Meaning:
        root, attributes = split_chain(node)
        return self.names.of_chain(root, attributes, scope)

    def _only_marks(self, base: ast.expr, scope: Scope) -> bool:
        """Return whether this base of a class says what the class is for, and holds nothing."""
        named = base.value if isinstance(base, ast.Subscript) else base
        paths = self._meaning(named, scope).paths
        return bool(paths) and paths <= MARKS

    def _is_module(self, name: str) -> bool:
        return self.names.is_own(name) or name in NAMESPACES

    def _import_from(self, node: ast.ImportFrom) -> Iterator[str]:
        # scopes.py resolves relative imports
        for a in node.names:
            if a.name == "*":
                yield f"from {node.module} import *"
            elif not node.level and node.module and not self.names.is_own(node.module):
                path = f"{node.module}.{a.name}"
                if not self._is_allowed(path) and not self._is_module(path):
                    yield path
            elif a.name.startswith("__"):
                yield f"from {node.module} import {a.name}"

    def _is_allowed(self, path: str) -> bool:
        module, _, name = path.rpartition(".")
        if name in MODULES.get(module, ()) or path == ENVIRONMENT or path in self.operators:
            return True
        if path in self.clocks:
            return True  # `source.timer` counts them
        return path.removesuffix(".default") in self.operators

    def _chain(self, node: ast.Name | ast.Attribute, scope: Scope) -> Iterator[str]:
        """Judge a name or a whole dotted name, and its use."""
        root, attributes = split_chain(node)
        meaning = OTHER
        if isinstance(root, ast.Name):
            meaning = self.names.of_name(root.id, scope)
            yield from self._name(root, meaning, bare=root is node)
        stores = not isinstance(node.ctx, ast.Load)
        for n, attribute in enumerate(attributes):
            last = n == len(attributes) - 1
            if stores and last:
                yield from self._store(attribute, meaning, root)
                return
            is_idle = last and id(node) in self.idle and not meaning.paths and not meaning.builtin
            is_saved = last and attribute == "__dict__" and id(node) in self.saved
            harmless = is_idle or is_saved or (n == 0 and attribute in DUNDERS and _is_super(root))
            if not harmless:
                yield from self._step(meaning, attribute)
            meaning = self.names.step(meaning, attribute) if meaning.paths else OTHER
        yield from self._value(node, meaning)

    def _name(self, node: ast.Name, meaning: Meaning, bare: bool) -> Iterator[str]:
        if UNCLEAR in meaning.paths:
            yield f"the name {node.id}, which is assigned too many values to follow"
        if not meaning.builtin or node.id in BUILTINS:
            return
        bound = bool(meaning.variables)
        if node.id in CALLED_ONLY:
            if not bound and not (bare and id(node) in self.called):
                yield f"{node.id} used as a value"
        elif node.id in FORBIDDEN or (node.id in BUILTIN_NAMES and not bound):
            if node.id not in READING_ATTRIBUTES:
                yield node.id
        elif _is_dunder(node.id):
            yield f"the name {node.id}"  # any other unbound name only raises NameError

    def _step(self, meaning: Meaning, attribute: str) -> Iterator[str]:
        """Check whether a script may use one attribute of a value."""
        for path in sorted(meaning.paths):
            full = f"{path}.{attribute}"
            if self.names.is_own(path):
                known = self.names.variable(path, attribute) is not None or self.names.is_own(full)
                if not known or _is_dunder(attribute):
                    yield full
            elif path in self.modules:
                judged_as_reading = READERS.fullmatch(full) or LOOKING.fullmatch(full)
                if full not in self.modules and not self._is_allowed(full) and not judged_as_reading:
                    yield full
            elif path == ENVIRONMENT:
                if attribute not in ("get", "setdefault"):
                    yield full
            elif self._is_allowed(path):
                yield from self._attribute(attribute)
        if meaning.other or meaning.builtin or not meaning.paths:
            yield from self._attribute(attribute)

    def _attribute(self, name: str) -> Iterator[str]:
        """Judge an attribute of a value of unknown type."""
        if name in READING_ATTRIBUTES:
            return
        if _is_dunder(name):
            if name not in READ_DUNDERS:
                yield f"the attribute {name}"
        elif name not in METHODS and name not in self.attributes:
            yield f"the attribute {name}"

    def _store(self, attribute: str, meaning: Meaning, root: ast.expr) -> Iterator[str]:
        """Judge an assignment to an attribute."""
        for path in sorted(meaning.paths):
            if not SETTINGS.fullmatch(f"{path}.{attribute}"):
                yield f"{path}.{attribute} ="
        if _is_dunder(attribute):
            yield f"the attribute {attribute} ="
        of_itself = isinstance(root, ast.Name) and root.id in ITSELF
        if attribute in CRITICAL or (
            not of_itself and attribute in METHODS and attribute not in DATA_ATTRIBUTES
        ):
            yield f"the attribute {attribute} ="

    def _value(self, node: ast.expr, meaning: Meaning) -> Iterator[str]:
        """Judge the use of a whole dotted name."""
        compiles = isinstance(node, ast.Attribute) and node.attr == "compile" and not meaning.paths
        if compiles and id(node) not in self.called:
            yield "compile used as a value"
        aliased = id(node) in self.module.aliased
        for path in sorted(meaning.paths):
            if path == ENVIRONMENT:
                if id(node) not in self.environment:
                    yield f"{path} used as a value"
            elif path == ARRAY:
                if id(node) not in self.tested and not aliased:
                    yield f"{path} used other than in an annotation or a test"
            elif path in DECORATORS:
                if id(node) not in self.decorating and not aliased:
                    yield f"{path} used other than as a decorator call"
            elif path in LITERAL_ARGUMENTS or path in CALLED_PATHS or path in PLAIN_CALLS:
                if id(node) not in self.called and not aliased and id(node) not in self.decorators:
                    yield f"{path} used as a value"
            elif (path in self.modules or self.names.is_own(path)) and not aliased:
                yield f"{path} used as a value"

    def _call(self, node: ast.Call, scope: Scope) -> Iterator[str]:
        root, attributes = split_chain(node.func)
        meaning = OTHER
        if isinstance(root, ast.Name):
            meaning = self.names.of_chain(root, attributes, scope)
            if not attributes and meaning.builtin and root.id in CALLED_ONLY:
                yield from self._reflection(root.id, node, scope)
            if meaning.paths & {"os.environ.get", "os.environ.setdefault"}:
                yield from _environment(node.args[0] if node.args else None)
            for path in sorted(meaning.paths & LITERAL_ARGUMENTS.keys()):
                first = node.args[0] if node.args else None
                if not (isinstance(first, ast.Constant) and first.value in LITERAL_ARGUMENTS[path]):
                    yield f"{path}() with an argument that is not on the allowlist"
        yield from indirections(node, meaning.paths, self.files)
        match node.func:
            case ast.Attribute(value=ast.Constant(value=str(text)), attr="format"):
                if FIELD.search(text):
                    yield "format() with an attribute or index field"
            case ast.Call(func=ast.Name(id="type")):
                yield "type()()"

    def _reflection(self, name: str, node: ast.Call, scope: Scope) -> Iterator[str]:
        """Judge a call that names an attribute with a string."""
        match name, node.args:
            case "type", [argument] if not isinstance(argument, ast.Starred) and not node.keywords:
                if id(node) not in self.tested:
                    yield "type() used other than in a test"
            case (
                ("getattr" | "hasattr" | "setattr" | "delattr"),
                [of, ast.Constant(value=str(attribute)), *_],
            ):
                root, _ = split_chain(of)
                meaning = self._meaning(of, scope)
                if name in ("setattr", "delattr"):
                    yield from self._store(attribute, meaning, root)
                else:
                    yield from self._step(meaning, attribute)
            case _:
                yield f"{name}() with a name that is not a literal"

    def _operator(self, node: ast.FunctionDef, scope: Scope) -> Iterator[str]:
        """Judge annotations that a decorator evaluates."""
        called = (d.func for d in node.decorator_list if isinstance(d, ast.Call))
        if all(DECORATORS.isdisjoint(self._meaning(decorator, scope).paths) for decorator in called):
            return
        arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        for annotation in (*(a.annotation for a in arguments), node.returns):
            for part in _evaluated(annotation):
                if isinstance(part, ast.Name):
                    meaning = self.names.of_name(part.id, scope)
                    if any(v.kinds - {BindingKind.CLASS} for v in meaning.variables):
                        yield f"the annotation {part.id} of a custom operator"
                elif isinstance(part, ast.Call | ast.JoinedStr | ast.Lambda | ast.NamedExpr):
                    yield "a computed annotation of a custom operator"


def _evaluated(annotation: ast.expr | None) -> Iterator[ast.AST]:
    """Yield the nodes of an annotation, and of the code in its strings."""
    for part in ast.walk(annotation) if annotation is not None else ():
        yield part
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            try:
                code = parse_annotation(part.value)
            except (SyntaxError, ValueError):
                continue
            yield from ast.walk(code)


def _is_super(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"


def _definition(name: str) -> Iterator[str]:
    """Judge the definition of a name."""
    if _is_dunder(name) and name not in DUNDERS:
        yield f"the name {name} ="


def _environment(key: ast.expr | None) -> Iterator[str]:
    """Judge a read of an environment variable."""
    name = key.value if isinstance(key, ast.Constant) else None
    if not isinstance(name, str) or name not in KNOWN_VARIABLES:
        yield f"{ENVIRONMENT}[{name if isinstance(name, str) else '?'}]"


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__") and len(name) > 4
