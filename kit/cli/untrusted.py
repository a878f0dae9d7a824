"""Say whether a signer is trusted, and what to do if not."""

from __future__ import annotations

from pathlib import Path

from kit.cli.terminal import note
from kit.core.text import in_shell
from kit.result.folder import SIGNER
from kit.result.verify import VerifiedBundle


def trust_word(bundle: VerifiedBundle) -> str:
    """Return `trusted`, `NOT TRUSTED` or `REVOKED` with the reason."""
    if bundle.revoked is not None:
        return f"REVOKED: {bundle.revoked.describe()}"
    return "trusted" if bundle.trusted else "NOT TRUSTED"


def distrust(folder: Path, revoked: bool = False) -> None:
    """Print a hint for a result that is signed by an untrusted key."""
    if revoked:
        note("hint: ask the signer for a result that is signed with another key")
        return
    note(f"hint: compare the key id with the signer, then: speedrun keys trust {in_shell(folder / SIGNER)}")
