"""The command that installs an optional extra of this kit, which is on no package index."""

from __future__ import annotations

import importlib.metadata
import shlex
import sys
from pathlib import Path

from kit.core.facts import PACKAGE

DISTRIBUTION = "speedrun-kit"


def install_command(extra: str, root: Path = PACKAGE.parent) -> str:
    """
    Return the command that installs `extra`: from the checkout, or what a wheel's metadata requires.

    It names the running interpreter, so that it works where no virtual environment is active.
    """
    pip = f"{shlex.quote(_short(Path(sys.executable)))} -m pip install"
    if (root / "pyproject.toml").is_file():
        return f"{pip} -e '{_short(root)}[{extra}]'"
    return f"{pip} {' '.join(map(shlex.quote, _required(extra)))}"


def _required(extra: str) -> list[str]:
    lines = importlib.metadata.requires(DISTRIBUTION) or []
    parted = [line.partition(";") for line in lines]
    marker = f"extra=='{extra}'"
    return [name.strip() for name, _, said in parted if said.replace(" ", "").replace('"', "'") == marker]


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
