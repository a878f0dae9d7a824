"""Say on other platforms than Linux on x86-64 which commands work there."""

from __future__ import annotations

import platform

import click

from kit.core.errors import PrerequisiteError

EVERYWHERE = (
    "bundle verify",
    "bundle show",
    "score",
    "report",
    "series",
    "log parse",
    "task export",
    "check",
    "submit check",
    "unpack",
)
"""Commands that work on every platform."""
_SYSTEMS = {"Darwin": "macOS"}


def require_run_platform(command: str) -> None:
    """Raise `PrerequisiteError` unless runs work on this platform: the images are for Linux on x86-64."""
    system, machine = platform.system(), platform.machine()
    if system == "Linux" and machine.lower() not in ("arm64", "aarch64"):
        return
    root = click.get_current_context().find_root()
    known = root.command.list_commands(root) if isinstance(root.command, click.Group) else []
    works = ", ".join(name for name in EVERYWHERE if name.split()[0] in known)
    raise PrerequisiteError(
        f"`{command}` needs Linux on x86-64; this is {_SYSTEMS.get(system, system or 'unknown')} on"
        f" {machine or 'unknown'}",
        f"these commands work here: {works}",
    )
