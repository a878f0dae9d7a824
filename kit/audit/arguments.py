"""Compare the arguments in `run.toml` with the options that a script declares, without running it."""

from __future__ import annotations

import ast
import re
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence

from kit.audit.names import last_name

_NUMBER = re.compile(r"-\d+(\.\d*)?([eE][-+]?\d+)?|-\.\d+")


def argument_faults(args: Sequence[str], trees: Iterable[ast.Module]) -> tuple[str, ...]:
    """
    Return why the script would refuse its arguments; empty if that is not certain.

    Understands `argparse` with literal option names. Values are not checked. `trees` are all of the script's
    files.
    """
    nodes = [node for tree in trees for node in ast.walk(tree)]
    calls = [n for n in nodes if isinstance(n, ast.Call)]
    if not any(last_name(c.func) == "add_argument" for c in calls):
        reads = any(isinstance(n, ast.Attribute | ast.Name | ast.alias) and _reads(n) for n in nodes)
        return () if reads or not args else ("the script does not read its arguments",)
    declared = [c for c in calls if last_name(c.func) == "add_argument"]
    if any(last_name(c.func) in ("parse_known_args", "add_subparsers") for c in calls):
        return ()
    if not all(c.args and isinstance(c.args[0], ast.Constant) for c in declared):
        return ()
    options = [[str(a.value) for a in c.args if isinstance(a, ast.Constant)] for c in declared]
    known = {name for names in options for name in names if name.startswith("-")}
    if not any(n.startswith("-") for names in options for n in names):
        return ()
    given = [a.split("=")[0] for a in args if a.startswith("-") and a != "--" and not _NUMBER.fullmatch(a)]
    return (*_unknown(given, known), *_missing(given, declared, options))


def _unknown(given: Sequence[str], known: Collection[str]) -> Iterator[str]:
    in_order = sorted(known)
    for name in dict.fromkeys(given):
        if name in known or name in ("-h", "--help"):
            continue
        at = bisect_left(in_order, name)
        is_prefix = name.startswith("--") and at < len(in_order) and in_order[at].startswith(name)
        is_short = not name.startswith("--") and len(name) > 2 and name[:2] in known
        if not is_prefix and not is_short:
            yield f"the script does not declare the option {name}"


def _missing(
    given: Sequence[str], declared: Sequence[ast.Call], options: Sequence[Sequence[str]]
) -> Iterator[str]:
    known, lengths = set(given), {len(g) for g in given}
    for call, names in zip(declared, options, strict=True):
        required = any(
            k.arg == "required" and getattr(k.value, "value", False) is True for k in call.keywords
        )
        if required and not any(name[:n] in known for name in names for n in lengths):
            yield f"the required option {names[0]} is missing"


def _reads(node: ast.Attribute | ast.Name | ast.alias) -> bool:
    """Tell whether a name may give the script its arguments: `sys.argv`, or a library that reads it."""
    match node:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name in ("argv", "orig_argv")
        case ast.alias(name=name):
            return name.split(".")[0] in ("argparse", "click", "fire", "getopt", "optparse", "tyro")
