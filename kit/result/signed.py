"""Find the key that a signed document names."""

from __future__ import annotations

from pathlib import Path

from kit.core.errors import SignatureError
from kit.result import folder
from kit.result.keys import PublicKey, Trusted


def find_key(document: Path, hint: str, trusted: Trusted) -> tuple[PublicKey, bool]:
    """
    Return the key that a document names, and whether the reader trusts it.

    A revoked key, and a key that is known only from `signer.pem` next to the document, is not trusted. Raises
    `SignatureError` if the key is in neither place.
    """
    key = trusted.get(hint)
    if key is not None:
        return key, trusted.trusts(hint)
    beside = folder.signer_beside(document, hint)
    if beside is not None:
        return beside, False
    alone = folder.is_alone(document) and document.name == folder.BUNDLE
    then = f"bundle verify {document} --key FILE --bundle-only" if alone else "keys trust FILE"
    raise SignatureError(
        f"untrusted key {hint[:80]!r}, and {folder.SIGNER} next to the bundle is missing or another key",
        f"get the public key directly from the signer, then: speedrun {then}",
    )
