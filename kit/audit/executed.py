"""
Find the code of a script that runs whenever the script is started, as far as its syntax tells.

Code below a condition, in an exception handler, in a function that may not be called or after a conditional
exit is left out. So what is found here can be reported as certain; what is not found may still run.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Mapping

from kit.audit.names import last_name

EXITS = frozenset({"_exit", "abort", "exit", "execv", "execve", "quit"})
"""Last parts of the names of functions that end the process."""
LEAVING = ast.Return | ast.Raise | ast.Break | ast.Continue
"""Statements that may leave the block around them."""

_Definition = tuple[str, ast.FunctionDef | ast.ClassDef]
"""A function or class, and the file that defines it."""


def executed_nodes(modules: Mapping[str, ast.Module], entry: str) -> list[tuple[str, ast.AST]]:
    """
    Return the expressions, imports and assertions that run whenever the file `entry` is started.

    `modules` maps file names to trees. Imported modules and called functions of the script are followed.
    Each node comes with its file's name.
    """
    return _Run(modules, entry).nodes()


class _Run:
    """The state of one search: what was found, and the modules and functions that were entered."""

    def __init__(self, modules: Mapping[str, ast.Module], entry: str) -> None:
        """Collect the functions and classes of each module; nothing is entered yet."""
        self.modules, self.entry = modules, entry
        self.found: list[tuple[str, ast.AST]] = []
        self.entered: set[int] = set()
        self.waiting: list[tuple[str, list[ast.stmt]]] = []
        self.ending: dict[int, bool] = {}
        """Whether a function, by the id of its node, may end the process."""
        self.called: dict[int, ast.FunctionDef | None] = {}
        """What a call of a function or class, by the id of its node, runs; None if that is not certain."""
        self.leaving: dict[int, bool] = {}
        """Whether a statement, by its id, may leave the block around it."""
        own = {name: _definitions(name, tree) for name, tree in modules.items()}
        self.known = {name: {**_imported(tree, own), **own[name]} for name, tree in modules.items()}

    def nodes(self) -> list[tuple[str, ast.AST]]:
        self._enter(self.entry)
        while self.waiting:
            name, body = self.waiting.pop()
            self._block(name, body)
        return self.found

    def _enter(self, name: str) -> None:
        if name in self.modules and id(self.modules[name]) not in self.entered:
            self.entered.add(id(self.modules[name]))
            self.waiting.append((name, self.modules[name].body))

    def _block(self, name: str, body: Iterable[ast.stmt]) -> bool:
        """Run statements in order; return False if one of them may leave the block."""
        return all(self._statement(name, statement) for statement in body)

    def _statement(self, name: str, node: ast.stmt) -> bool:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                defaults = (n for n in (*node.args.defaults, *node.args.kw_defaults) if n is not None)
                return self._expressions(name, (*node.decorator_list, *defaults))
            case ast.ClassDef():
                self._expressions(name, (*node.decorator_list, *node.bases))
                return self._block(name, node.body)
            case ast.If(test=test, body=body):
                self._expressions(name, (test,))
                if _is_main_guard(test):
                    return self._block(name, body) if name == self.entry else True
                return not self._leaves(node)
            case ast.For(iter=iterated, body=body) | ast.AsyncFor(iter=iterated, body=body):
                self._expressions(name, (iterated,))
                if "cuda" not in ast.unparse(iterated):  # there may be no device to loop over
                    self._block(name, body)
                return not self._leaves(node)
            case ast.While(test=test, body=body):
                self._expressions(name, (test,))
                if isinstance(test, ast.Constant) and test.value:
                    self._block(name, body)
                return not self._leaves(node)
            case ast.With(items=items, body=body) | ast.AsyncWith(items=items, body=body):
                self._expressions(name, (item.context_expr for item in items))
                if any("suppress" in ast.unparse(item.context_expr) for item in items):
                    return not self._leaves(node)
                return self._block(name, body)
            case ast.Try(body=body, handlers=handlers, finalbody=final):
                if handlers:
                    return not self._leaves(node) and self._block(name, final)
                return self._block(name, body) and self._block(name, final)
            case ast.Match(subject=subject):
                self._expressions(name, (subject,))
                return not self._leaves(node)
            case ast.Import() | ast.ImportFrom():
                self.found.append((name, node))
                self._follow_import(node)
                return True
            case ast.Return(value=value) | ast.Raise(exc=value):
                self._expressions(name, () if value is None else (value,))
                return False
            case ast.Assert(test=test):
                self.found.append((name, node))
                return self._expressions(name, (test,))
            case ast.Break() | ast.Continue():
                return False
            case ast.AnnAssign(target=target, value=value):
                return self._expressions(name, (target,) if value is None else (target, value))
            case _:
                return self._expressions(
                    name, (n for n in ast.iter_child_nodes(node) if isinstance(n, ast.expr))
                )

    def _expressions(self, name: str, nodes: Iterable[ast.expr]) -> bool:
        """Record what expressions evaluate; return False if one may end the process."""
        stack: list[ast.AST] = list(nodes)
        goes_on = True
        while stack:
            node = stack.pop()
            self.found.append((name, node))
            match node:
                case ast.IfExp(test=test):
                    stack.append(test)
                case ast.BoolOp(values=[first, *_]):
                    stack.append(first)
                case ast.Lambda(args=args):
                    stack += [n for n in (*args.defaults, *args.kw_defaults) if n is not None]
                case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                    stack.append(node.generators[0].iter)
                case _:
                    stack += list(ast.iter_child_nodes(node))
            if isinstance(node, ast.Call):
                goes_on = self._follow_call(name, node) and goes_on
        return goes_on

    def _follow_call(self, name: str, node: ast.Call) -> bool:
        """Enter a function of the script, or a class's `__init__`; return False if it may end the process."""
        if _is_exit(node):
            return False
        if not isinstance(node.func, ast.Name) or node.func.id not in self.known[name]:
            return True
        where, called = self.known[name][node.func.id]
        if id(called) not in self.called:
            self.called[id(called)] = _function_of(called)
        function = self.called[id(called)]
        if function is None:
            return True
        if id(function) not in self.entered:
            self.entered.add(id(function))
            self.waiting.append((where, function.body))
        if id(function) not in self.ending:
            self.ending[id(function)] = any(_is_exit(n) for n in ast.walk(function))
        return not self.ending[id(function)]

    def _leaves(self, node: ast.stmt) -> bool:
        """
        Tell whether a statement holds something that may leave the block around it.

        Statements inside it for which that is known are not searched again.
        """
        leaves = False
        parts: list[ast.AST] = [node]
        while parts and not leaves:
            part = parts.pop()
            if id(part) in self.leaving:
                leaves = self.leaving[id(part)]
            else:
                leaves = isinstance(part, LEAVING) or _is_exit(part)
                parts += ast.iter_child_nodes(part)
        self.leaving[id(node)] = leaves
        return leaves

    def _follow_import(self, node: ast.Import | ast.ImportFrom) -> None:
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        for module in names:
            for file in _files_of(module):
                self._enter(file)


def _definitions(name: str, tree: ast.Module) -> dict[str, _Definition]:
    """Return the functions and classes of a module whose names are bound only once in it."""
    bound = Counter(n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
    defined = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    bound.update(n.name for n in defined)
    at_top = {id(n) for n in tree.body}
    return {n.name: (name, n) for n in defined if id(n) in at_top and bound[n.name] == 1}


def _imported(tree: ast.Module, own: Mapping[str, Mapping[str, _Definition]]) -> dict[str, _Definition]:
    """Return the functions and classes that a module imports by name from other files of the script."""
    imported: dict[str, _Definition] = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            for file in _files_of(node.module or ""):
                known = own.get(file, {})
                imported |= {a.asname or a.name: known[a.name] for a in node.names if a.name in known}
    return imported


def _files_of(module: str) -> tuple[str, str]:
    """Return the files that a module of the script may be in; absolute names only."""
    path = module.replace(".", "/")
    return f"{path}.py", f"{path}/__init__.py"


def _is_main_guard(test: ast.expr) -> bool:
    return ast.unparse(test).replace('"', "'") in ("__name__ == '__main__'", "'__main__' == __name__")


def _is_exit(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and last_name(node.func) in EXITS


def _function_of(called: ast.FunctionDef | ast.ClassDef) -> ast.FunctionDef | None:
    """Return what a call runs at once: a function, or a class's `__init__`; None if it runs neither."""
    if isinstance(called, ast.ClassDef):
        methods = (n for n in called.body if isinstance(n, ast.FunctionDef) and n.name == "__init__")
        function = next(methods, None)
    else:
        function = called
    return None if function is None or _is_generator(function) else function


def _is_generator(function: ast.FunctionDef) -> bool:
    return any(isinstance(n, ast.Yield | ast.YieldFrom) for n in ast.walk(function))
