"""The makers of sample bundles, run folders, tiny images and programs, for every test that needs one."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import settings

ASSETS = Path(__file__).parents[1] / "assets"
settings.register_profile("unit", deadline=timedelta(seconds=5))  # a busy machine is no fault of an example
settings.load_profile("unit")


def _load(name: str, file: str) -> ModuleType:
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ASSETS / file)
        assert spec is not None and spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture(scope="session")
def make() -> ModuleType:
    """The module that writes the assets: sample values, TEST-ONLY keys, faults."""
    return _load("bundle_assets_make", "bundles/make.py")


@pytest.fixture(scope="session")
def press() -> ModuleType:
    """The module that prints honest run folders."""
    return _load("bundle_press", "bundles/press.py")


@pytest.fixture(scope="session")
def cook() -> ModuleType:
    """The module that makes tiny packages and a tiny era."""
    return _load("tiny_images", "images/tiny.py")


@pytest.fixture
def kitchen(cook: ModuleType, tmp_path: Path) -> Any:
    """A folder to make packages in."""
    folder = tmp_path / "packages"
    folder.mkdir(exist_ok=True)
    return cook.Kitchen(folder)


@pytest.fixture
def tiny(cook: ModuleType, tmp_path: Path) -> Any:
    """An era with one deb and two wheels, locked but not yet promised."""
    return cook.era(tmp_path)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Put a shell script in front of the machine's programs, under a name; gives its path."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", os.pathsep.join((str(folder), os.environ["PATH"])))

    def put(name: str, script: str) -> Path:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
        return folder / name

    return put
