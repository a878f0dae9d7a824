"""The makers of sample bundles and run folders, for every test that needs one."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

BUNDLES = Path(__file__).parents[1] / "assets" / "bundles"


def _load(name: str, file: str) -> ModuleType:
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, BUNDLES / file)
        assert spec is not None and spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture(scope="session")
def make() -> ModuleType:
    """The module that writes the assets: sample values, TEST-ONLY keys, faults."""
    return _load("bundle_assets_make", "make.py")


@pytest.fixture(scope="session")
def press() -> ModuleType:
    """The module that prints honest run folders."""
    return _load("bundle_press", "press.py")
