"""Compare the arguments in `run.toml` with the options that a script declares, without running it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence

_NUMBER = re.compile(r"-\d+(\.\d*)?([eE][-+]?\d+)?|-\.\d+")


def argument_faults(args: Sequence[str], trees: Iterable[ast.Module]) -> tuple[str, ...]:
    """
    Return why the script would refuse its arguments; empty if that is not certain.

    Understands `argparse` with literal option names. Values are not checked. `trees` are all of the script's
    files.
    """
    nodes = [node for tree in trees for node in ast.walk(tree)]
    calls = [n for n in nodes if isinstance(n, ast.Call)]
    if not any(_last(c.func) == "add_argument" for c in calls):
        reads = any(isinstance(n, ast.Attribute | ast.Name | ast.alias) and _reads(n) for n in nodes)
        return () if reads or not args else ("the script does not read its arguments",)
    declared = [c for c in calls if _last(c.func) == "add_argument"]
    if any(_last(c.func) in ("parse_known_args", "add_subparsers") for c in calls):
        return ()
    if not all(c.args and isinstance(c.args[0], ast.Constant) for c in declared):
        return ()
    options = [[str(a.value) for a in c.args if isinstance(a, ast.Constant)] for c in declared]
    known = sorted({name for names in options for name in names if name.startswith("-")})
    if not any(n.startswith("-") for names in options for n in names):
        return ()
    given = [a.split("=")[0] for a in args if a.startswith("-") and a != "--" and not _NUMBER.fullmatch(a)]
    return (*_unknown(given, known), *_missing(given, declared, options))


def _unknown(given: Sequence[str], known: Sequence[str]) -> Iterator[str]:
    for name in dict.fromkeys(given):
        if name in known or name in ("-h", "--help"):
            continue
        matches = [k for k in known if k.startswith(name)] if name.startswith("--") else []
        short = not name.startswith("--") and any(name.startswith(k) for k in known if len(k) == 2)
        if not matches and not short:
            yield f"the script does not declare the option {name}"


def _missing(
    given: Sequence[str], declared: Sequence[ast.Call], options: Sequence[Sequence[str]]
) -> Iterator[str]:
    for call, names in zip(declared, options, strict=True):
        required = any(
            k.arg == "required" and getattr(k.value, "value", False) is True for k in call.keywords
        )
        if required and not any(n == g or n.startswith(g) for n in names for g in given):
            yield f"the required option {names[0]} is missing"


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _reads(node: ast.Attribute | ast.Name | ast.alias) -> bool:
    """Tell whether a name may give the script its arguments: `sys.argv`, or a library that reads it."""
    match node:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name in ("argv", "orig_argv")
        case ast.alias(name=name):
            return name.split(".")[0] in ("argparse", "click", "fire", "getopt", "optparse", "tyro")
