"""What flake.nix says of the assembler: the packages that its Python has, and the statements that it runs."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

FLAKE = Path(__file__).resolve().parents[2] / "flake.nix"


def packages() -> tuple[str, ...]:
    """Return the names in `withPackages (p: [ p.one p.two ])`."""
    (listed,) = re.findall(r"withPackages \(p: \[ (.*?) \]\)", FLAKE.read_text())
    return tuple(name.removeprefix("p.") for name in listed.split())


def script() -> str:
    """Return the program between the quotes of `python3 -c '...'`. It takes an era and a new folder."""
    (text,) = re.findall(r"python3 -c '\n(.*?)\n *' \$\{era\} \$out\n", FLAKE.read_text(), re.DOTALL)
    return textwrap.dedent(text) + "\n"


def imports() -> str:
    """Return the statements of the program that import modules of kit, one a line."""
    return "\n".join(re.findall(r"^from kit\b.*", script(), re.MULTILINE))
