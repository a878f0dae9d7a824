"""Import a Python file by its path: an example of a guide, a script, or a maker of assets."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def load_file(name: str, path: Path) -> ModuleType:
    """Run a file as the module `name`, and return the module; each call runs it again."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, path
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_once(name: str, path: Path) -> ModuleType:
    """Return the module `name`, and run its file if that has not been done."""
    return sys.modules[name] if name in sys.modules else load_file(name, path)
