"""The assembler works with the packages that flake.nix gives it, and with nothing else of the project."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tomllib

import flake_file
import pytest
from conftest import REPOSITORY
from images.tiny import era
from own_venv import make_venv

from kit.core.store import Store
from kit.image.assemble import assemble
from kit.image.lock import read_lock

pytestmark = pytest.mark.network


@pytest.fixture(scope="module")
def nix_python(tmp_path_factory):
    """A Python with the packages of the flake."""
    return make_venv(tmp_path_factory.mktemp("nix") / "venv", *flake_file.packages()) / "bin" / "python"


@pytest.fixture
def build(tmp_path, nix_python):
    """Run Python statements as the flake does, in a folder where `source` holds `kit` and nothing else."""
    shutil.copytree(REPOSITORY / "kit", tmp_path / "source/kit", ignore=shutil.ignore_patterns("__pycache__"))
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": "source", "PYTHONDONTWRITEBYTECODE": "1"}

    def run(statements: str, *arguments: str) -> str:
        command = [nix_python, "-c", statements, *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_its_python_has_no_other_package_of_the_project(build):
    listed = "import importlib.metadata as m, json; print(json.dumps([d.name for d in m.distributions()]))"
    there = {name.lower() for name in json.loads(build(listed))}
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    needed = {re.match(r"[\w-]+", text)[0] for text in project["dependencies"]}
    assert there & needed == set(flake_file.packages())


def test_the_statements_of_the_flake_import(build):
    build(flake_file.imports())


def test_the_program_of_the_flake_makes_the_image(build, tmp_path):
    tiny = era(tmp_path / "tiny")
    (tmp_path / "store/blobs/sha256").mkdir(parents=True)
    for artifact in read_lock(tiny.spec).artifacts:
        shutil.copy(tiny.mirror / artifact.name, tmp_path / "store/blobs/sha256" / artifact.sha256)
    (tmp_path / "source/images/tiny").mkdir(parents=True)
    for name in ("image.toml", "lock.json"):
        shutil.copy(tiny.images / "tiny" / name, tmp_path / "source/images/tiny" / name)
    said = build(flake_file.script(), "tiny", "out")
    made = assemble("tiny", tiny.images, Store(tmp_path / "store"), tmp_path / "here")
    assert said == f"manifest sha256:{made.manifest}\n"
    assert made.manifest in (tmp_path / "out/index.json").read_text()
