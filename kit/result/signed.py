"""How every signed document of the kit is read, and whose key it names. Looks at nothing that is in it."""

from __future__ import annotations

import stat
from pathlib import Path

from kit.core.errors import PrerequisiteError, SchemaError, SignatureError
from kit.result import dsse, folder
from kit.result.keys import PublicKey, Trusted


def read_file(path: Path) -> bytes:
    """
    Return the bytes of a file that may be a signed document.

    Raises `PrerequisiteError` if it cannot be read, `SchemaError` if it is not a regular file or larger than
    `dsse.MAX_BUNDLE`.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise SchemaError(f"{path} is not a regular file")
        with path.open("rb") as f:
            data = f.read(dsse.MAX_BUNDLE + 1)
    except OSError as e:
        raise PrerequisiteError(f"cannot read {path}: {e.strerror}") from e
    if len(data) > dsse.MAX_BUNDLE:
        raise SchemaError(f"{path} is larger than {dsse.MAX_BUNDLE} bytes")
    return data


def find_key(document: Path, hint: str, trusted: Trusted) -> tuple[PublicKey, bool]:
    """
    Return the key that a document names, and whether the reader trusts it.

    He does not if it only lies beside, or was revoked. Raises `SignatureError` if it does not even lie there.
    """
    key = trusted.get(hint)
    if key is not None:
        return key, trusted.trusts(hint)
    beside = folder.signer_beside(document, hint)
    if beside is not None:
        return beside, False
    raise SignatureError(
        f"no key with the id {hint[:80]!r} is trusted, and {folder.SIGNER} beside the bundle is not it",
        "ask the signer for the public key, then: speedrun keys trust FILE",
    )
