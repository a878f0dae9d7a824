"""Shards arrive whole or not at all, are compared with what is stated of them, and are hashed once."""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from local_server import SilentHandler, serving_http

from kit.benchmark.records import load
from kit.cli import run
from kit.cli.data.shards import origin_line
from kit.core.digest import sha256_bytes
from kit.core.download import ATTEMPTS
from kit.core.errors import (
    DigestMismatch,
    IntegrityError,
    KitError,
    NetworkError,
    PrerequisiteError,
    SchemaError,
    StaleLock,
    UsageError,
)
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.data.dataset import DataSet, StatedBy, load_dataset, load_lock, lock_path
from kit.data.fetch import Shards, fetch, find
from kit.data.hub import Hub
from kit.data.memo import SETTLE_S, Memo, identity
from kit.data.shard import pack_header
from kit.data.verify import drop_faulty, verify
from kit.evaluate.request import Places
from kit.evaluate.task_data import FinewebTaskData
from kit.values.software import Kit

pytest.importorskip("huggingface_hub")

TOKENS = 3000
REPO = "kjj0/fineweb10B-gpt2"
COMMIT = "ab" * 20
NAMES = ("fineweb_train_000001.bin", "fineweb_train_000002.bin", "fineweb_val_000000.bin")


def shard(name: str) -> bytes:
    return pack_header(TOKENS) + bytes((sum(name.encode()) + n) % 251 for n in range(2 * TOKENS))


SHARDS = {name: shard(name) for name in NAMES}


class FakeHub(SilentHandler):
    """Speaks the part of the Hub's protocol that is used; `faults` go wrong in order, one a transfer."""

    faults: list[str]
    limits: list[int]
    asked: list[str]
    stated: dict[str, bytes]

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self.asked.append(f"{path} {self.headers.get('Range', '')}".strip())
        assert self.headers.get("Authorization") is None, "a token was sent"
        if path.startswith(f"/api/datasets/{REPO}"):
            revision = path.removeprefix(f"/api/datasets/{REPO}").removeprefix("/revision/") or COMMIT
            known = revision in (COMMIT, "main")
            self.answer(
                200 if known else 404,
                {"id": REPO, "sha": COMMIT} if known else {"error": "no"},
                "RevisionNotFound",
            )
        elif path.startswith(f"/datasets/{REPO}/resolve/{COMMIT}/"):
            self.send_response(302)
            self.send_header("Location", "/cdn/" + path.rsplit("/", 1)[1])
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif path.startswith("/cdn/") and path.removeprefix("/cdn/") in SHARDS:
            self.transfer(SHARDS[path.removeprefix("/cdn/")])
        else:
            self.answer(404, {"error": "no"}, "RepoNotFound")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.asked.append(self.path)
        if self.limits:
            self.answer(self.limits.pop(0), {"error": "limit"}, retry_after="1")
            return
        assert self.path == f"/api/datasets/{REPO}/paths-info/{COMMIT}"
        paths = parse_qs(body).get("paths") or json.loads(body)["paths"]
        rows = [
            {
                "type": "file",
                "path": name,
                "size": len(SHARDS[name]),
                "oid": "0" * 40,
                "lfs": {
                    "oid": sha256_bytes(self.stated[name]),
                    "size": len(SHARDS[name]),
                    "pointerSize": 134,
                },
            }
            for name in paths
            if name in SHARDS
        ]
        self.answer(200, rows)

    def transfer(self, data: bytes) -> None:
        fault = self.faults.pop(0) if self.faults else ""
        if fault in ("404", "503"):
            self.answer(int(fault), {"error": fault})
            return
        asked = self.headers.get("Range")
        begin = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        body = data[begin:]
        if fault == "flip":
            body = body[:-1] + bytes([body[-1] ^ 1])
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if fault == "cut" else body)

    def answer(self, code: int, document: Any, error: str = "", retry_after: str = "") -> None:
        body = json.dumps(document).encode()
        self.send_response(code)
        if code >= 400 and error:
            self.send_header("X-Error-Code", error)
        if retry_after:
            self.send_header("Retry-After", retry_after)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@dataclasses.dataclass(frozen=True)
class Served:
    url: str
    handler: type[FakeHub]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    handler = type("Fresh", (FakeHub,), {"faults": [], "limits": [], "asked": [], "stated": dict(SHARDS)})
    with serving_http(handler) as url:
        yield Served(url, handler)


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    """A copy of the facts with small shards."""
    root = tmp_path / "facts"
    (root / "records").mkdir(parents=True)
    (root / "images").mkdir()
    text = (facts_root() / "records" / "fineweb10B.toml").read_text()
    text = text.replace("100_000_000", str(TOKENS)).replace("200_001_024", str(1024 + 2 * TOKENS))
    (root / "records" / "fineweb10B.toml").write_text(text.replace("last = 103", "last = 2"))
    record = (facts_root() / "records" / "21.toml").read_text()
    shutil.copy(facts_root() / "records" / "evidence.toml", root / "records")
    (root / "records" / "21.toml").write_text(record.replace("train_shards = 7", "train_shards = 2"))
    return root


@pytest.fixture
def dataset(facts: Path) -> DataSet:
    return load_dataset(facts / "records")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def bring(dataset: DataSet, store: Store, hub: Served) -> Shards:
    return fetch(dataset, NAMES, store, endpoint=hub.url)


def transfers(hub: Served) -> list[str]:
    return [a.removeprefix("/cdn/") for a in hub.handler.asked if a.startswith("/cdn/")]


def test_the_real_data_set_is_what_the_records_need() -> None:
    real = load_dataset(facts_root() / "records")
    assert real.shards(2) == ("fineweb_val_000000.bin", *NAMES[:2])
    assert len(real.shards(103)) == 104
    assert real.size == 200_001_024
    with pytest.raises(UsageError, match="103 training shards"):
        real.shards(104)


def test_shards_come_with_the_revision_and_are_unpinned_without_a_lock(
    dataset: DataSet, store: Store, hub: Served
) -> None:
    shards = bring(dataset, store, hub)
    assert {p.name: p.read_bytes() for p in shards.folder.iterdir()} == SHARDS
    assert (shards.revision, shards.stated_by, shards.pinned) == (COMMIT, StatedBy.HUB, False)
    assert find(dataset, NAMES, store) == shards
    before = len(hub.handler.asked)
    assert bring(dataset, store, hub) == shards
    assert len(hub.handler.asked) == before, "nothing is asked for twice"


def test_more_shards_come_from_the_same_revision(dataset: DataSet, store: Store, hub: Served) -> None:
    fetch(dataset, NAMES[:1], store, endpoint=hub.url)
    shards = bring(dataset, store, hub)
    assert f"/api/datasets/{REPO}/revision/{COMMIT}" in hub.handler.asked
    assert transfers(hub) == [*NAMES[:2], NAMES[2]]
    assert shards.revision == COMMIT


def test_a_cut_transfer_is_resumed_where_it_broke(dataset: DataSet, store: Store, hub: Served) -> None:
    hub.handler.faults[:] = ["cut"]
    bring(dataset, store, hub)
    half = len(SHARDS[NAMES[0]]) // 2
    assert transfers(hub) == [NAMES[0], f"{NAMES[0]} bytes={half}-", *NAMES[1:]]


def test_a_transfer_that_breaks_for_good_is_resumed_by_the_next_command(
    dataset: DataSet, store: Store, hub: Served
) -> None:
    hub.handler.faults[:] = ["", "cut", *ATTEMPTS * ["503"]]
    with pytest.raises(NetworkError, match=NAMES[1]):
        bring(dataset, store, hub)
    hub.handler.asked.clear()
    bring(dataset, store, hub)
    assert transfers(hub) == [f"{NAMES[1]} bytes={len(SHARDS[NAMES[1]]) // 2}-", NAMES[2]]


def test_a_rate_limit_of_the_hub_is_waited_for_and_named(
    dataset: DataSet, store: Store, hub: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("kit.core.download.Repeater.sleep", lambda self, seconds: slept.append(seconds))
    hub.handler.limits[:] = [429, 503]
    bring(dataset, store, hub)
    assert slept == [1, 1]
    hub.handler.limits[:] = 99 * [429]
    with pytest.raises(NetworkError, match=r"429 \(rate limit reached\), retry after 1 s") as e:
        Hub(hub.url).state(dataset, NAMES)
    assert e.value.hint == "run the command again after 1 s"


def test_a_flipped_byte_is_refused_and_dropped(dataset: DataSet, store: Store, hub: Served) -> None:
    hub.handler.faults[:] = ["flip"]
    with pytest.raises(DigestMismatch, match=NAMES[0]):
        bring(dataset, store, hub)
    assert list((store.root / "partial").iterdir()) == []
    assert bring(dataset, store, hub).files[0].sha256 == sha256_bytes(SHARDS[NAMES[0]])


def test_a_shard_that_the_hub_does_not_serve_is_named(dataset: DataSet, store: Store, hub: Served) -> None:
    hub.handler.faults[:] = ["404"]
    with pytest.raises(PrerequisiteError, match="HTTP status 404"):
        bring(dataset, store, hub)


def test_what_is_no_shard_is_refused_even_if_the_hub_states_it(
    dataset: DataSet, store: Store, hub: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = bytes(len(SHARDS[NAMES[0]]))
    monkeypatch.setitem(SHARDS, NAMES[0], wrong)
    hub.handler.stated[NAMES[0]] = wrong
    with pytest.raises(IntegrityError, match="magic"):
        bring(dataset, store, hub)


@pytest.mark.parametrize("problem", ["revision", "repo", "file", "size"])
def test_what_the_hub_does_not_have_is_named(dataset: DataSet, hub: Served, problem: str) -> None:
    asked, names, revision = dataset, list(NAMES), None
    match problem:
        case "revision":
            revision = "cd" * 20
        case "repo":
            asked = dataclasses.replace(dataset, repo="some/where")
        case "file":
            names = ["fineweb_train_000099.bin"]
        case "size":
            asked = dataclasses.replace(dataset, size=5)
    with pytest.raises(IntegrityError if problem == "size" else PrerequisiteError) as refusal:
        Hub(hub.url).state(asked, names, revision)
    hint = "check --endpoint, and --revision of speedrun data lock"
    assert problem == "size" or refusal.value.hint == hint


def test_a_hub_that_states_no_sha256_spoils_no_later_command(
    dataset: DataSet, store: Store, hub: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules[__name__], "sha256_bytes", lambda data: "../../somewhere")
        with pytest.raises(IntegrityError, match="and no sha256 for"):
            bring(dataset, store, hub)
    bring(dataset, store, hub)


def test_no_network_is_a_network_error_with_the_fix(dataset: DataSet, store: Store) -> None:
    with pytest.raises(NetworkError) as refusal:
        fetch(dataset, NAMES, store, endpoint="http://127.0.0.1:9")
    assert "--mirror" in refusal.value.hint


def test_without_the_extra_the_fix_is_named(
    dataset: DataSet, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(PrerequisiteError) as refusal:
        fetch(dataset, NAMES, store)
    assert refusal.value.hint.endswith("-m pip install -e '.[hub]'")


def locked(dataset: DataSet, hub: Served) -> None:
    lock_path(dataset).write_bytes(Hub(hub.url).state(dataset, NAMES).to_json())


def test_a_lock_pins_the_shards_and_needs_no_statement(dataset: DataSet, store: Store, hub: Served) -> None:
    locked(dataset, hub)
    hub.handler.asked.clear()
    shards = bring(dataset, store, hub)
    assert (shards.pinned, shards.revision) == (True, COMMIT)
    assert [a for a in hub.handler.asked if a.startswith("/api/")] == []


def test_with_a_lock_other_bytes_are_refused_though_the_hub_states_them(
    dataset: DataSet, store: Store, hub: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked(dataset, hub)
    changed = SHARDS[NAMES[0]][:-1] + b"\xff"
    monkeypatch.setitem(SHARDS, NAMES[0], changed)
    hub.handler.stated[NAMES[0]] = changed
    with pytest.raises(DigestMismatch):
        bring(dataset, store, hub)


def test_a_lock_of_another_data_set_file_is_stale(dataset: DataSet, facts: Path, hub: Served) -> None:
    locked(dataset, hub)
    with dataset.path.open("a") as f:
        f.write("# a comment\n")
    with pytest.raises(StaleLock, match="another version"):
        load_lock(load_dataset(facts / "records"))


def test_a_lock_needs_the_hubs_revision(dataset: DataSet, hub: Served) -> None:
    stated = Hub(hub.url).state(dataset, NAMES)
    lock_path(dataset).write_bytes(dataclasses.replace(stated, revision=None).to_json())
    with pytest.raises(SchemaError, match="must have their revision"):
        load_lock(dataset)


def lock_of_mirror(mirror: Path, store: Store, *more: str) -> int:
    return run(["data", "lock", "--mirror", str(mirror), "--store", str(store.root), *more])


def test_shards_on_a_disk_give_a_lock_that_pins_them(
    dataset: DataSet,
    facts: Path,
    store: Store,
    tmp_path: Path,
    hub: Served,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("kit.cli.data.lock.facts_root", lambda: facts)
    mirror = folder_of_shards(tmp_path)
    assert lock_of_mirror(mirror, store) == 0
    lock = lock_path(dataset).read_bytes()
    said = capsys.readouterr()
    assert f"data lock: 3 of 3 shards, sha256 {sha256_bytes(lock)}" in said.err
    assert said.out.strip().endswith("fineweb10B.lock.json")
    again = tmp_path / "again.json"
    assert lock_of_mirror(mirror, Store(tmp_path / "other"), "--out", str(again)) == 0
    assert again.read_bytes() == lock, "the same shards give the same lock"
    shards = fetch(dataset, NAMES, store, mirror=mirror)
    assert (shards.pinned, shards.stated_by, shards.revision) == (True, StatedBy.FOLDER, None)
    assert hub.handler.asked == []


def test_a_lock_of_some_shards_names_those_that_it_lacks(
    dataset: DataSet, facts: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kit.cli.data.lock.facts_root", lambda: facts)
    mirror = folder_of_shards(tmp_path)
    (mirror / "deep" / NAMES[1]).unlink()
    assert lock_of_mirror(mirror, store) == 0
    with pytest.raises(PrerequisiteError, match=f"data lock has no digest for {NAMES[1]}"):
        fetch(dataset, NAMES, store, mirror=mirror)
    (mirror / "deep" / NAMES[2]).unlink()
    assert lock_of_mirror(mirror, store) == 3, "without the validation shard"
    assert lock_of_mirror(mirror, store, "--revision", COMMIT) == 2


def folder_of_shards(tmp_path: Path) -> Path:
    folder = tmp_path / "mirror" / "deep"
    folder.mkdir(parents=True)
    for name, data in SHARDS.items():
        (folder / name).write_bytes(data)
    return folder.parent


def test_a_folder_of_shards_serves_without_hub_and_lock(
    dataset: DataSet, store: Store, tmp_path: Path
) -> None:
    shards = fetch(dataset, NAMES, store, mirror=folder_of_shards(tmp_path), endpoint="http://127.0.0.1:9")
    assert (shards.stated_by, shards.revision, shards.pinned) == (StatedBy.FOLDER, None, False)
    assert {p.name: p.read_bytes() for p in shards.folder.iterdir()} == SHARDS


def test_a_folder_without_a_shard_or_with_a_wrong_one_is_refused(
    dataset: DataSet, store: Store, tmp_path: Path
) -> None:
    folder = folder_of_shards(tmp_path)
    (folder / "deep" / NAMES[0]).write_bytes(pack_header(TOKENS + 1) + bytes(2 * TOKENS + 2))
    with pytest.raises(IntegrityError, match=f"{TOKENS + 1} tokens"):
        fetch(dataset, NAMES, store, mirror=folder)
    (folder / "deep" / NAMES[0]).unlink()
    with pytest.raises(NetworkError, match=rf"1 shard not found in .*{NAMES[0]}.*, and cannot reach the Hub"):
        fetch(dataset, NAMES, store, mirror=folder, endpoint="http://127.0.0.1:9")


def test_a_mirror_without_the_shards_is_named_before_the_hub_is(
    dataset: DataSet, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(PrerequisiteError, match=rf"{len(NAMES)} shards not found in {tmp_path}") as refused:
        fetch(dataset, NAMES, store, mirror=tmp_path)
    assert refused.value.hint.startswith(f"put the missing shards into {tmp_path}; or, to get them from")
    assert "pip install" in refused.value.hint


def test_a_mirror_with_some_shards_gives_those_and_the_hub_the_others(
    dataset: DataSet, store: Store, tmp_path: Path, hub: Served
) -> None:
    folder = folder_of_shards(tmp_path)
    (folder / "deep" / NAMES[0]).unlink()
    shards = fetch(dataset, NAMES, store, mirror=folder, endpoint=hub.url)
    assert {p.name: p.read_bytes() for p in shards.folder.iterdir()} == SHARDS
    assert [s.stated_by for s in shards.stated] == [StatedBy.HUB, StatedBy.FOLDER, StatedBy.FOLDER]
    assert (shards.stated_by, shards.revision, transfers(hub)) == (StatedBy.FOLDER, None, [NAMES[0]])
    sources = f"digests from local files (2 of them) and the Hub at {COMMIT[:12]} (1 of them)"
    assert origin_line(shards) == f"data: unpinned; 3 shards of {REPO}, {sources}"
    assert find(dataset, NAMES, store) == shards


def test_shards_of_a_mirror_do_not_keep_later_ones_from_the_hub(
    dataset: DataSet, store: Store, tmp_path: Path, hub: Served
) -> None:
    folder = folder_of_shards(tmp_path)
    fetch(dataset, NAMES[:1], store, mirror=folder)
    assert bring(dataset, store, hub).stated[0].stated_by is StatedBy.FOLDER
    assert transfers(hub) == list(NAMES[1:])


def test_a_shard_of_a_mirror_that_is_gone_is_stated_anew(
    dataset: DataSet, store: Store, tmp_path: Path, hub: Served
) -> None:
    folder = folder_of_shards(tmp_path)
    shards = fetch(dataset, NAMES, store, mirror=folder)
    for file in shards.files[:2]:
        store.blob(file.sha256).unlink()
    other = SHARDS[NAMES[1]][:-1] + b"\xff"
    (folder / "deep" / NAMES[0]).unlink()
    (folder / "deep" / NAMES[1]).write_bytes(other)
    again = fetch(dataset, NAMES, store, mirror=folder, endpoint=hub.url)
    assert [s.stated_by for s in again.stated] == [StatedBy.HUB, StatedBy.FOLDER, StatedBy.FOLDER]
    assert again.files[1].sha256 == sha256_bytes(other)
    assert bring(dataset, store, hub) == again


def test_a_store_of_version_01_that_mixed_the_sources_is_mended(
    dataset: DataSet, store: Store, tmp_path: Path, hub: Served
) -> None:
    mixed = dataclasses.replace(Hub(hub.url).state(dataset, NAMES), revision=None, stated_by=StatedBy.FOLDER)
    (store.room("data") / "fineweb10B.stated.json").write_bytes(mixed.to_json())
    assert bring(dataset, store, hub).stated_by is StatedBy.HUB


def test_the_hubs_digests_of_version_01_survive_a_mirror(
    dataset: DataSet, store: Store, tmp_path: Path, hub: Served
) -> None:
    stated = Hub(hub.url).state(dataset, NAMES[:1])
    (store.room("data") / "fineweb10B.stated.json").write_bytes(stated.to_json())
    shards = fetch(dataset, NAMES, store, mirror=folder_of_shards(tmp_path))
    assert [s.stated_by for s in shards.stated] == [StatedBy.HUB, StatedBy.FOLDER, StatedBy.FOLDER]


def test_links_in_a_mirror_are_followed(dataset: DataSet, store: Store, tmp_path: Path) -> None:
    folder = folder_of_shards(tmp_path)
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "data").symlink_to(folder / "deep", target_is_directory=True)
    (folder / "deep" / "back").symlink_to(linked, target_is_directory=True)
    (linked / "broken.bin").symlink_to(tmp_path / "nowhere")
    shards = fetch(dataset, NAMES, store, mirror=linked)
    assert {p.name: p.read_bytes() for p in shards.folder.iterdir()} == SHARDS


def test_shards_that_are_not_here_are_named_with_the_command(
    dataset: DataSet, store: Store, hub: Served
) -> None:
    for expected in ("no shard of", "2 of 3 shards|no digest is known"):
        with pytest.raises(PrerequisiteError, match=expected) as refusal:
            find(dataset, NAMES, store)
        assert "speedrun data fetch" in refusal.value.hint
        fetch(dataset, NAMES[:1], store, endpoint=hub.url)


def test_an_unchanged_shard_is_hashed_once(dataset: DataSet, store: Store, hub: Served) -> None:
    shards = bring(dataset, store, hub)
    fetched = verify(dataset, shards, store)
    again = verify(dataset, shards, store)
    rehashed = verify(dataset, shards, store, rehash=True)
    assert [c.fault for c in (*fetched, *again, *rehashed)] == 9 * [None]
    assert [c.hashed for c in fetched] == [False] * 3, "their bytes were hashed when they arrived"
    assert [c.hashed for c in again] == [False] * 3
    assert [c.hashed for c in rehashed] == [True] * 3


def test_a_second_layout_of_the_same_shards_hashes_nothing(
    dataset: DataSet, store: Store, hub: Served
) -> None:
    bring(dataset, store, hub)
    fewer = find(dataset, NAMES[:2], store)
    assert [c.hashed for c in verify(dataset, fewer, store)] == [False, False]


HELD_OUT = ("fineweb_train_000003.bin", "fineweb_train_000004.bin")


@pytest.fixture
def longer(facts: Path, hub: Served, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The facts with two more shards, which no record reads and the Hub has."""
    toml = facts / "records" / "fineweb10B.toml"
    toml.write_text(toml.read_text().replace("last = 2", "last = 4"))
    for name in HELD_OUT:
        monkeypatch.setitem(SHARDS, name, shard(name))
        hub.handler.stated[name] = shard(name)
    return facts


class TestHeldOutShards:
    def places(self, facts: Path, store: Store, offline: bool = False) -> Places:
        nowhere = facts / "nowhere"
        return Places(
            facts / "records",
            facts / "images",
            store,
            nowhere,
            nowhere,
            fetchers=(),
            kit=Kit("0", None),
            offline=offline,
        )

    def data(self) -> FinewebTaskData:
        record = load(facts_root() / "records", 21)
        return FinewebTaskData(dataclasses.replace(record, train_shards=2))

    @pytest.fixture
    def reachable(self, hub: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            "kit.evaluate.task_data.fetch", functools.partial(fetch, endpoint=hub.url), raising=True
        )

    def test_an_audit_fetches_them_itself_and_they_are_what_the_hub_states(
        self, longer: Path, store: Store, hub: Served, reachable: None
    ) -> None:
        places = self.places(longer, store)
        assert [s.present for s in self.data().planned_held_out(places)] == [False, False]
        source = self.data().bring_held_out(places)
        assert source is not None
        assert [(f.name, f.sha256) for f in source.files] == [(n, sha256_bytes(SHARDS[n])) for n in HELD_OUT]
        assert sorted(transfers(hub)) == sorted(HELD_OUT)
        assert [s.present for s in self.data().planned_held_out(places)] == [True, True]

    def test_a_spoiled_one_is_dropped_and_named_with_the_command(
        self, longer: Path, store: Store, reachable: None
    ) -> None:
        places = self.places(longer, store)
        source = self.data().bring_held_out(places)
        assert source is not None
        spoil(store.blob(source.files[1].sha256), 2000)
        with pytest.raises(IntegrityError, match=HELD_OUT[1]) as refusal:
            self.data().bring_held_out(places)
        assert refusal.value.hint == "speedrun data fetch --record 21 --held-out"
        again = self.data().bring_held_out(places)
        assert again is not None and again.files == source.files

    def test_offline_they_are_named_with_the_command(self, longer: Path, store: Store) -> None:
        with pytest.raises(PrerequisiteError, match="no shard of") as refusal:
            self.data().bring_held_out(self.places(longer, store, offline=True))
        assert refusal.value.hint == "speedrun data fetch --record 21 --held-out"

    def test_a_hub_that_does_not_answer_leaves_a_folder_of_shards_as_the_way(
        self, longer: Path, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        away = functools.partial(fetch, endpoint="http://127.0.0.1:9")
        monkeypatch.setattr("kit.evaluate.task_data.fetch", away)
        with pytest.raises(NetworkError) as refusal:
            self.data().bring_held_out(self.places(longer, store))
        assert "--held-out --mirror DIR" in refusal.value.hint

    def test_a_record_that_reads_one_of_them_leaves_no_text_to_hold_out(
        self, facts: Path, store: Store
    ) -> None:
        places = self.places(facts, store)
        assert self.data().planned_held_out(places) == ()
        assert self.data().bring_held_out(places) is None

    def test_fetch_brings_them_beside_the_records_own(
        self,
        longer: Path,
        store: Store,
        hub: Served,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr("kit.cli.data.shards.facts_root", lambda: longer)
        argv = ["data", "fetch", "--record", "21", "--held-out", "--store", str(store.root), "--json"]
        assert run([*argv, "--endpoint", hub.url]) == 0
        told = json.loads(capsys.readouterr().out)
        assert sorted(told["files"]) == sorted(NAMES)
        assert sorted(told["held_out"]["files"]) == sorted(HELD_OUT)
        assert sorted(p.name for p in Path(told["folder"]).iterdir()) == sorted(NAMES)


def spoil(path: Path, at: int) -> None:
    path.chmod(0o644)
    with path.open("r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 1]))


@pytest.mark.parametrize(
    ("at", "fault"),
    [(2000, "sha256"), (0, "magic"), (4, "version"), (8, "tokens")],
    ids=["token", "magic", "version", "count"],
)
def test_a_flipped_byte_in_the_store_is_found_dropped_and_brought_again(
    dataset: DataSet, store: Store, hub: Served, at: int, fault: str
) -> None:
    shards = bring(dataset, store, hub)
    spoil(shards.folder / NAMES[1], at)
    checked = verify(dataset, shards, store)
    assert [c.name for c in checked if c.fault] == [NAMES[1]]
    assert fault in (checked[1].fault or "")
    drop_faulty(shards, checked, store)
    assert [c.fault for c in verify(dataset, bring(dataset, store, hub), store)] == 3 * [None]


def test_a_cut_shard_is_found(dataset: DataSet, store: Store, hub: Served) -> None:
    shards = bring(dataset, store, hub)
    (shards.folder / NAMES[0]).chmod(0o644)
    with (shards.folder / NAMES[0]).open("r+b") as f:
        f.truncate(2000)
    assert "2000 bytes" in (verify(dataset, shards, store)[0].fault or "")


def test_the_memo_forgets_a_file_that_was_written_within_the_same_size(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, memo = tmp_path / "f", Memo(store)
    file.write_bytes(b"a" * 100)
    now_s = file.stat().st_ctime
    monkeypatch.setattr("kit.data.memo.time", SimpleNamespace(time=lambda: now_s, sleep=time.sleep))
    assert memo.sha256(file)[1]
    assert memo.sha256(file)[1], "a file that was written just now may change within the same tick"
    now_s += 2 * SETTLE_S
    assert memo.sha256(file)[1]
    assert not memo.sha256(file)[1]
    memo.save()
    assert not Memo(store).sha256(file)[1], "another process knows it, too"
    file.write_bytes(b"b" * 100)
    assert memo.sha256(file) == (sha256_bytes(b"b" * 100), True)


def test_a_memo_that_cannot_be_read_is_an_empty_one(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"a")
    for text in ("[", "[]", json.dumps({identity(file): "not a digest"})):
        (store.room("memo") / "sha256.json").write_text(text)
        assert Memo(store).sha256(file) == (sha256_bytes(b"a"), True)


class TestCommands:
    @pytest.fixture(autouse=True)
    def here(self, facts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("shards", "lock"):
            monkeypatch.setattr(f"kit.cli.data.{name}.facts_root", lambda: facts)

    def argv(self, verb: str, store: Store, *rest: str) -> list[str]:
        return ["data", verb, "--record", "21", "--store", str(store.root), *rest]

    def test_fetch_says_unpinned_and_prints_the_folder(
        self, store: Store, hub: Served, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(self.argv("fetch", store, "--endpoint", hub.url)) == 0
        told = capsys.readouterr()
        assert "data: unpinned; 3 shards" in told.err
        assert COMMIT[:12] in told.err
        assert sorted(p.name for p in Path(told.out.strip()).iterdir()) == sorted(NAMES)

    def test_offline_ends_with_5_and_without_shards_with_3(
        self, store: Store, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(self.argv("fetch", store, "--endpoint", "http://127.0.0.1:9")) == 5
        assert "--mirror" in capsys.readouterr().err
        assert run(self.argv("verify", store)) == 3
        assert "speedrun data fetch" in capsys.readouterr().err

    def test_verify_ends_with_4_until_the_bad_shard_is_dropped_and_fetched(
        self, store: Store, hub: Served, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(self.argv("fetch", store, "--endpoint", hub.url, "--json")) == 0
        folder = Path(json.loads(capsys.readouterr().out)["folder"])
        assert run(self.argv("verify", store)) == 0
        spoil(folder / NAMES[0], 3000)
        assert run(self.argv("verify", store)) == 4
        assert "--drop" in capsys.readouterr().err
        assert run(self.argv("verify", store, "--drop", "--json")) == 4
        assert list(json.loads(capsys.readouterr().out)["faults"]) == [NAMES[0]]
        assert run(self.argv("fetch", store, "--endpoint", hub.url)) == 0
        assert run(self.argv("verify", store)) == 0

    def test_lock_is_the_same_bytes_for_the_same_revision(
        self, facts: Path, store: Store, hub: Served, tmp_path: Path
    ) -> None:
        assert run(["data", "lock", "--endpoint", hub.url]) == 0
        assert (
            run(["data", "lock", "--endpoint", hub.url, "--revision", COMMIT, "--out", str(tmp_path / "l")])
            == 0
        )
        assert (facts / "records" / "fineweb10B.lock.json").read_bytes() == (tmp_path / "l").read_bytes()
        assert bring(load_dataset(facts / "records"), store, hub).pinned


def test_every_error_of_the_room_has_a_message_for_a_person(dataset: DataSet, store: Store) -> None:
    with pytest.raises(KitError) as refusal:
        find(dataset, ("unknown.bin",), store)
    assert refusal.value.message
