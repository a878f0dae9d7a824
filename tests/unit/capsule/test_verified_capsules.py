"""`bundle verify` of a capsule: what `unpack` checks, of an archive and of a directory."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import tempfile

import pytest
from remake import manifests_anew, opened, signed_by, written

from kit.capsule import bag
from kit.capsule.receive import receive
from kit.capsule.verify import verify_capsule
from kit.cli import run as speedrun
from kit.core.bagit import is_bag
from kit.core.errors import DigestMismatch, IntegrityError, SignatureError
from kit.result.keys import Trusted, load_or_create


@pytest.fixture
def emptied(tmp_path, monkeypatch):
    """An empty directory for temporary files, checked at the end."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    yield place
    assert list(place.iterdir()) == []


@pytest.fixture
def extracted(workshop, honest, tmp_path):
    """The directory of an honest capsule."""
    return receive(honest, tmp_path / "there", workshop.trusted, workshop.own).capsule.root


def test_an_honest_archive_and_its_directory_are_accepted(workshop, honest, extracted, emptied):
    for path in (honest, extracted):
        assert is_bag(path)
        got = verify_capsule(path, workshop.trusted, workshop.own)
        assert got.accepted and got.received.signed.trusted and not got.received.replaced
    assert set(got.received.vouchers) == {bag.RUN_MD, *got.received.capsule.listed}


def test_an_archive_is_known_by_its_first_bytes_and_nothing_else_is_one(honest, tmp_path):
    other = tmp_path / "download"
    shutil.copyfile(honest, other)
    assert is_bag(other)
    (tmp_path / "result.json").write_bytes(b'{"mediaType":""}')
    assert not is_bag(tmp_path / "result.json") and not is_bag(tmp_path / "absent.tar")
    assert not is_bag(tmp_path) and not is_bag(tmp_path / ("x" * 300))


@pytest.mark.parametrize("path", ["data/run/guest.log", bag.RUN_MD, "data/records/03.toml"])
def test_a_changed_file_is_refused_as_by_unpack(workshop, honest, tmp_path, emptied, path):
    capsule = opened(honest)
    capsule[path] += b"\n"
    manifests_anew(capsule)
    file = written(capsule, tmp_path / "changed.tar")
    with pytest.raises(IntegrityError) as unpacked:
        receive(file, tmp_path / "new", workshop.trusted, workshop.own)
    with pytest.raises(type(unpacked.value)) as verified:
        verify_capsule(file, workshop.trusted, workshop.own)
    shown = unpacked.value.message.replace(f"{tmp_path}/", "")
    assert verified.value.message == re.sub(r"\.new-[^/]+/", "", shown)
    assert "temporary" not in verified.value.hint


def test_a_changed_layer_that_is_not_kept_is_refused(workshop, honest, tmp_path, emptied, monkeypatch):
    monkeypatch.setattr("kit.capsule.verify.MAX_DOCUMENT", 1 << 14)
    assert verify_capsule(honest, workshop.trusted, workshop.own).accepted
    data = bytearray(honest.read_bytes())
    layer = max((p for p in opened(honest).payload.items()), key=lambda item: len(item[1]))[1]
    data[data.index(layer) + len(layer) // 2] ^= 1
    (tmp_path / "bad.tar").write_bytes(data)
    with pytest.raises(DigestMismatch, match="checksum mismatch: data/image/blobs/"):
        verify_capsule(tmp_path / "bad.tar", workshop.trusted, workshop.own)


@pytest.mark.parametrize(
    ("path", "change", "kind", "message"),
    [
        ("data/image/index.json", lambda p: p.write_bytes(b"{}"), DigestMismatch, "mismatch: data/image"),
        ("data/runc/extra", lambda p: p.write_bytes(b""), DigestMismatch, "unexpected file .*extra"),
        ("data/runc/config.json", lambda p: p.unlink(), DigestMismatch, "data/runc/config.json is missing"),
        (bag.INFO, lambda p: p.write_bytes(b"x\n"), DigestMismatch, "tagmanifest-sha256.txt"),
        (bag.RUN_MD, lambda p: p.unlink(), DigestMismatch, "RUN.md is missing"),
        (bag.STATEMENT, lambda p: p.unlink(), DigestMismatch, "tagmanifest-sha256.txt"),
        ("data/run/link", lambda p: p.symlink_to("/etc/passwd"), IntegrityError, "neither a plain file"),
    ],
)  # fmt: skip
def test_a_changed_directory_is_refused(workshop, extracted, path, change, kind, message):
    place = extracted / path
    if place.exists():
        place.chmod(0o644)
    change(place)
    with pytest.raises(kind, match=message):
        verify_capsule(extracted, workshop.trusted, workshop.own)


def test_a_directory_whose_manifests_were_made_anew_is_unsigned(workshop, extracted):
    for name in bag.SIGNED:
        (extracted / name).unlink()
    tags = {n: (extracted / n).read_bytes() for n in bag.TAG_FILES}
    (extracted / bag.TAG_MANIFEST).chmod(0o644)
    (extracted / bag.TAG_MANIFEST).write_bytes(bag.tag_manifest(tags))
    with pytest.raises(SignatureError, match=r"capsule\.json is missing"):
        verify_capsule(extracted, workshop.trusted, workshop.own)


def test_a_directory_with_replaced_files_is_judged_by_its_result(workshop, honest, tmp_path):
    capsule = opened(honest)
    capsule["data/runc/config.json"] += b"\n"
    manifests_anew(capsule)
    signed_by(load_or_create(workshop.places.keys))(capsule)
    file = written(capsule, tmp_path / "edited.tar")
    by_file = verify_capsule(file, workshop.trusted, workshop.own)
    assert [f.path for f in by_file.received.replaced] == ["data/runc/config.json"]
    there = receive(file, tmp_path / "there", workshop.trusted, workshop.own).capsule.root
    got = verify_capsule(there, workshop.trusted, workshop.own)
    assert got.accepted and got.received is None
    assert not verify_capsule(there, Trusted(()), workshop.own).accepted


@pytest.fixture
def asked(workshop, capsys):
    """Run `bundle verify` with some trusted keys; return exit code, stdout, stderr."""

    def run(*arguments, keys=()):
        trusted = workshop.base / f"readers-{len(keys)}"
        trusted.mkdir(exist_ok=True)
        for key in keys:
            (trusted / f"{key.key_id[:12]}.pem").write_bytes(key.pem)
        code = speedrun(["bundle", "verify", *map(str, arguments), "--keys", str(trusted)])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


def test_the_command_says_what_it_checked_and_who_vouches(asked, workshop, honest, emptied):
    code, out, err = asked(honest, keys=(workshop.signer, workshop.packer))
    assert code == 0 and "ok; capsule; key" in out
    assert (
        err.count("  checked: ") == 5
        and "checked: the packer's signature" in err
        and "packed by a trusted key" in err
    )
    assert "vouched for by the packer only: images/tiny/digest" in err


def test_an_untrusted_packer_gives_1_and_says_what_to_do(asked, workshop, honest, emptied):
    code, out, err = asked(honest, keys=(workshop.signer,))
    assert code == 1 and "packed by an untrusted key" in err and "hint: ask the packer" in err
    code, out, err = asked(honest, "--json")
    (answer,) = json.loads(out)["results"]
    assert (code, answer["kind"], answer["trusted"]) == (1, "capsule", False)
    assert answer["packer"] == {"key_id": workshop.packer.key_id, "trusted": False}
    assert answer["parts"]["data/run/guest.log"] == "result"


def test_bundle_only_is_not_for_a_capsule_and_a_compressed_one_says_so(asked, honest, tmp_path):
    code, _, err = asked(honest, "--bundle-only")
    assert code == 2 and "--bundle-only is for a result.json" in err
    packed = tmp_path / "x.tar.gz"
    packed.write_bytes(gzip.compress(honest.read_bytes()[:4096]))
    code, _, err = asked(packed)
    assert code == 4 and "is compressed" in err and "decompress it" in err
    (tmp_path / "empty.tar").touch()
    assert asked(tmp_path / "empty.tar")[0] == 4
    assert asked(tmp_path / "absent.tar")[0] == 3
