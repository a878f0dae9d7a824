"""Sealed compile caches: received as the guest printed them, compared before use, found by their key."""

from __future__ import annotations

import base64
import json
import os
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from fake_gpus import H100, fake_inventory, fake_sources
from fake_guest import FakeRuntime, PipeGuest

from kit.benchmark import records
from kit.core.digest import Sha256, sha256_bytes, sha256_file
from kit.core.errors import DigestMismatch, IntegrityError, KitError, PrerequisiteError, RunError, UsageError
from kit.core.store import Store
from kit.diagnose.cache.compile_cache_removal import remove_compile_cache
from kit.diagnose.cache.inventory import CacheKind, take_inventory
from kit.evaluate import compile_cache, compile_cache_run
from kit.evaluate.compile_cache import (
    FILES,
    MANIFEST,
    CacheKey,
    SealedCache,
    all_caches,
    find_cache,
    key_of,
    select_cache,
    verified_cache,
)
from kit.evaluate.compile_cache_run import make_cache, receive
from kit.evaluate.describe import describe_plan
from kit.evaluate.gpus import look
from kit.evaluate.plan import RunPlan, draft
from kit.evaluate.prepare import prepared
from kit.evaluate.request import Places, Request
from kit.evaluate.run import Listener
from kit.gpu.preflight import NO_GPUS, Level
from kit.result.predicate import CompileCache
from kit.sandbox.supervise import RunCallbacks
from kit.values.profile import Profile
from kit.values.run_spec import COMPILE_CACHE, INSIDE_CACHE_SCRIPT, RuntimeName

CONTENT = {"inductor/fxgraph/ab/fab/code": b"graph", "triton/K/kernel.cubin": b"\x7fELF"}
TRAIN = b"step:%d/160 train_time:1ms step_avg:0.10ms\n"


def line(token: str, name: str, data: bytes) -> bytes:
    return f"{token} {name} {base64.b64encode(zlib.compress(data)).decode()}\n".encode()


def printed(token: str, files: dict[str, bytes]) -> bytes:
    return b"".join(line(token, *item) for item in files.items()) + f"{token} end {len(files)}\n".encode()


def received(tmp_path: Path, output: bytes) -> dict[str, bytes]:
    (tmp_path / "log").write_bytes(output)
    files = receive(tmp_path / "log", "t0ken", tmp_path / "files")
    return {file.name: (tmp_path / "files" / file.name).read_bytes() for file in files}


@pytest.fixture
def make(ready: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """Make a cache in a store of its own with a guest that prints these files."""
    found, places = ready
    places = replace(places, store=Store(tmp_path / "store"))
    plan = replace(found.plan, era="cpu")

    def call(
        files: dict[str, bytes] | None = None,
        listening: Callable[[], AbstractContextManager[Listener]] = lambda: nullcontext(Listener()),
        step: int = 1,
        after: Sequence[float] = (),
        total_s: float = 3600.0,
        **guest: Any,
    ) -> tuple[SealedCache, bool, RunPlan, Places] | None:
        @contextmanager
        def bring(plan: RunPlan, places: Places) -> Iterator[Any]:
            runtime = FakeRuntime(start)
            deadlines = replace(found.spec.deadlines, total_s=total_s)
            yield replace(
                found, plan=replace(plan, runtime=runtime), spec=replace(found.spec, deadlines=deadlines)
            )

        def start() -> PipeGuest:
            has_printed = threading.Event()
            began = PipeGuest([*script, lambda: has_printed.set() or True, *after], **guest)
            assert has_printed.wait(60), "what it printed is read before a deadline can end it"
            return began

        script = [TRAIN % step, printed("t0ken", CONTENT if files is None else files)]
        monkeypatch.setattr(compile_cache_run, "prepared", bring)
        monkeypatch.setattr(compile_cache_run, "_probe", lambda *_: None)
        monkeypatch.setattr(compile_cache_run.secrets, "token_hex", lambda size: "t0ken")
        made = make_cache(plan, places, listening=listening)
        return made and (*made, plan, places)

    return call


def test_what_the_guest_printed_is_sealed_and_found_again(make: Callable[..., Any]) -> None:
    cache, is_new, plan, places = make()
    assert is_new and list(cache.faults()) == []
    assert cache.digest == sha256_file(cache.folder / MANIFEST)
    assert {f.name: f.sha256 for f in cache.manifest.files} == {
        name: sha256_bytes(data) for name, data in CONTENT.items()
    }
    files, folders = (
        {p.stat().st_mode & 0o777 for p in cache.folder.rglob("*") if p.is_file() is kind}
        for kind in (True, False)
    )
    assert (files, folders) == ({0o444}, {0o755})
    assert verified_cache(plan, places, NO_GPUS) == cache == select_cache(places.store, cache.digest[:12])
    assert (cache.mount.source, cache.mount.target) == (cache.folder / FILES, COMPILE_CACHE)
    assert [entry.name for entry in cache.folder.parent.iterdir()] == [cache.folder.name]


def test_a_cache_that_is_there_is_not_made_again(make: Callable[..., Any]) -> None:
    first, *_ = make()
    again, is_new, *_ = make({"inductor/other": b"x"})
    assert again == first and not is_new


def _add(cache: SealedCache, name: str) -> Path:
    folder = cache.folder / FILES / "triton"
    folder.chmod(0o755)
    return folder / name


def _alter(cache: SealedCache) -> None:
    file = cache.folder / FILES / "triton/K/kernel.cubin"
    file.chmod(0o644)
    file.write_bytes(b"\x7fELG")


ALTERATIONS: dict[str, tuple[Callable[[SealedCache], object], str]] = {
    "content": (_alter, "checksum mismatch: triton/K/kernel.cubin"),
    "removed": (lambda c: (c.folder / FILES / "triton/K/kernel.cubin").unlink(), "missing file: triton"),
    "added": (lambda c: _add(c, "new").write_bytes(b""), "unexpected file: triton/new"),
    "link": (lambda c: _add(c, "new").symlink_to("/etc/passwd"), "neither a file nor a directory"),
    "pipe": (lambda c: os.mkfifo(_add(c, "new")), "neither a file nor a directory"),
    "gone": (lambda c: (c.folder / FILES).rename(c.folder / "moved"), "cannot read"),
    "linked": (lambda c: _link(c.folder / FILES), "files is not a directory"),
}


def _link(path: Path) -> None:
    moved = path.rename(path.with_name("moved"))
    path.symlink_to(moved)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("replace_it", [_link, _pipe])
def test_a_manifest_that_is_no_regular_file_is_refused_and_replaced(
    make: Callable[..., Any], replace_it: Callable[[Path], None]
) -> None:
    first, _, plan, places = make()
    replace_it(first.folder / MANIFEST)
    with pytest.raises(DigestMismatch, match="not a regular file"):
        find_cache(plan, places, NO_GPUS)
    assert all_caches(places.store) == ()
    again, is_new, *_ = make()
    assert is_new and list(again.faults()) == []


@pytest.mark.parametrize(
    "put", [lambda path: path.write_bytes(b""), lambda path: path.symlink_to(path.parent / "missing")]
)
def test_a_file_or_link_in_the_place_of_a_cache_is_replaced(
    make: Callable[..., Any], put: Callable[[Path], object]
) -> None:
    first, _, plan, places = make()
    first.folder.rename(first.folder.with_name("moved"))
    put(first.folder)
    with pytest.raises(PrerequisiteError, match="compile cache not found"):
        find_cache(plan, places, NO_GPUS)
    again, is_new, *_ = make()
    assert is_new and again.folder.is_dir() and not again.folder.is_symlink()


def test_a_cache_whose_manifest_could_not_be_read_again_is_not_sealed(
    make: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compile_cache_run, "MAX_DOCUMENT", 100)
    with pytest.raises(RunError, match="the manifest of 2 files is larger than 100 bytes"):
        make()
    assert list((tmp_path / "store" / compile_cache.ROOM).iterdir()) == []


@pytest.mark.parametrize("name", ALTERATIONS)
def test_an_altered_cache_is_refused_and_replaced(make: Callable[..., Any], name: str) -> None:
    first, _, plan, places = make()
    alter, fault = ALTERATIONS[name]
    alter(first)
    with pytest.raises(DigestMismatch, match=fault) as refused:
        verified_cache(plan, places, NO_GPUS)
    assert refused.value.hint.startswith("speedrun cache make --record 3 --store ")
    again, is_new, *_ = make()
    assert is_new and list(again.faults()) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d | {"version": 2},
        lambda d: d | {"record": 3},
        lambda d: d | {"key": d["key"] | {"world_size": 99}},
        lambda d: d | {"files": d["files"][::-1]},
        lambda d: d | {"files": [d["files"][0] | {"name": "triton/../../x"}]},
        lambda d: d | {"files": [d["files"][0] | {"size": compile_cache.MAX_BYTES + 1}]},
        lambda d: {},
    ],
)
def test_a_manifest_that_the_kit_does_not_write_is_refused(make: Callable[..., Any], change: Any) -> None:
    cache, _, plan, places = make()
    path = cache.folder / MANIFEST
    path.chmod(0o644)
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(DigestMismatch, match="compile cache is damaged"):
        find_cache(plan, places, NO_GPUS)
    assert all_caches(places.store) == ()


def test_a_cache_is_for_one_image_script_machine_and_number_of_ranks() -> None:
    key = CacheKey(Sha256("a" * 64), Sha256("b" * 64), ("GPU", "GPU"), 2)
    others = [
        replace(key, image=Sha256("c" * 64)),
        replace(key, script=Sha256("c" * 64)),
        replace(key, hardware=("GPU", "other GPU")),
        replace(key, hardware=("GPU",)),
        replace(key, world_size=1),
    ]
    assert len({key.digest, *(other.digest for other in others)}) == 6


def test_a_cache_on_gpus_is_for_their_models_and_their_number(ready: Any, tmp_path: Path) -> None:
    gpus = fake_sources(fake_inventory(2, name="NVIDIA H200"))
    places = replace(ready[1], store=Store(tmp_path / "store"), gpus=gpus)
    plan = draft(Request(10, Profile.FULL, runtime=RuntimeName.RUNC, gpus=2), places)
    key = key_of(plan, places, look(plan, places))
    assert (key.hardware, key.world_size) == ((H100, "NVIDIA H200"), 2)
    assert key.script == records.own_digest(plan.record)
    with pytest.raises(PrerequisiteError, match=f"1 x {H100}, 1 x NVIDIA H200, world size 2") as missing:
        find_cache(plan, places, look(plan, places))
    assert missing.value.hint == f"speedrun cache make --record 10 --gpus 2 --store {places.store.root}"


@pytest.mark.parametrize(
    ("files", "guest", "error"),
    [
        ({}, {}, "compiled nothing"),
        (None, {"exit_code": 1}, "the script ended with status crashed"),
        ({"inductor/../../../etc/passwd": b""}, {}, "unexpected name"),
    ],
)
def test_a_make_that_fails_leaves_nothing(
    make: Callable[..., Any], tmp_path: Path, files: Any, guest: Any, error: str
) -> None:
    with pytest.raises(KitError, match=error):
        make(files, **guest)
    assert all_caches(Store(tmp_path / "store")) == ()
    assert list((tmp_path / "store" / compile_cache.ROOM).iterdir()) == []


def test_a_listener_takes_ctrl_c_for_itself_only_once_all_is_fetched(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    held = Store.lock

    def lock(store: Store, name: str) -> AbstractContextManager[None]:
        order.append(name.partition("-")[0])
        return held(store, name)

    @contextmanager
    def listening() -> Iterator[Listener]:
        order.append("listening")
        yield Listener()

    monkeypatch.setattr(Store, "lock", lock)
    make(listening=listening)
    assert order == ["compile", "listening"]


def test_ctrl_c_ends_the_handover_at_once_and_no_cache_is_made(
    make: Callable[..., Any], tmp_path: Path
) -> None:
    began = time.monotonic()
    reached: list[float] = []

    @contextmanager
    def listening() -> Iterator[Listener]:
        watch = RunCallbacks(
            point=lambda point: reached.append(time.monotonic()),
            cancelled=lambda: bool(reached) and time.monotonic() > reached[0] + 0.3,
        )
        yield replace(Listener(), watch=watch)

    files = {"inductor/a": b""}
    assert make(files, listening, step=100, deaf=True, after=[600.0]) is None
    assert time.monotonic() - began < 300, "the guest sleeps for 600 s, and has 600 s to print its caches"
    assert list((tmp_path / "store" / compile_cache.ROOM).iterdir()) == []


def test_the_handover_ends_at_the_total_deadline(make: Callable[..., Any]) -> None:
    began = time.monotonic()
    _, is_new, *_ = make(step=100, deaf=True, after=[600.0], total_s=1.0)
    assert is_new
    assert time.monotonic() - began < 300, "the guest sleeps for 600 s, and has 600 s to print its caches"


def test_a_submission_cannot_make_a_cache(ready: Any, tmp_path: Path) -> None:
    found, places = ready
    with pytest.raises(UsageError, match="record's own script"):
        make_cache(found.plan, places)  # the host's files
    with pytest.raises(UsageError, match="record's own script"):
        make_cache(replace(found.plan, era="cpu", submission=object()), places)


def test_lines_of_the_script_are_no_part_of_the_cache(tmp_path: Path) -> None:
    other = line("other", "inductor/a", b"forged")
    output = b"step:1\n" + other + line("t0ken", "inductor/a", b"1") + b"\xff\n" + other
    output += line("t0ken", "inductor/a", b"2") + line("t0ken", "inductor/empty", b"") + b"t0ken end 2\n"
    assert received(tmp_path, output + b"late\n") == {"inductor/a": b"12", "inductor/empty": b""}


@pytest.mark.parametrize(
    "name",
    ["/inductor/a", "inductor", "other/a", "inductor/../a", "inductor//a", "inductor/.a", "inductor/a\\b"],
)
def test_names_outside_the_two_caches_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(IntegrityError, match="unexpected name"):
        received(tmp_path, printed("t0ken", {name: b""}))


@pytest.mark.parametrize(
    ("output", "error", "message"),
    [
        (b"", RunError, "did not print all files of its caches"),
        (line("t0ken", "inductor/a", b""), RunError, "did not print all files of its caches"),
        (line("t0ken", "inductor/a", b"") + b"t0ken end 2\n", IntegrityError, "received 1 files"),
        (b"t0ken inductor/a !\nt0ken end 1\n", IntegrityError, "unexpected output"),
        (line("t0ken", "", b"x"), IntegrityError, "unexpected name"),
        (b"t0ken \n", IntegrityError, "unexpected name"),
        (b"t0ken inductor/a " + base64.b64encode(b"no zlib") + b"\n", IntegrityError, "unexpected output"),
        (line("t0ken", "inductor/a", b"0" * ((1 << 20) + 1)), IntegrityError, "incomplete or too large"),
        (printed("t0ken", {"inductor/a": b"", "inductor/a/b": b""}), IntegrityError, "is also a directory"),
        (
            line("t0ken", "inductor/a", b"")
            + line("t0ken", "inductor/b", b"")
            + line("t0ken", "inductor/a", b""),
            IntegrityError,
            "unexpected name",
        ),
    ],
)
def test_output_that_is_no_cache_is_refused(
    tmp_path: Path, output: bytes, error: type[KitError], message: str
) -> None:
    with pytest.raises(error, match=message):
        received(tmp_path, output)


def test_a_cache_of_too_many_bytes_or_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compile_cache_run, "MAX_BYTES", 9)
    with pytest.raises(RunError, match="more than 9 bytes"):
        received(tmp_path, printed("t0ken", {"inductor/a": b"12345", "inductor/b": b"12345"}))
    (tmp_path / "files").rename(tmp_path / "before")
    monkeypatch.setattr(compile_cache_run, "MAX_FILES", 1)
    with pytest.raises(RunError, match="more than 1 files"):
        received(tmp_path, printed("t0ken", {"inductor/a": b"", "inductor/b": b""}))


@dataclass(frozen=True)
class Ready:
    """A warm plan in an isolating runtime, and its places."""

    plan: RunPlan
    places: Places


@pytest.fixture
def warm(ready: Any, tmp_path: Path) -> Ready:
    places = replace(ready[1], store=Store(tmp_path / "store"))
    plan = draft(Request(3, Profile.SMOKE, runtime=RuntimeName.RUNC), places)
    return Ready(replace(plan, compile_cache=CompileCache.WARM), places)


def test_a_warm_run_without_a_cache_names_the_command_before_anything_is_fetched(warm: Ready) -> None:
    not_found = pytest.raises(PrerequisiteError, match="compile cache not found: record 3, image cpu")
    with not_found as missing, prepared(warm.plan, warm.places):
        pass
    command = f"speedrun cache make --record 3 --store {warm.places.store.root}"
    assert missing.value.hint == command
    report = describe_plan(warm.plan, warm.places)
    finding = next(f for f in report.findings if f.id == "compile-cache")
    assert (finding.level, finding.fix) == (Level.REFUSAL, command)
    assert (report.compile_cache, report.compile_cache_sha256) == (CompileCache.WARM, None)


def test_the_plan_of_a_warm_run_shows_its_cache_and_that_it_is_unranked(
    warm: Ready, make: Callable[..., Any]
) -> None:
    cache, *_ = make()
    report = describe_plan(warm.plan, warm.places)
    assert report.compile_cache_sha256 == cache.digest
    assert report.mounts[str(COMPILE_CACHE)] == "the compile cache"
    assert "the run started with a warm compile cache" in [f.detail for f in report.findings]
    assert report.argv[:5] == ("python3", "-I", "-S", str(INSIDE_CACHE_SCRIPT), "use")
    cold = describe_plan(replace(warm.plan, compile_cache=CompileCache.COLD), warm.places)
    assert str(COMPILE_CACHE) not in cold.mounts and cold.argv == report.argv[5:]


def test_a_warm_cache_needs_an_image(ready: Any) -> None:
    request = Request(
        3,
        Profile.SMOKE,
        runtime=RuntimeName.HOST,
        python=Path(sys.executable),
        compile_cache=CompileCache.WARM,
    )
    with pytest.raises(UsageError, match="needs an image"):
        draft(request, ready[1])


@pytest.mark.parametrize("record", [3, "smoke-1"])
def test_a_warm_smoke_run_is_refused_because_its_script_compiles_nothing(ready: Any, record: Any) -> None:
    request = Request(record, Profile.SMOKE, runtime=RuntimeName.RUNC, compile_cache=CompileCache.WARM)
    with pytest.raises(UsageError, match="nothing is compiled in the smoke profile"):
        draft(request, ready[1])


def test_a_cache_is_listed_in_the_store_and_removed_by_its_digest(make: Callable[..., Any]) -> None:
    cache, _, _, places = make()
    entries = take_inventory(places.store, ()).of_kind(CacheKind.COMPILED)
    assert [entry.paths for entry in entries] == [(cache.folder,)]
    for wrong in ("", "0" * 64):
        with pytest.raises(PrerequisiteError, match="not found"):
            remove_compile_cache(places.store, wrong)
    assert remove_compile_cache(places.store, cache.digest[:8]) == cache
    assert all_caches(places.store) == () and not cache.folder.exists()
