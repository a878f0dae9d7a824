"""How a benchmark ends when the kit refuses: like its commands."""

from __future__ import annotations

import sys

from kit.cli import EXIT_CODES
from kit.core.errors import KitError


def refused(error: KitError) -> int:
    """Print the error and its hint, and return the exit code that the kit has for it."""
    print(f"error: {error.message}" + (f"\nhint: {error.hint}" if error.hint else ""), file=sys.stderr)
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), 5)
