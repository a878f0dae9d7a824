"""Each error has the right class, and its message names what is wrong."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from pathlib import Path

import pytest

from kit.benchmark.records.upstream import CloneFile
from kit.capsule.unpack import unpack
from kit.core.errors import (
    DigestMismatch,
    IntegrityError,
    PrerequisiteError,
    RunError,
    SchemaError,
    SignatureError,
    UsageError,
)
from kit.core.facts import facts_root
from kit.core.files import disk_errors
from kit.core.schema import MAX_DOCUMENT, parse_toml, read_json, validate
from kit.core.store import Artifact, FolderFetcher
from kit.data import shard
from kit.data.dataset import load_dataset
from kit.data.fetch import fetch
from kit.data.markov import Language
from kit.data.synth import load_smoke
from kit.evaluate import recovery as lost
from kit.evaluate.request import Request
from kit.image.digest import digest_path, read_identity
from kit.image.fetch import AptFetcher, PipFetcher, PoolFetcher, SnapshotFetcher
from kit.image.lock import lock_path, read_lock
from kit.image.spec import read_spec
from kit.leaderboard.submit import entry
from kit.result import dsse, folder, keys, verify
from kit.sandbox.runtime import hostimage, runc
from kit.score.rows import read_table
from kit.series.run import SeriesRequest, plan_arms
from kit.values import logread
from kit.values.profile import Profile
from kit.values.run_spec import ImageRef, RunSpec, RuntimeName

RECORDS = facts_root() / "records"
ASKED = Request(3, Profile.SMOKE)
ARTIFACT = Artifact("x", 1, "0" * 64)
SPEC = RunSpec("r03-20260101T000000Z-00000000", None, Path(), ("true",), ())


def large(path: Path, size: int) -> Path:
    """A file that takes no room."""
    path.touch()
    os.truncate(path, size)
    return path


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def promised(tmp: Path, data: bytes, more: bytes = b""):
    """Read an era's lock with `more` in front of it, and a digest that says something else than it should."""
    (tmp / "cpu").mkdir()
    for name in ("image.toml", "lock.json"):
        (tmp / "cpu" / name).write_bytes((facts_root() / "images" / "cpu" / name).read_bytes())
    spec = read_spec(tmp, "cpu")
    lock_path(spec).write_bytes(more + lock_path(spec).read_bytes())
    digest_path(spec).write_bytes(data)
    read_identity(spec, read_lock(spec))


def with_dataset(tmp: Path, old: str, new: str) -> Path:
    text = (RECORDS / "fineweb10B.toml").read_text().replace(old, new)
    (tmp / "fineweb10B.toml").write_text(text)
    return tmp


def no_runc(patch: pytest.MonkeyPatch, answer: str | None) -> None:
    patch.setattr(runc.shutil, "which", lambda name, path=None: answer)
    runc._version.cache_clear()


REFUSALS = {
    "a document beyond the limit": (
        SchemaError, "larger than",
        lambda t: read_json(large(t / "x", 65 << 20)),
    ),
    "a device for a document": (SchemaError, "larger than", lambda t: read_json(Path("/dev/zero"))),
    "a device for a log": (
        PrerequisiteError, "is larger than", lambda t: logread.read_log(Path("/dev/zero")),
    ),
    "a lock that is too large": (
        SchemaError, "larger than", lambda t: promised(t, b"", b" " * MAX_DOCUMENT),
    ),
    "no document": (PrerequisiteError, "does not exist", lambda t: read_json(t / "x")),
    "a folder for a document": (PrerequisiteError, "Is a directory", lambda t: read_json(t)),
    "a number too long to be shown": (
        SchemaError, "number is too long",
        lambda t: validate("run.v1", parse_toml(b"args = 0x" + b"f" * 9000, "x"), "x"),
    ),
    "a log beyond the limit": (
        PrerequisiteError, "the largest accepted log", lambda t: logread.read_log(large(t / "x", 65 << 20)),
    ),
    "a folder for a log": (PrerequisiteError, "Is a directory", lambda t: logread.read_log(t)),
    "a folder for a key": (PrerequisiteError, "Is a directory", lambda t: keys.read_public(t)),
    "an absent key": (PrerequisiteError, "key file not found", lambda t: keys.read_public(t / "x")),
    "a key that others may read": (
        SignatureError, "accessible to other users",
        lambda t: (keys.load_or_create(t / "k"), (t / "k" / "own.key").chmod(0o644), keys.load(t / "k")),
    ),
    "a pipe for a bundle": (
        PrerequisiteError, "not a regular file",
        lambda t: verify.open_bundle(pipe(t / "result.json"), keys.Trusted(())),
    ),
    "a pipe for the bundle of a run": (
        SchemaError, "step 0: .* not a regular file",
        lambda t: (pipe(t / "result.json"), verify.open_bundle(t, keys.Trusted(()))),
    ),
    "a pipe for a capsule": (
        PrerequisiteError, "not a regular file",
        lambda t: unpack(pipe(t / "x"), t / "y"),
    ),
    "a shard that shrinks": (
        UsageError, "not 9 from 0 on",
        lambda t: (shard.write_shard(t / "s", [1]), shard.read_tokens(t / "s", 0, 9)),
    ),
    "a shard of another size": (
        SchemaError, "does not match a shard of",
        lambda t: load_dataset(with_dataset(t, "200_001_024", "200_001_025")),
    ),
    "no shards": (
        PrerequisiteError, "is not a directory",
        lambda t: fetch(load_dataset(RECORDS), ("x",), lost_store(t), mirror=t / "none"),
    ),
    "no tokens": (
        UsageError, "cannot draw 0",
        lambda t: Language(load_smoke(RECORDS).language).sample("x", 0),
    ),
    "a digest file that is no text": (SchemaError, "is not UTF-8 text", lambda t: promised(t, b"\xff\xfe")),
    "a digest file that is too large": (
        SchemaError, "larger than", lambda t: promised(t, bytes(MAX_DOCUMENT + 1)),
    ),
    "a digest file with a bad line": (SchemaError, "cannot parse 'lock", lambda t: promised(t, b"lock x\n")),
    "an empty digest file": (SchemaError, "expected lock, config", lambda t: promised(t, b"# nothing\n")),
    "a wheel from nowhere": (PrerequisiteError, "not a wheel", lambda t: asked(PipFetcher())),
    "a deb from a mirror": (PrerequisiteError, "not a deb", lambda t: asked(PoolFetcher())),
    "a deb from apt": (PrerequisiteError, "not a deb", lambda t: asked(AptFetcher())),
    "a deb from the snapshots": (PrerequisiteError, "not a deb", lambda t: asked(SnapshotFetcher())),
    "a mirror that is a file": (
        PrerequisiteError, "not a directory",
        lambda t: asked(FolderFetcher(t / "none")),
    ),
    "a git directory that is none": (
        PrerequisiteError, "not found in clone",
        lambda t: asked(CloneFile(t, "0" * 40, "x")),
    ),
    "a table beyond the limit": (PrerequisiteError, "MiB", lambda t: read_table(large(t / "x", 65 << 20))),
    "a table that is a folder": (PrerequisiteError, "cannot read", lambda t: read_table(t)),
    "a table that is no text": (SchemaError, "not UTF-8", lambda t: read_table(written(t, b"\xff"))),
    "a large entry": (IntegrityError, "is larger than", lambda t: entry.read_entry(large(t / "x", 17 << 10))),
    "a link for an entry": (
        IntegrityError, "not a regular file",
        lambda t: ((t / "x").symlink_to("y"), entry.read_entry(t / "x")),
    ),
    "a folder that may not be written": (
        PrerequisiteError, "cannot write .*: Read-only",
        lambda t: read_only(t),
    ),
    "a file in the place of the keys": (
        PrerequisiteError, "cannot write .*/x/keys: Not a directory",
        lambda t: keys.load_or_create(written(t, b"") / "keys"),
    ),
    "a full quota": (RunError, "no space left on the disk of", lambda t: refused_with(t, 122)),
    "an interpreter that is none": (
        PrerequisiteError, "not a working Python", lambda t: hostimage.interpreter(Path("/bin/false")),
    ),
    "a file beside a bundle that is too large": (
        DigestMismatch, "guest.log is larger than 1073741824 bytes",
        lambda t: ((t / "submission").mkdir(), large(t / "guest.log", (1 << 30) + 1), folder.subjects(t)),
    ),
    "a signed document that is not there": (
        PrerequisiteError, "cannot read .*/x: No such file", lambda t: dsse.read_file(t / "x"),
    ),
    "a series of no run": (
        UsageError, "--runs must be from 1 to 1000, not 0",
        lambda t: plan_arms(ASKED, SeriesRequest(0), None),
    ),
    "a series without end": (UsageError, "not 1001", lambda t: plan_arms(ASKED, SeriesRequest(1001), None)),
}  # fmt: skip


def lost_store(tmp: Path):
    from kit.core.store import Store

    return Store(tmp / "store")


def asked(fetcher) -> None:
    fetcher.fetch(ARTIFACT, io.BytesIO(), 0, lambda *a: None)


def written(tmp: Path, data: bytes) -> Path:
    (tmp / "x").write_bytes(data)
    return tmp / "x"


def read_only(tmp: Path) -> None:
    refused_with(tmp, 30)


def refused_with(tmp: Path, number: int) -> None:
    with disk_errors(tmp):
        raise OSError(number, os.strerror(number))


@pytest.mark.parametrize(("kind", "said", "ask"), REFUSALS.values(), ids=REFUSALS)
def test_the_refusal_is_of_its_kind_and_names_what_is_wrong(tmp_path, kind, said, ask):
    with pytest.raises(kind, match=said) as e:
        ask(tmp_path)
    assert type(e.value) is kind


@pytest.mark.parametrize(
    ("answer", "said"), [(None, "runc is not installed"), ("/bin/false", "--version` failed")]
)
def test_a_runc_that_is_absent_or_broken_is_named_with_the_line_that_installs_it(monkeypatch, answer, said):
    no_runc(monkeypatch, answer)
    with pytest.raises(PrerequisiteError, match=said) as e:
        runc._runc()
    assert "install" in e.value.hint


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user is refused earlier, or not at all")
def test_an_image_that_was_not_unpacked_is_not_started(tmp_path, monkeypatch):
    monkeypatch.setattr(runc.cgroup, "writable", lambda: True)
    with pytest.raises(RunError, match="image cpu is not unpacked"):
        runc.Runc()._box(replace(SPEC, image=ImageRef("cpu", "0" * 64, "0" * 64)), tmp_path)


def test_a_guest_that_cannot_be_ended_is_named(monkeypatch):
    monkeypatch.setattr(lost, "reap", lambda *a: False)
    with pytest.raises(RunError, match="cannot kill the guest of run r03-x"):
        lost._end_guest("r03-x", (RuntimeName.RUNC,))


def test_the_command_line_says_what_an_option_needs(capsys):
    from kit.cli import run

    for argv, said in (
        (["--image", "host", "--runtime", "docker"], "docker runtime cannot run --image host"),
        (["--gpus", "1"], "the smoke profile runs on CPUs"),
        (
            ["--runtime", "host", "--runs", "2"],
            "a series cannot use --runtime host, which provides no isolation",
        ),
        (["--runtime", "runc", "--interleave"], "--interleave needs a submission"),
        (["--audit", "nonsense"], "unknown audit 'nonsense'"),
    ):
        assert run(["eval", "--record", "3", "--profile", "smoke", "--out", "/nonexistent/x", *argv]) == 2
        assert said in capsys.readouterr().err
