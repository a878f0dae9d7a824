"""
NVIDIA Container Toolkit: the installed version and its known container escapes.

No guest uses the toolkit. Other containers of a machine may: `speedrun doctor --container-toolkit`.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass

from kit.core.version import Version, parse

COMMAND = "nvidia-ctk"
BULLETIN = "https://nvidia.custhelp.com/app/answers/detail/a_id/"
PACKAGE = "nvidia-container-toolkit"


@dataclass(frozen=True, slots=True)
class KnownEscape:
    """A container escape that a version of the toolkit fixed."""

    cve: str
    fixed_in: Version
    source: str
    """NVIDIA's security bulletin."""


ESCAPES = (
    KnownEscape("CVE-2024-0132", (1, 16, 2), f"{BULLETIN}5582"),
    KnownEscape("CVE-2025-23359", (1, 17, 4), f"{BULLETIN}5616"),
    KnownEscape("CVE-2025-23266", (1, 17, 8), f"{BULLETIN}5659"),
    KnownEscape("CVE-2025-23267", (1, 17, 8), f"{BULLETIN}5659"),
    KnownEscape("CVE-2026-24260", (1, 19, 1), f"{BULLETIN}5850"),
)
"""CVE-2025-23359 is a bypass of the fix of CVE-2024-0132."""


def open_escapes(version: Version) -> tuple[KnownEscape, ...]:
    """Return the known escapes that `version` does not fix."""
    return tuple(e for e in ESCAPES if version < e.fixed_in)


def safe_version() -> Version:
    """Return the first version without a known escape."""
    return max(e.fixed_in for e in ESCAPES)


def installed() -> Version | None:
    """Return the version that `nvidia-ctk` reports; None if it is missing or fails."""
    try:
        done = subprocess.run([COMMAND, "--version"], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_output(done.stdout)


def parse_output(output: str) -> Version | None:
    """
    Return the version in the output of `nvidia-ctk --version`, or None.

    A release candidate (`1.17.8-rc.1`) counts as the version before, because it can lack the fix. A candidate
    of `1.18.0` counts as `1.18`, which sorts before 1.18.0 and after every 1.17.
    """
    match = re.search(r"version (\d+\.\d+\.\d+)(-rc\S*)?", output)
    if match is None:
        return None
    version = parse(match[1])
    if version is None or not match[2]:
        return version
    return (*version[:-1], version[-1] - 1) if version[-1] else version[:-1]
