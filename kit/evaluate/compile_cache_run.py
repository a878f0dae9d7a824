"""
Make a sealed compile cache: run a record's own script for a few steps, and keep what was compiled.

Submissions make none: the files of a cache run inside later guests. The script comes by sha256, and its guest
has the mounts, limits and isolation of a run. Its caches leave it through stdout, like everything else, after
all of its processes are gone; `kit.evaluate.compile_cache` says where they are kept.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import datetime
import hashlib
import os
import secrets
import shutil
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from kit.core.codec import encode
from kit.core.digest import Sha256, canonical_json
from kit.core.errors import IntegrityError, KitError, PrerequisiteError, RunError, UsageError
from kit.core.files import disk_errors, make_readable, sync, write_atomic
from kit.core.schema import MAX_DOCUMENT
from kit.evaluate import gpus
from kit.evaluate.compile_cache import (
    FILES,
    MANIFEST,
    MAX_BYTES,
    MAX_FILES,
    ROOM,
    VERSION,
    CacheKey,
    CacheManifest,
    SealedCache,
    is_cache_path,
    key_of,
    read_cache,
    verified_cache,
)
from kit.evaluate.launch import cache_program
from kit.evaluate.plan import RunPlan
from kit.evaluate.prepare import Prepared, cache_script, prepared
from kit.evaluate.request import HOST_IMAGE, Places
from kit.evaluate.run import Listener
from kit.evaluate.trial import BoundedRun, StepBound, run_bounded
from kit.evaluate.turn import gpu_turn
from kit.gpu.preflight import Preflight
from kit.result.predicate import CompileCache, InputFile
from kit.sandbox.isolation_probe import probe, require_isolation
from kit.sandbox.watchdog import watchdog
from kit.values.output import StoredOutput
from kit.values.run_result import RunStatus
from kit.values.run_spec import GIB, MIB
from kit.values.software import Kit

STEPS = 4
"""The script is ended at the first line of this step or a later one."""
HANDOVER_S = 600.0
"""Seconds in which the guest must have printed its caches, unless its total deadline passes before."""
IF_FEWER = "run this on the machine of the warm runs, with the --gpus that they get: a cache fits no others"
"""Hint for a machine with fewer GPUs than the cache is for."""
MAX_OUTPUT = 4 * GIB
"""Bytes of output, with the caches as base64 of zlib."""
MAX_LINE = 4 * MIB
MAX_CHUNK = 1 << 20
"""Bytes of a file in one line; see `kit/guest/compile_cache.py`."""


def _no_listener() -> contextlib.AbstractContextManager[Listener]:
    return contextlib.nullcontext(Listener())


def make_cache(
    plan: RunPlan,
    places: Places,
    steps: int = STEPS,
    listening: Callable[[], contextlib.AbstractContextManager[Listener]] = _no_listener,
) -> tuple[SealedCache, bool] | None:
    """
    Make the cache of a plan, and return it with True; return one that is there with False.

    `listening` is entered once all is fetched: a listener may take Ctrl-C for itself, and nothing polls it
    while this process waits for another maker or downloads. Returns None if the operator cancelled. A damaged
    cache is replaced. Raises `UsageError` for a plan with a submission or without an image, `RunError` if the
    script fails or compiles nothing, and what `prepared` and the runtime's start raise.
    """
    if plan.submission is not None or plan.era == HOST_IMAGE or plan.compile_cache is CompileCache.WARM:
        raise UsageError("a compile cache is made from a record's own script, in its image, starting cold")
    found = gpus.look_before_turn(plan, places, IF_FEWER)
    key = key_of(plan, places, found)
    with places.store.lock(f"{ROOM}-{key.digest}"):
        if (known := _known(plan, places, found)) is not None:
            return known, False
        with (
            prepared(plan, places) as ready,
            listening() as listener,
            gpu_turn(ready, places, listener.watch.cancelled, listener.waiting) as now,
        ):
            made = _make(now, places, key, steps, listener)
    return None if made is None else (made, True)


def _known(plan: RunPlan, places: Places, found: Preflight) -> SealedCache | None:
    """Return the cache of a plan if the store has it undamaged."""
    try:
        return verified_cache(plan, places, found)
    except (PrerequisiteError, IntegrityError):
        return None


def _make(
    ready: Prepared, places: Places, key: CacheKey, steps: int, listener: Listener
) -> SealedCache | None:
    """Run the script, receive its caches and seal them; None if the operator cancelled."""
    ready.preflight.require()
    if key_of(ready.plan, places, ready.preflight) != key:
        raise RunError("the GPUs changed while the run waited for them", "run the command again")
    with places.store.staging(ROOM) as staged:
        scratch, folder = staged / "scratch", staged / "cache"
        for made in (scratch, folder):
            make_readable(made, staged)
        _probe(ready, scratch, listener)
        output = StoredOutput(scratch / "log", scratch / "stamps")
        token = secrets.token_hex(16)
        run = _run(ready, places, scratch, output, token, StepBound(steps, grace_s=HANDOVER_S), listener)
        if run.result.status is RunStatus.CANCELLED and listener.watch.cancelled():
            return None
        if not run.is_enough and run.result.status is not RunStatus.COMPLETED:
            raise RunError(
                f"the script ended with status {run.result.status}: {run.result.reason}: {_tail(output)}"
            )
        files = receive(output.log, token, folder / FILES)
        return _seal(folder, _manifest(ready, key, run, places.kit, files), places)


def _probe(ready: Prepared, scratch: Path, listener: Listener) -> None:
    runtime = ready.plan.runtime
    with watchdog(runtime.reaper(ready.spec.run_id)):
        probed = probe(runtime, ready.spec, ready.plan.python, scratch)
    listener.probed(probed)
    require_isolation(probed)


def _run(
    ready: Prepared,
    places: Places,
    scratch: Path,
    output: StoredOutput,
    token: str,
    bound: StepBound,
    listener: Listener,
) -> BoundedRun:
    """Run the script as the child of the program that hands its caches over."""
    spec = replace(
        ready.spec,
        argv=(*cache_program(ready.plan.python, "keep", token), *ready.spec.argv),
        mounts=(*ready.spec.mounts, cache_script(scratch)),
        limits=replace(ready.spec.limits, output=MAX_OUTPUT, line=MAX_LINE),
    )
    return run_bounded(ready, spec, scratch, output, bound, listener.watch, places)


def _tail(output: StoredOutput) -> str:
    with contextlib.suppress(KitError, OSError):
        return output.stderr_tail().strip()
    return ""


def receive(log: Path, token: str, folder: Path) -> tuple[InputFile, ...]:
    """
    Write the files that a guest printed below `folder`, and return them, sorted by name.

    Lines without the token are the script's own. Raises `RunError` if the last line is missing, or there are
    no files or too many, `IntegrityError` for a line that the program does not write.
    """
    folder.mkdir(mode=0o755)
    received = _Received(folder)
    mark = f"{token} ".encode()
    with log.open("rb") as lines, disk_errors(folder), contextlib.closing(received):
        while line := lines.readline(MAX_LINE + 1):
            if not line.startswith(mark):
                continue
            name, _, data = line[len(mark) :].decode("ascii", "replace").rstrip("\n").partition(" ")
            if name == "end":
                return received.finish(data)
            received.take(name, data)
    raise RunError(
        "the guest did not print all files of its caches: "
        f"it exited, or the total deadline passed, or they need more than {HANDOVER_S:.0f} s "
        f"or {MAX_OUTPUT} bytes",
        "pass fewer --steps or a longer --total-deadline",
    )


class _Received:
    """The files that have arrived so far, and the one that is being written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, InputFile] = {}
        self._bytes = 0
        self._name = ""
        self._file: BinaryIO | None = None
        self._sha256 = hashlib.sha256()

    def take(self, name: str, data: str) -> None:
        """Append a chunk to a file. Raises `IntegrityError` for an invalid one, `RunError` for too much."""
        file = self._begin(name) if self._file is None or name != self._name else self._file
        chunk = _chunk(name, data)
        self._bytes += len(chunk)
        if self._bytes > MAX_BYTES:
            raise RunError(f"the compile cache has more than {MAX_BYTES} bytes", "pass fewer --steps")
        file.write(chunk)
        self._sha256.update(chunk)

    def _begin(self, name: str) -> BinaryIO:
        self.close()
        if not is_cache_path(name) or name in self._files:
            raise IntegrityError(f"unexpected name in the output of compile_cache.py: {name[:80]!r}")
        if len(self._files) >= MAX_FILES:
            raise RunError(f"the compile cache has more than {MAX_FILES} files", "pass fewer --steps")
        path = self._folder / name
        try:
            make_readable(path.parent, self._folder)
            self._file = path.open("xb")
        except (FileExistsError, NotADirectoryError) as e:
            raise IntegrityError(f"a file of the compile cache is also a directory: {name[:80]!r}") from e
        self._name, self._sha256 = name, hashlib.sha256()
        return self._file

    def close(self) -> None:
        """Finish the file that is being written."""
        if self._file is None:
            return
        size = self._file.tell()
        self._file.flush()
        os.fchmod(self._file.fileno(), 0o444)
        os.fsync(self._file.fileno())
        self._file.close()
        self._files[self._name] = InputFile(self._name, size, Sha256(self._sha256.hexdigest()))
        self._file, self._name = None, ""

    def finish(self, number: str) -> tuple[InputFile, ...]:
        """Return the files. Raises `IntegrityError` if the guest counted others, `RunError` for none."""
        self.close()
        if number != str(len(self._files)):
            raise IntegrityError(f"received {len(self._files)} files of a compile cache, expected {number}")
        if not self._files:
            raise RunError(
                "the script compiled nothing, so there is no cache to keep",
                "pass a record whose script calls torch.compile",
            )
        return tuple(self._files[name] for name in sorted(self._files))


def _chunk(name: str, data: str) -> bytes:
    try:
        inflate = zlib.decompressobj()
        chunk = inflate.decompress(base64.b64decode(data, validate=True), MAX_CHUNK + 1)
    except (binascii.Error, zlib.error, ValueError) as e:
        raise IntegrityError(f"unexpected output of compile_cache.py for {name}: {e}") from e
    if not inflate.eof or len(chunk) > MAX_CHUNK:
        raise IntegrityError(f"unexpected output of compile_cache.py: {name} is incomplete or too large")
    return chunk


def _manifest(
    ready: Prepared, key: CacheKey, run: BoundedRun, kit: Kit, files: tuple[InputFile, ...]
) -> CacheManifest:
    plan = ready.plan
    return CacheManifest(
        version=VERSION,
        key=key,
        record=plan.record.name,
        profile=plan.terms.profile,
        era=plan.era,
        driver=ready.preflight.driver,
        step=None if run.last is None else run.last.step,
        seconds=round(run.result.wall_s, 3),
        made_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        kit=kit,
        files=files,
    )


def _directories(root: Path) -> Iterator[Path]:
    for folder, _, _ in os.walk(root, topdown=False):
        yield Path(folder)


def _remove_damaged(home: Path) -> None:
    """Remove a damaged cache, or a file or link in its place."""
    if home.is_dir() and not home.is_symlink():
        shutil.rmtree(home, ignore_errors=True)
    else:
        home.unlink(missing_ok=True)


def _seal(folder: Path, manifest: CacheManifest, places: Places) -> SealedCache:
    """Write the manifest, and rename the cache to its place; the caller holds the lock."""
    data = canonical_json(encode(CacheManifest, manifest))
    if len(data) > MAX_DOCUMENT:
        raise RunError(f"the manifest of {len(manifest.files)} files is larger than {MAX_DOCUMENT} bytes")
    write_atomic(folder / MANIFEST, data, mode=0o444)
    home = places.store.room(ROOM) / manifest.key.digest
    with disk_errors(home):
        for made in _directories(folder):
            sync(made)
        _remove_damaged(home)
        folder.rename(home)
        sync(home.parent)
    return read_cache(home)
