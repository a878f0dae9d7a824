"""
Sealed compile caches: what Inductor and Triton compiled for a record's own script, for later guests.

    <store>/compile-cache/<key>/manifest.json      what it was made from, and each file with size and sha256
    <store>/compile-cache/<key>/files/inductor/    mounted read-only into the guests of warm runs
    <store>/compile-cache/<key>/files/triton/

Only `kit.evaluate.compile_cache_run` makes them. The digest of the manifest names a cache in bundles. The
files hold pickles and machine code: this process hashes and copies them, and loads none.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kit.core.codec import decode, encode
from kit.core.digest import Sha256, canonical_json, is_sha256, sha256_bytes, sha256_file
from kit.core.errors import DigestMismatch, IntegrityError, PrerequisiteError, SchemaError
from kit.core.home import default_store
from kit.core.reading import unreadable
from kit.core.schema import parse_json, read_bounded
from kit.core.store import Store
from kit.core.text import in_shell
from kit.evaluate.plan import RunPlan
from kit.evaluate.request import Places
from kit.gpu import machine
from kit.gpu.preflight import Preflight
from kit.image.digest import read_identity
from kit.image.lock import read_lock
from kit.image.spec import read_spec
from kit.result.predicate import InputFile
from kit.values.profile import Profile
from kit.values.run_spec import COMPILE_CACHE, GIB, Mount
from kit.values.software import Kit

ROOM = "compile-cache"
FILES = "files"
MANIFEST = "manifest.json"
VERSION = 1
MAX_BYTES = 4 * GIB
"""Largest sum of the sizes of a cache's files."""
MAX_FILES = 100_000
_PATH = re.compile(r"(?:inductor|triton)(?:/[A-Za-z0-9_][A-Za-z0-9_.+=@-]{0,199}){1,16}")


@dataclass(frozen=True, slots=True)
class CacheKey:
    """
    What a cache is looked up by.

    The compilers have keys of their own, with the code, the versions, the options and the GPU: a wrong cache
    only misses. So this key names what a person would expect to share compiled code.
    """

    image: Sha256
    """Manifest digest."""
    script: Sha256
    """Tree digest of the start record's own script."""
    hardware: tuple[str, ...]
    """Model of each GPU, sorted; the CPU's model for a run without GPUs."""
    world_size: int

    @property
    def digest(self) -> Sha256:
        """The name of the cache's directory."""
        return sha256_bytes(canonical_json(encode(CacheKey, self)))

    @property
    def hardware_text(self) -> str:
        """The GPUs, or the CPU, as `2 x NVIDIA H200`."""
        counted = (f"{self.hardware.count(name)} x {name}" for name in dict.fromkeys(self.hardware))
        return ", ".join(counted) or "no GPUs"


@dataclass(frozen=True, slots=True)
class CacheManifest:
    """The whole content of `manifest.json`."""

    version: int
    key: CacheKey
    record: str
    profile: Profile
    era: str
    driver: str | None
    """The GPU driver at the time; it is no part of the key, because nothing is compiled for a driver."""
    step: int | None
    """The last step that the script printed; None if it printed none."""
    seconds: float
    """From the start of the script until its caches had arrived, by the host's clock."""
    made_at: str
    kit: Kit
    files: tuple[InputFile, ...]
    """Sorted by name."""


@dataclass(frozen=True, slots=True)
class SealedCache:
    """A cache of the store."""

    folder: Path
    manifest: CacheManifest
    digest: Sha256
    """Digest of `manifest.json`."""

    @property
    def mount(self) -> Mount:
        """The mount that offers its files to a guest."""
        return Mount(self.folder / FILES, COMPILE_CACHE)

    @property
    def size(self) -> int:
        """Sum of the sizes of its files, in bytes."""
        return sum(file.size for file in self.manifest.files)

    def faults(self) -> Iterator[str]:
        """Yield each file that differs from the manifest, is missing, is not regular, or was added."""
        listed = {file.name: file for file in self.manifest.files}
        try:
            if not stat.S_ISDIR((self.folder / FILES).lstat().st_mode):
                yield f"{FILES} is not a directory"
                return
            for name, path, size in _entries(self.folder / FILES):
                file = listed.pop(name, None)
                if size is None:
                    yield f"{name[:200]} is neither a file nor a directory"
                elif file is None:
                    yield f"unexpected file: {name[:200]}"
                elif size != file.size or sha256_file(path) != file.sha256:
                    yield f"checksum mismatch: {name}"
        except OSError as e:
            yield f"cannot read {e.filename}: {e.strerror}"
        yield from (f"missing file: {name}" for name in sorted(listed))


def _entries(root: Path) -> Iterator[tuple[str, Path, int | None]]:
    """Yield the name, path and size of each file; the size of anything but a regular file is None."""
    pending = [root]
    while pending:
        for entry in sorted(os.scandir(pending.pop()), key=lambda entry: entry.name):
            status, path = entry.stat(follow_symlinks=False), Path(entry.path)
            if stat.S_ISDIR(status.st_mode):
                pending.append(path)
            else:
                size = status.st_size if stat.S_ISREG(status.st_mode) else None
                yield path.relative_to(root).as_posix(), path, size


def is_cache_path(name: str) -> bool:
    """Tell whether a path is one that a cache may have: below `inductor` or `triton`, without odd names."""
    return _PATH.fullmatch(name) is not None and name == PurePosixPath(name).as_posix()


def key_of(plan: RunPlan, places: Places, preflight: Preflight) -> CacheKey:
    """Return the key of a plan's cache on these GPUs. Raises as reading the image's files does."""
    spec = read_spec(places.images, plan.era)
    gpus = tuple(sorted(gpu.name for gpu in preflight.gpus))
    hardware = gpus if plan.terms.gpus else (machine.read_machine().cpu,)
    return CacheKey(
        image=read_identity(spec, read_lock(spec)).manifest,
        script=plan.terms.start_script.digest,
        hardware=hardware,
        world_size=plan.terms.world_size,
    )


def read_cache(folder: Path) -> SealedCache:
    """
    Read a cache's manifest; the files are compared by `SealedCache.faults`.

    Raises `OSError` if there is none, `SchemaError` if it is not one that the kit writes.
    """
    where = f"{folder.name[:12]}/{MANIFEST}"
    if not stat.S_ISREG((folder / MANIFEST).lstat().st_mode):  # opening a pipe would wait for a writer
        raise SchemaError(f"{where}: not a regular file")
    data = read_bounded(folder / MANIFEST)
    manifest: CacheManifest = decode(CacheManifest, parse_json(data, where), where)
    names = [file.name for file in manifest.files]
    if manifest.version != VERSION or manifest.key.digest != folder.name:
        raise SchemaError(f"{where}: another version or key")
    if names != sorted(set(names)) or not all(map(is_cache_path, names)):
        raise SchemaError(f"{where}: a name is invalid, repeated or out of order")
    if len(names) > MAX_FILES or sum(file.size for file in manifest.files) > MAX_BYTES:
        raise SchemaError(f"{where}: too many files or bytes")
    return SealedCache(folder, manifest, sha256_bytes(data))


def find_cache(plan: RunPlan, places: Places, preflight: Preflight) -> SealedCache:
    """
    Return the cache for the start record of a plan. Its files are not compared.

    Raises `PrerequisiteError`, with the command that makes it, if there is none, `IntegrityError` for a
    damaged manifest.
    """
    key = key_of(plan, places, preflight)
    folder = places.store.root / ROOM / key.digest
    try:
        return read_cache(folder)
    except (FileNotFoundError, NotADirectoryError) as e:
        hardware = f"{key.hardware_text}, world size {key.world_size}"
        what = f"record {plan.record.name}, image {plan.era}, {hardware}"
        raise PrerequisiteError(f"compile cache not found: {what}", make_command(plan, places)) from e
    except SchemaError as e:
        raise DigestMismatch(f"compile cache is damaged: {e.message}", make_command(plan, places)) from e
    except OSError as e:
        raise unreadable(folder, e) from e


def verified_cache(plan: RunPlan, places: Places, preflight: Preflight) -> SealedCache:
    """Return the cache for a plan. Raises as `find_cache`, and `DigestMismatch` for files that differ."""
    cache = find_cache(plan, places, preflight)
    for fault in cache.faults():
        raise DigestMismatch(
            f"compile cache {cache.digest[:12]} is damaged: {fault}", make_command(plan, places)
        )
    return cache


def make_command(plan: RunPlan, places: Places) -> str:
    """Return the command that makes the cache for a plan."""
    words = ["speedrun cache make", f"--record {plan.record.name}"]
    if plan.terms.gpus:
        words.append(f"--gpus {plan.terms.gpus}")
    if plan.era != plan.terms.era:
        words.append(f"--image {plan.era}")
    return " ".join(words) + _store(places.store)


def _store(store: Store) -> str:
    """Return the option that names a store in a command; nothing for the default one."""
    return "" if store.root == Store(default_store()).root else f" --store {in_shell(store.root)}"


def all_caches(store: Store) -> tuple[SealedCache, ...]:
    """Return the caches of a store whose manifests can be read, oldest first."""
    try:
        names = sorted(entry.name for entry in os.scandir(store.root / ROOM) if is_sha256(entry.name))
    except (FileNotFoundError, NotADirectoryError):
        return ()
    found = []
    for name in names:
        try:
            found.append(read_cache(store.root / ROOM / name))
        except (IntegrityError, OSError):
            continue  # `speedrun cache clean` removes it
    return tuple(sorted(found, key=lambda cache: cache.manifest.made_at))


def select_cache(store: Store, prefix: str) -> SealedCache:
    """Return the cache whose digest begins with `prefix`. Raises `PrerequisiteError` unless there is one."""
    found = [cache for cache in all_caches(store) if prefix and cache.digest.startswith(prefix)]
    if len(found) != 1:
        how = "not found" if not found else f"is ambiguous: {len(found)} begin so"
        raise PrerequisiteError(f"compile cache {prefix[:80]!r} {how}", f"speedrun cache list{_store(store)}")
    return found[0]
