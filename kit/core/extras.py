"""Commands that install what is missing, as they work from where the user stands. This kit is on no index."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from kit.core.facts import PACKAGE
from kit.core.text import in_shell

DISTRIBUTION = "speedrun-kit"
_MANAGERS = {
    "apt-get": ("install -y --no-install-recommends", "install --only-upgrade"),
    "dnf": ("install -y", "upgrade"),
    "zypper": ("install -y", "update"),
    "pacman": ("-S", "-S"),
    "apk": ("add", "add --upgrade"),
}
"""Package managers, with the arguments that install and upgrade a package."""


def install_command(extra: str, root: Path = PACKAGE.parent) -> str:
    """
    Return the command that installs `extra`: from the checkout, or what a wheel's metadata requires.

    It names the running interpreter, so that it works where no virtual environment is active.
    """
    if _is_checkout(root):
        return pip_install("-e", f"{_short(root)}[{extra}]")
    return pip_install(*_required(extra))


def pip_install(*arguments: str) -> str:
    """Return the command that installs packages of an index into the running interpreter."""
    return in_shell(_short(Path(sys.executable)), "-m", "pip", "install", *arguments)


def reinstall_command(root: Path = PACKAGE.parent) -> str:
    """Return how to install this kit again: from the checkout, or from the wheel that the user has."""
    if _is_checkout(root):
        return pip_install("-e", _short(root))
    return f"{pip_install('--force-reinstall')} WHEEL, with the wheel file of speedrun-kit"


def system_install(package: str, upgrade: bool = False) -> str:
    """
    Return the command that installs a package of this system, or upgrades it.

    Names the package manager that is installed; without a known one, says what to install.
    """
    for program, (install, update) in _MANAGERS.items():
        if shutil.which(program):
            command = f"{program} {update if upgrade else install} {package}"
            return command if os.geteuid() == 0 else f"as root: {command}"
    return f"{'upgrade' if upgrade else 'install'} {package} with this system's package manager"


def _is_checkout(root: Path) -> bool:
    return (root / "pyproject.toml").is_file()


def _required(extra: str) -> list[str]:
    import importlib.metadata

    lines = importlib.metadata.requires(DISTRIBUTION) or []
    parted = [line.partition(";") for line in lines]
    marker = f"extra=='{extra}'"
    return [name.strip() for name, _, said in parted if said.replace(" ", "").replace('"', "'") == marker]


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
