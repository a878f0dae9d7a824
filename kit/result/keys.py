"""
Keys: an own one made on first use, others' public ones as PEM files in a folder. Judges no results.

    <folder>/own.key      the private key, PKCS #8 PEM, mode 0600; the folder has mode 0700
    <folder>/<name>.pem   public keys that this user trusts; the own key is always trusted

The private key is not encrypted: who can read this user's files can sign as this user.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kit.core.digest import Sha256, sha256_bytes
from kit.core.errors import PrerequisiteError, SignatureError, UsageError
from kit.core.files import disk_errors, write_atomic
from kit.result.dsse import PAYLOAD_TYPE, Envelope, dump, low_s, pae

OWN = "own.key"
MAX_PEM = 8192
"""Bytes of the largest key file that is read; a P-256 public key has 178."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An ECDSA P-256 public key."""

    key_id: Sha256
    """sha256 of the SubjectPublicKeyInfo in DER: `openssl pkey -pubin -outform DER | sha256sum`."""
    pem: bytes
    _key: ec.EllipticCurvePublicKey = field(repr=False, compare=False)

    def verify(self, signature: bytes, data: bytes) -> None:
        """Check an ECDSA/SHA-256 signature, not its spelling (DER, low S). Raises `SignatureError`."""
        try:
            self._key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature as e:
            raise SignatureError(f"the signature is not that of key {self.key_id}") from e


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key. `throwaway` ones are kept nowhere: what they sign cannot be trusted later."""

    public: PublicKey
    throwaway: bool
    _key: ec.EllipticCurvePrivateKey = field(repr=False, compare=False)

    @property
    def key_id(self) -> Sha256:
        """Return the public key's name."""
        return self.public.key_id

    def sign(self, data: bytes) -> bytes:
        """
        Return the signature over `data`, DER with low S, the same each time (RFC 6979).

        Raises `PrerequisiteError` if this machine's OpenSSL is older than 3.2.
        """
        try:
            return low_s(self._key.sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True)))
        except UnsupportedAlgorithm as e:
            raise PrerequisiteError(
                "this build of cryptography cannot make deterministic signatures",
                "install the wheel of cryptography, which brings its own OpenSSL",
            ) from e


def seal(statement: bytes, signer: Signer) -> bytes:
    """Return the bytes of the bundle in which `signer` states `statement`. What it says is not checked."""
    signature = signer.sign(pae(PAYLOAD_TYPE, statement))
    return dump(Envelope(statement, PAYLOAD_TYPE, signature, signer.key_id))


@dataclass(frozen=True, slots=True)
class Trusted:
    """The public keys that a reader trusts, by key id."""

    keys: tuple[PublicKey, ...]

    def get(self, key_id: str) -> PublicKey | None:
        """Return the key with this id."""
        return next((k for k in self.keys if k.key_id == key_id), None)


def public_key(pem: bytes, where: str) -> PublicKey:
    """Read a PEM public key. Raises `SignatureError` if it is anything but ECDSA P-256."""
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as e:
        raise SignatureError(f"{where}: not a PEM public key") from e
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise SignatureError(f"{where}: not an ECDSA P-256 key")
    return _public(key)


def read_public(path: Path) -> PublicKey:
    """Read a PEM public key file. Raises `PrerequisiteError` if absent, `SignatureError` as `public_key`."""
    return public_key(_read(path, "ask its owner for it, who prints it with: speedrun keys show"), str(path))


def throwaway() -> Signer:
    """Return a new key that is written nowhere."""
    return _signer(ec.generate_private_key(ec.SECP256R1()), throwaway=True)


def load_or_create(folder: Path) -> Signer:
    """
    Return the own key of a key folder, making both on first use.

    Raises `SignatureError` if others could read or replace the key, or if it is no P-256 key.
    """
    path = folder / OWN
    if not path.exists():
        _create(folder, path)
    return load(folder)


def load(folder: Path) -> Signer:
    """Return the own key. Raises `PrerequisiteError` if absent, `SignatureError` as `load_or_create`."""
    path = folder / OWN
    data = _read(path, "make a key with: speedrun keys generate")
    _require_private(folder, 0o700)
    _require_private(path, 0o600)
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as e:
        raise SignatureError(f"{path}: not an unencrypted PEM private key") from e
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise SignatureError(f"{path}: not an ECDSA P-256 key")
    return _signer(key, throwaway=False)


def trusted(folder: Path) -> Trusted:
    """
    Return the keys that a key folder trusts, the own one first; none if the folder does not exist.

    Raises `SignatureError` if everybody may write the folder or one of its key files, or for a bad file.
    """
    return Trusted(tuple(key for _, key in entries(folder)))


def entries(folder: Path) -> Iterator[tuple[Path, PublicKey]]:
    """Yield each trusted key of a key folder with the file that it stands in. Raises as `trusted`."""
    if not folder.is_dir():
        return
    _not_for_all(folder)
    if (folder / OWN).exists():
        yield folder / OWN, load(folder).public
    for path in sorted(folder.glob("*.pem")):
        _not_for_all(path)
        yield path, read_public(path)


def trust(folder: Path, pem: Path, name: str) -> Path:
    """Add a public key to a key folder as `<name>.pem` and return that path. Raises `UsageError` if taken."""
    if not name or not all(c.isalnum() or c in "-_." for c in name) or name.startswith("."):
        raise UsageError(f"{name[:80]!r} is no name for a key", "use letters, digits, '-', '_' and '.'")
    key = read_public(pem)
    path = folder / f"{name}.pem"
    if path.exists() and read_public(path).key_id != key.key_id:
        raise UsageError(f"{path} holds another key", "choose another --name, or remove that file first")
    _folder(folder)
    write_atomic(path, key.pem)
    return path


def _create(folder: Path, path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _folder(folder)
    with disk_errors(path):
        fd, name = tempfile.mkstemp(prefix=".own.", dir=folder)
        try:
            with os.fdopen(fd, "wb") as f:
                os.fchmod(f.fileno(), 0o600)
                f.write(pem)
                f.flush()
                os.fsync(f.fileno())
            # A link, not a rename: of two first uses at once, the second must not replace the first's key.
            os.link(name, path)
        except FileExistsError:
            return
        finally:
            Path(name).unlink()


def _folder(folder: Path) -> None:
    with disk_errors(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def _require_private(path: Path, mode: int) -> None:
    status = path.stat()
    if status.st_uid != os.geteuid():
        raise SignatureError(
            f"{path} belongs to user {status.st_uid}", "use a key folder of your own: --keys DIR"
        )
    if stat.S_IMODE(status.st_mode) & ~mode:
        raise SignatureError(
            f"{path} is open to other users (mode {stat.S_IMODE(status.st_mode):04o})",
            f"if nobody else has used it: chmod {mode:o} {path}",
        )


def _not_for_all(path: Path) -> None:
    if path.stat().st_mode & stat.S_IWOTH:
        raise SignatureError(
            f"{path} can be written by every user", f"check its keys, then: chmod o-w {path}"
        )


def _read(path: Path, if_absent: str) -> bytes:
    try:
        with path.open("rb") as f:
            return f.read(MAX_PEM)
    except FileNotFoundError as e:
        raise PrerequisiteError(f"{path} does not exist", if_absent) from e
    except OSError as e:
        raise PrerequisiteError(f"cannot read {path}: {e.strerror}") from e


def _public(key: ec.EllipticCurvePublicKey) -> PublicKey:
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    der = key.public_bytes(serialization.Encoding.DER, kind)
    return PublicKey(sha256_bytes(der), key.public_bytes(serialization.Encoding.PEM, kind), key)


def _signer(key: ec.EllipticCurvePrivateKey, throwaway: bool) -> Signer:
    return Signer(_public(key.public_key()), throwaway, key)
