"""What to do about a result whose key the reader does not trust."""

from __future__ import annotations

from pathlib import Path

from kit.cli.terminal import note
from kit.result.folder import SIGNER


def distrust(folder: Path) -> None:
    """Say how to trust the key beside a result, which its reader does not trust."""
    note(f"  try: compare the key's id with what its owner says, then: speedrun keys trust {folder / SIGNER}")
