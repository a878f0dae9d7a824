"""How a signer is named, and what to do about a result whose key the reader does not trust."""

from __future__ import annotations

from pathlib import Path

from kit.cli.terminal import note
from kit.result.folder import SIGNER
from kit.result.verify import VerifiedBundle


def trust_word(bundle: VerifiedBundle) -> str:
    """Return whether the signer's key is trusted, in words that stand out if it is not."""
    if bundle.revoked is not None:
        return f"REVOKED: {bundle.revoked.describe()}"
    return "trusted" if bundle.trusted else "NOT TRUSTED"


def distrust(folder: Path, revoked: bool = False) -> None:
    """Say what to do about the key beside a result, which its reader does not trust."""
    if revoked:
        note("  try: ask the signer for a result that is signed with another key")
        return
    note(f"  try: compare the key's id with what its owner says, then: speedrun keys trust {folder / SIGNER}")
