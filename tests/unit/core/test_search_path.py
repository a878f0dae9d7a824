"""A file with the name of a module of the standard library is not imported in its place."""

from __future__ import annotations

import datetime
import importlib.util
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kit.capsule.wheels import _pip
from kit.core.errors import PrerequisiteError
from kit.image import index, pip_settings
from kit.sandbox.runtime.hostimage import require_torch
from kit.sandbox.watchdog import watchdog

CONSOLE_SCRIPT = "import sys; from kit.cli import main; main(sys.argv[1:])"
ROOT = Path(__file__).parents[3]


def lay_foreign(folder, loaded):
    """Write a file for every module of the standard library that is not imported with `loaded`."""
    code = f"import {loaded}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for name in sys.stdlib_module_names - {*done.stdout.split(), "__future__"}:
        if not name.startswith("_") and importlib.util.find_spec(name):
            (folder / f"{name}.py").write_text(f"raise SystemExit('imported {name}.py of another')\n")
    assert {"json.py", "enum.py", "pathlib.py", "math.py"} <= set(os.listdir(folder))
    return folder


@pytest.fixture
def foreign(tmp_path):
    return lay_foreign(tmp_path, "sys")


@pytest.mark.parametrize("argv", [["--version"], ["record", "show", "3", "--json"], ["task", "show", "3"]])
@pytest.mark.parametrize("place", ["PYTHONPATH", "the current directory"])
def test_a_command_imports_the_standard_library(foreign, place, argv, tmp_path_factory):
    cwd = foreign if place != "PYTHONPATH" else tmp_path_factory.mktemp("empty")
    named = [str(foreign)] if place == "PYTHONPATH" else []
    done = subprocess.run(
        [sys.executable, "-c", CONSOLE_SCRIPT, *argv],
        env={"HOME": str(cwd), "PYTHONPATH": os.pathsep.join([*named, str(ROOT)])},
        cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_the_watchdog_imports_the_standard_library(monkeypatch, tmp_path):
    foreign = lay_foreign(tmp_path, "sys, runpy")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(foreign), str(ROOT)]))
    with watchdog(["host", str(tmp_path), "r03-20260101T000000Z-00000000"]):
        pass  # it would raise an error if the process had not answered


def torch_of_a_python_without_torch():
    with pytest.raises(PrerequisiteError, match="has no torch"):
        require_torch(Path(sys.executable))


def wheels_without_an_index():
    with pytest.raises(PrerequisiteError):
        index.offers(("numpy==1.0",), "3.11", closure=False)


def pins_without_uv(monkeypatch, tmp_path):
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "uv" or found(name))
    with pytest.raises(PrerequisiteError):
        index.pins_before(("numpy",), "3.11", datetime.date(2025, 1, 1))


@pytest.mark.filterwarnings("ignore:Setuptools is replacing distutils")
@pytest.mark.parametrize(
    "start",
    [
        torch_of_a_python_without_torch,
        wheels_without_an_index,
        pip_settings._read.__wrapped__,
        lambda: _pip("config", "list"),
        pins_without_uv,
    ],
    ids=["torch", "wheels", "settings", "wheels of a capsule", "uv"],
)
def test_another_python_imports_nothing_of_the_working_directory(start, tmp_path, monkeypatch):
    for name in ("pip", "uv", "torch", "contextlib", "json", "logging"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write('{name} ')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    given = {"monkeypatch": monkeypatch, "tmp_path": tmp_path, "env": ()}
    start(**{name: given[name] for name in inspect.signature(start).parameters})
    assert not (tmp_path / "ran").exists()


def test_other_modules_are_found_where_they_were(tmp_path):
    (tmp_path / "click.py").write_text("raise SystemExit('the one that the user named')\n")
    done = subprocess.run(
        [sys.executable, "-c", CONSOLE_SCRIPT, "--version"],
        env={"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}, cwd=tmp_path,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == "the one that the user named\n"
