"""
Write a script anew without changing what it does: names, order, helper functions, equivalent forms.

A judgement of a script must not depend on how its author writes. The calibration of `speedrun judge`
therefore judges every target twice: as it is, and paraphrased. No rubric was read for this package.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from random import Random

from kit.audit.parsing import parse
from kit.judge.paraphrase.extract import extract_helpers, name_intermediates
from kit.judge.paraphrase.forms import change_forms
from kit.judge.paraphrase.order import reorder
from kit.judge.paraphrase.rename import rename
from kit.judge.paraphrase.vocabulary import Vocabulary


def paraphrase(files: Mapping[str, str], seed: int) -> dict[str, str]:
    """
    Return the files of a submission with its Python files written differently.

    The result runs as the files given do, and prints the same, but for the names of its own classes and
    functions. Comments and docstrings are gone. It depends on the files and the seed alone. Vocabulary that a
    script puts together at run time are not followed.

    :param files: the text of each file by its name
    :raises SyntaxError: if a Python file does not parse
    """
    random = Random(f"paraphrase:{seed}")  # noqa: S311
    trees = {name: parse(text) for name, text in sorted(files.items()) if name.endswith(".py")}
    names = Vocabulary(trees.values(), random)
    for tree in trees.values():
        _drop_docstrings(tree)
        change_forms(tree, names, random)
        extract_helpers(tree, names, random)
        name_intermediates(tree, names, random)
        reorder(tree, random)
    rename(trees, names)
    written = {name: ast.unparse(ast.fix_missing_locations(tree)) + "\n" for name, tree in trees.items()}
    return {name: written.get(name, text) for name, text in files.items()}


def _drop_docstrings(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        if isinstance(
            node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        ) and ast.get_docstring(node, clean=False):
            node.body = node.body[1:] or [ast.Pass()]
