"""flake.nix runs a few lines of Python: they name modules and functions that exist."""

from __future__ import annotations

import ast
import importlib

import flake_file


def test_the_imports_of_the_flake_name_modules_and_what_is_in_them():
    found = [node for node in ast.walk(ast.parse(flake_file.script())) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in found if str(node.module).startswith("kit.")]
    assert len(ours) == len(flake_file.imports().splitlines()) == 2
    for node in ours:
        module = importlib.import_module(str(node.module))
        assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)


def test_the_flake_names_the_packages_of_its_python():
    assert {"installer", "jsonschema"} <= set(flake_file.packages())
