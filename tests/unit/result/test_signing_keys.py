"""Key files: who may read them, what they may hold, what they sign."""

import os
import stat
from dataclasses import replace

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from kit.core.errors import PrerequisiteError, SignatureError, UsageError
from kit.result import keys


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "config" / "keys"


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


def private_pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_pem(key):
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def test_a_key_is_made_on_first_use_for_its_owner_alone(folder, umask):
    first = keys.load_or_create(folder)
    assert keys.load_or_create(folder).key_id == first.key_id
    assert (mode(folder / "own.key"), mode(folder)) == (0o600, 0o700)
    assert [p.name for p in folder.iterdir()] == ["own.key"]
    assert not first.throwaway


def test_a_first_use_that_lost_the_race_takes_the_winners_key(folder):
    winner = keys.load_or_create(folder)
    keys._create(folder, folder / "own.key")
    assert keys.load_or_create(folder).key_id == winner.key_id
    assert [p.name for p in folder.iterdir()] == ["own.key"]


@pytest.mark.parametrize("bits", [0o040, 0o004, 0o020, 0o002])
@pytest.mark.parametrize("what", ["key", "folder"])
def test_a_key_that_others_could_use_or_replace_is_refused_with_the_fix(folder, bits, what):
    keys.load_or_create(folder)
    path = folder if what == "folder" else folder / "own.key"
    path.chmod(mode(path) | bits)
    with pytest.raises(SignatureError, match="accessible to other users") as caught:
        keys.load_or_create(folder)
    assert caught.value.hint.endswith(f"chmod {'700' if what == 'folder' else '600'} {path}")


def test_a_key_of_another_user_is_refused(folder, monkeypatch):
    keys.load_or_create(folder)
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    with pytest.raises(SignatureError, match="belongs to user"):
        keys.load(folder)


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"not a key",
        private_pem(ec.generate_private_key(ec.SECP384R1())),
        private_pem(ec.generate_private_key(ec.SECP256K1())),
        private_pem(ed25519.Ed25519PrivateKey.generate()),
    ],
    ids=["empty", "text", "P-384", "secp256k1", "Ed25519"],
)
def test_only_p256_signs(folder, pem):
    keys.load_or_create(folder)
    (folder / "own.key").write_bytes(pem)
    with pytest.raises(SignatureError):
        keys.load(folder)


def test_an_encrypted_key_is_refused_not_asked_for(folder):
    keys.load_or_create(folder)
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (folder / "own.key").write_bytes(pem)
    with pytest.raises(SignatureError, match="unencrypted"):
        keys.load(folder)


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        private_pem(ec.generate_private_key(ec.SECP256R1())),
        public_pem(ec.generate_private_key(ec.SECP384R1()).public_key()),
        public_pem(ed25519.Ed25519PrivateKey.generate().public_key()),
    ],
    ids=["empty", "private", "P-384", "Ed25519"],
)
def test_only_public_p256_keys_are_trusted(tmp_path, folder, pem):
    (tmp_path / "theirs.pem").write_bytes(pem)
    with pytest.raises(SignatureError):
        keys.trust(folder, tmp_path / "theirs.pem", "theirs")
    assert not folder.exists()


def test_trusted_keys_are_the_own_one_and_the_pem_files(tmp_path, folder):
    own, theirs = keys.load_or_create(folder), keys.throwaway()
    (tmp_path / "theirs.pem").write_bytes(theirs.public.pem)
    path = keys.trust(folder, tmp_path / "theirs.pem", "them")
    assert path == folder / "them.pem"
    assert [k.key_id for k in keys.trusted(folder).keys] == [own.key_id, theirs.key_id]
    assert keys.trusted(folder).get(theirs.key_id) == theirs.public
    assert keys.trusted(folder).get("0" * 64) is None


def test_no_folder_means_no_trust(folder):
    assert keys.trusted(folder).keys == ()


def test_a_name_that_is_taken_by_another_key_is_not_overwritten(tmp_path, folder):
    for name in ("one", "two"):
        (tmp_path / f"{name}.pem").write_bytes(keys.throwaway().public.pem)
    keys.trust(folder, tmp_path / "one.pem", "them")
    keys.trust(folder, tmp_path / "one.pem", "them")
    with pytest.raises(UsageError, match="a different key"):
        keys.trust(folder, tmp_path / "two.pem", "them")


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a b"])
def test_a_name_cannot_leave_the_key_folder(tmp_path, folder, name):
    (tmp_path / "one.pem").write_bytes(keys.throwaway().public.pem)
    with pytest.raises(UsageError, match="not a valid key name"):
        keys.trust(folder, tmp_path / "one.pem", name)


@pytest.mark.parametrize("what", ["folder", "file"])
def test_a_world_writable_key_directory_is_refused(tmp_path, folder, what):
    (tmp_path / "one.pem").write_bytes(keys.throwaway().public.pem)
    path = keys.trust(folder, tmp_path / "one.pem", "them")
    chosen = folder if what == "folder" else path
    chosen.chmod(mode(chosen) | 0o002)
    with pytest.raises(SignatureError, match="all users"):
        keys.trusted(folder)


def test_a_missing_key_says_how_to_make_one(folder):
    with pytest.raises(PrerequisiteError) as caught:
        keys.load(folder)
    assert "speedrun keys generate" in caught.value.hint


def test_a_missing_public_key_says_who_has_it(folder, tmp_path):
    with pytest.raises(PrerequisiteError) as caught:
        keys.trust(folder, tmp_path / "theirs.pem", "them")
    assert "get it from the key's owner" in caught.value.hint


def test_signatures_are_deterministic_low_and_true():
    from kit.result.dsse import low_s

    signer = keys.throwaway()
    signature = signer.sign(b"data")
    assert signature == signer.sign(b"data") == low_s(signature)
    signer.public.verify(signature, b"data")
    with pytest.raises(SignatureError, match="invalid signature"):
        signer.public.verify(signature, b"other data")


class OlderOpenSSL:
    """A private key of a build that knows no RFC 6979."""

    def sign(self, data, algorithm):
        raise UnsupportedAlgorithm("ECDSA with deterministic signature (RFC 6979) is not supported")


def test_a_build_that_cannot_sign_the_same_twice_signs_nothing():
    signer = replace(keys.throwaway(), _key=OlderOpenSSL())
    with pytest.raises(PrerequisiteError, match="does not support deterministic signatures") as caught:
        signer.sign(b"data")
    assert "--force-reinstall --only-binary=:all: cryptography" in caught.value.hint


def test_throwaway_keys_are_marked_and_differ():
    one, two = keys.throwaway(), keys.throwaway()
    assert one.throwaway
    assert one.key_id != two.key_id


def test_a_private_key_does_not_show_in_its_repr(folder):
    signer = keys.load_or_create(folder)
    assert "PRIVATE" not in repr(signer)
    assert "_key" not in repr(signer)
