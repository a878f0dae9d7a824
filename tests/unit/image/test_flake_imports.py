"""flake.nix runs a few lines of Python: they name modules and functions that exist."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import flake_file

REPOSITORY = Path(__file__).parents[3]


def test_the_imports_of_the_flake_name_modules_and_what_is_in_them():
    found = [node for node in ast.walk(ast.parse(flake_file.script())) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in found if str(node.module).startswith("kit.")]
    assert len(ours) == len(flake_file.imports().splitlines()) == 2
    for node in ours:
        module = importlib.import_module(str(node.module))
        assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)


def test_the_flake_names_the_packages_of_its_python():
    assert {"installer", "jsonschema"} <= set(flake_file.packages())


def test_the_assembler_imports_no_other_package_of_the_project():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    needed = {re.match(r"[\w-]+", text)[0] for text in project["dependencies"]}
    absent = sorted(needed - set(flake_file.packages()))
    assert {"click", "packaging", "tenacity"} <= set(absent)
    statements = f"import sys\nsys.modules.update(dict.fromkeys({absent!r}))\n{flake_file.imports()}"
    done = subprocess.run([sys.executable, "-c", statements], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
