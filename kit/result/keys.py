"""
The key directory: the user's signing key, trusted public keys and the list of revoked keys.

    <folder>/own.key      the private key: PKCS #8 PEM, mode 0600; the directory has mode 0700
    <folder>/<name>.pem   trusted public keys; the user's own key is always trusted
    <folder>/revoked.json signed list of revoked keys, see `Trusted`
    <folder>/.lock        locked while the list of revoked keys is written

The private key is not encrypted: anyone who can read this user's files can sign as this user.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kit.core import locks
from kit.core.digest import Sha256, sha256_bytes
from kit.core.errors import PrerequisiteError, SignatureError, UsageError
from kit.core.extras import pip_install
from kit.core.files import NO_LINKS, disk_errors, make_folder, write_atomic
from kit.core.reading import open_file, unreadable
from kit.core.system import change_mode, user_id
from kit.core.text import in_shell
from kit.result.dsse import PAYLOAD_TYPE, Envelope, dump, low_s, pae
from kit.result.revocations import FILE, Revocation, read_revocations, revocation_statement

OWN = "own.key"
LOCK = ".lock"
MAX_PEM = 8192
"""Bytes that are read of a key file; a P-256 public key has 178."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An ECDSA P-256 public key."""

    key_id: Sha256
    """sha256 of the SubjectPublicKeyInfo in DER: `openssl pkey -pubin -outform DER | sha256sum`."""
    pem: bytes
    _key: ec.EllipticCurvePublicKey = field(repr=False, compare=False)

    def verify(self, signature: bytes, data: bytes) -> None:
        """Verify an ECDSA/SHA-256 signature; `dsse` checks DER and low S. Raises `SignatureError`."""
        try:
            self._key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature as e:
            raise SignatureError(
                f"invalid signature: it was not made by key {self.key_id[:12]} over these bytes"
            ) from e


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key. A `throwaway` key is not stored, so its signatures can never be trusted."""

    public: PublicKey
    throwaway: bool
    _key: ec.EllipticCurvePrivateKey = field(repr=False, compare=False)

    @property
    def key_id(self) -> Sha256:
        """Return the id of the public key."""
        return self.public.key_id

    def sign(self, data: bytes) -> bytes:
        """
        Return the deterministic signature over `data` (RFC 6979), DER with low S.

        Raises `PrerequisiteError` if this machine's OpenSSL is older than 3.2.
        """
        try:
            return low_s(self._key.sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True)))
        except UnsupportedAlgorithm as e:
            raise PrerequisiteError(
                "this build of cryptography does not support deterministic signatures",
                pip_install("--force-reinstall", "--only-binary=:all:", "cryptography"),
            ) from e


def seal(statement: bytes, signer: Signer) -> bytes:
    """Sign a statement and return the bundle's bytes. The content is not checked."""
    signature = signer.sign(pae(PAYLOAD_TYPE, statement))
    return dump(Envelope(statement, PAYLOAD_TYPE, signature, signer.key_id))


@dataclass(frozen=True, slots=True)
class Trusted:
    """
    The public keys that the reader trusts, and the revocations. A revoked key is not trusted.

    A revocation list is valid if one of the reader's keys signed it and that key is not revoked. It may
    revoke any key except the reader's own key, which only the own key may revoke. A revocation cannot be
    undone.
    """

    keys: tuple[PublicKey, ...]
    revoked: tuple[Revocation, ...] = ()
    own: Sha256 | None = None
    """Id of the reader's own key."""

    def get(self, key_id: str) -> PublicKey | None:
        """Return the key with this id, even if it is revoked; call `trusts` before relying on it."""
        return next((k for k in self.keys if k.key_id == key_id), None)

    def trusts(self, key_id: str) -> bool:
        """Tell whether the key with this id is trusted and not revoked."""
        return self.get(key_id) is not None and self.revocation(key_id) is None

    def revocation(self, key_id: str) -> Revocation | None:
        """Return the revocation of the key with this id, or None."""
        return next((r for r in self.revoked if r.key_id == key_id), None)

    def with_revocations(self, path: Path) -> Trusted:
        """
        Return the keys with the revocations of a list added; unchanged if the file does not exist.

        Raises `SignatureError` if the signer is not trusted or revoked, otherwise as `read_revocations`.
        """
        if not path.exists() and not path.is_symlink():
            return self
        found = read_revocations(path, self.get)
        if (by := self.revocation(found.signer)) is not None:
            raise SignatureError(f"{FILE} is signed by a revoked key: {found.signer} ({by.describe()})")
        may = (r for r in found.entries if r.key_id != self.own or found.signer == self.own)
        return replace(self, revoked=(*self.revoked, *(r for r in may if not self.revocation(r.key_id))))


def public_key(pem: bytes, where: str) -> PublicKey:
    """Parse a PEM public key. Raises `SignatureError` unless it is ECDSA P-256."""
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as e:
        raise SignatureError(
            f"{where}: not a PEM public key", "its owner prints it with: speedrun keys show"
        ) from e
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise SignatureError(f"{where}: not an ECDSA P-256 key")
    return _public(key)


def read_public(path: Path) -> PublicKey:
    """Read a PEM public key file. Raises `PrerequisiteError` if missing, `SignatureError` as `public_key`."""
    return public_key(
        _read(path, "get it from the key's owner, who prints it with: speedrun keys show"), str(path)
    )


def throwaway() -> Signer:
    """Create a key that is not stored."""
    return _signer(ec.generate_private_key(ec.SECP256R1()), throwaway=True)


def load_or_create(folder: Path) -> Signer:
    """
    Return the own key of a key directory; create both on first use.

    Raises `SignatureError` if other users can read or replace the key, or if it is not a P-256 key.
    """
    path = folder / OWN
    if not path.exists():
        _create(folder, path)
    return load(folder)


def load(folder: Path) -> Signer:
    """Return the own key. Raises `PrerequisiteError` if missing, `SignatureError` as `load_or_create`."""
    path = folder / OWN
    data = _read(path, "create a key: speedrun keys generate")
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
    Return the trusted keys of a key directory, the own key first; none if the directory does not exist.

    Raises `SignatureError` if all users may write the directory or one of its files, for an invalid key file,
    and for a revocation list that none of these keys signed.
    """
    found = tuple(entries(folder))
    own = next((key.key_id for path, key in found if path.name == OWN), None)
    keys = Trusted(tuple(key for _, key in found), own=own)
    if (folder / FILE).exists():
        _not_for_all(folder / FILE)
    return keys.with_revocations(folder / FILE)


def entries(folder: Path) -> Iterator[tuple[Path, PublicKey]]:
    """Yield each trusted key of a key directory with its file. Raises as `trusted`."""
    if not folder.is_dir():
        return
    _not_for_all(folder)
    if (folder / OWN).exists():
        yield folder / OWN, load(folder).public
    for path in sorted(folder.glob("*.pem")):
        _not_for_all(path)
        yield path, read_public(path)


def trust(folder: Path, pem: Path, name: str) -> Path:
    """Add a public key to a key directory as `<name>.pem`. Raises `UsageError` if the name is taken."""
    if not name or not all(c.isalnum() or c in "-_." for c in name) or name.startswith("."):
        raise UsageError(f"{name[:80]!r} is not a valid key name", "use letters, digits, '-', '_' and '.'")
    key = read_public(pem)
    path = folder / f"{name}.pem"
    if path.exists() and read_public(path).key_id != key.key_id:
        raise UsageError(
            f"{path} already contains a different key", "choose another --name, or remove the file first"
        )
    _folder(folder)
    write_atomic(path, key.pem)
    return path


def revoke(folder: Path, revocation: Revocation) -> Path:
    """
    Add a revocation to a key directory's list, sign the list with the own key and return its path.

    Raises `UsageError` if the key is already revoked, or if the own key is: a revoked key cannot sign a list.
    Raises as `load` and `trusted` do.
    """
    signer = load(folder)
    with _alone(folder):
        before = trusted(folder)
        if before.revocation(signer.key_id) is not None:
            raise UsageError(
                "your own key is revoked", f"remove {folder / OWN}, then: speedrun keys generate"
            )
        if before.revocation(revocation.key_id) is not None:
            raise UsageError(
                f"the key {revocation.key_id} is already revoked", "show all keys: speedrun keys list"
            )
        statement = revocation_statement((*before.revoked, revocation))
        write_atomic(folder / FILE, seal(statement, signer))
    return folder / FILE


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the key directory's lock, so that two revocations at once do not lose one."""
    with disk_errors(folder):
        lock = locks.acquire(folder / LOCK, wait=True)
    assert lock  # noqa: S101 - `wait=True` returns a lock or raises
    try:
        lock.note()
        yield
    finally:
        lock.release()


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
                change_mode(f.fileno(), Path(name), 0o600)
                f.write(pem)
                f.flush()
                os.fsync(f.fileno())
            # Link, do not rename: of two concurrent first uses, the second must not replace the first key.
            try:
                os.link(name, path)
            except OSError as e:
                if e.errno not in NO_LINKS:
                    raise
                with _alone(folder):
                    if not path.exists():
                        Path(name).rename(path)
        except FileExistsError:
            return
        finally:
            Path(name).unlink(missing_ok=True)


def _folder(folder: Path) -> None:
    make_folder(folder, 0o700)


def _require_private(path: Path, mode: int) -> None:
    status = path.stat()
    user = user_id()
    if user is None:
        return  # Windows: modes and owners say nothing
    if status.st_uid != user:
        raise SignatureError(
            f"{path} belongs to user {status.st_uid}", "use your own key directory: --keys DIR"
        )
    if stat.S_IMODE(status.st_mode) & ~mode:
        raise SignatureError(
            f"{path} is accessible to other users (mode {stat.S_IMODE(status.st_mode):04o})",
            f"if no other user has changed it: chmod {mode:o} {in_shell(path)}",
        )


def _not_for_all(path: Path) -> None:
    if user_id() is not None and path.stat().st_mode & stat.S_IWOTH:
        raise SignatureError(
            f"{path} is writable by all users", f"check the keys in it, then: chmod o-w {in_shell(path)}"
        )


def _read(path: Path, if_absent: str) -> bytes:
    try:
        with open_file(path) as f:
            return f.read(MAX_PEM)
    except FileNotFoundError as e:
        raise PrerequisiteError(f"key file not found: {path}", if_absent) from e
    except OSError as e:
        raise unreadable(path, e, "pass the path of a readable PEM file") from e


def _public(key: ec.EllipticCurvePublicKey) -> PublicKey:
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    der = key.public_bytes(serialization.Encoding.DER, kind)
    return PublicKey(sha256_bytes(der), key.public_bytes(serialization.Encoding.PEM, kind), key)


def _signer(key: ec.EllipticCurvePrivateKey, throwaway: bool) -> Signer:
    return Signer(_public(key.public_key()), throwaway, key)
