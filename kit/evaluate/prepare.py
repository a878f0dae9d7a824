"""Fetch what a plan needs: image, data and submission, each checked by digest. Starts no guest."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kit.benchmark.records import Record
from kit.core.digest import Sha256, files_under
from kit.core.files import readable_copy
from kit.core.store import Fetcher, Progress, Store, no_progress
from kit.core.store_use import using
from kit.evaluate import gpus
from kit.evaluate.byte_code import ByteCode, ensure_byte_code
from kit.evaluate.compile_cache import find_cache, verified_cache
from kit.evaluate.launch import (
    CACHE_SCRIPT,
    DATA,
    HOST_SITE,
    SITE,
    gpu_variables,
    search_path,
)
from kit.evaluate.plan import RunPlan
from kit.evaluate.request import HOST_IMAGE, Places
from kit.gpu.preflight import Preflight
from kit.image.build import Layout, ensure_layout, layout_path
from kit.image.engine import ensure_loaded
from kit.image.rootfs import ensure_rootfs
from kit.result.predicate import CompileCache, Data, Image, InputFile, Reproduces, Series
from kit.sandbox.folder import new_run_id
from kit.sandbox.rlimits import require_limits
from kit.sandbox.runtime.docker import Docker
from kit.sandbox.runtime.port import Runtime
from kit.values.fidelity import Fidelity
from kit.values.profile import Profile
from kit.values.run_spec import INSIDE_CACHE_SCRIPT, GpuDevice, ImageRef, Mount, RunSpec, RuntimeName


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan whose files are all on this machine."""

    plan: RunPlan
    spec: RunSpec
    image: Image | None
    fidelity: tuple[tuple[str, Fidelity], ...]
    data: Data
    files: tuple[InputFile, ...]
    """The submission's."""
    preflight: Preflight
    """The GPUs just before the run; those in use are another run's, see `kit.evaluate.turn`."""
    nonce: str
    byte_code: Sha256 | None = None
    """Digest of the image's byte code, if it is mounted."""
    compile_cache: Sha256 | None = None
    """Digest of the compile cache that is mounted; None in a cold run."""
    reproduces: Reproduces | None = None
    series: Series | None = None


@contextlib.contextmanager
def prepared(plan: RunPlan, places: Places) -> Iterator[Prepared]:
    """
    Fetch data, submission and image; the staged submission is removed when the block ends.

    Until then, the store keeps what the run uses, see `kit.core.store_use`.

    What can be refused is refused before the first byte is fetched; the image, the largest, comes last.
    Raises `PrerequisiteError` for GPUs or shards that are missing or unfit, or if the limits of this process
    are too low, and what fetching raises.
    """
    if plan.runtime.name is not RuntimeName.DOCKER:  # an engine's guests have the engine's limits
        require_limits(plan.terms.limits.memory)
    if isinstance(plan.runtime, Docker):
        plan.runtime.require_engine()
    found = gpus.look_before_turn(plan, places)
    if plan.compile_cache is CompileCache.WARM:
        find_cache(plan, places, found)
    with using(places.store) as lease, _prepared(plan, places) as ready:
        images = [ready.image.manifest_digest] if ready.image else []
        lease.limit(images)
        _touch(places.store, *(layout_path(places.store, image) for image in images))
        _touch(places.store, *(mount.source for mount in ready.spec.mounts))
        yield ready


def _touch(store: Store, *folders: Path) -> None:
    """Set the times of directories of the store, which say when they were last used."""
    for folder in folders:
        if folder.is_relative_to(store.root):
            with contextlib.suppress(OSError):
                os.utime(folder)


@contextlib.contextmanager
def _prepared(plan: RunPlan, places: Places) -> Iterator[Prepared]:
    data, shards = plan.terms.data.bring(places)
    with _submission(plan, places) as folder, contextlib.ExitStack() as held:
        ref, image, fidelity, env = _image(plan, places)
        byte_code = _byte_code(plan, places, ref, env)
        ready = gpus.look_before_turn(plan, places)  # again: bringing all that may have taken an hour
        cache, warm = held.enter_context(_warm(plan, places, ready))
        spec = RunSpec(
            run_id=new_run_id(plan.record.number),
            image=ref,
            submission=folder,
            argv=plan.launcher(),
            env=environment(plan, env, ready),
            folders=plan.folders,
            mounts=(Mount(shards, DATA), *_site(plan), *((byte_code.mount,) if byte_code else ()), *warm),
            limits=plan.terms.limits,
            deadlines=plan.deadlines,
            untimed_steps=plan.terms.untimed_steps,
            gpus=plan.terms.gpus,
            gpu_devices=tuple(GpuDevice(gpu.uuid, gpu.minor) for gpu in ready.gpus),
            world_size=plan.terms.world_size,
        )
        files = tuple(
            InputFile(name, (folder / name).stat().st_size, sha256)
            for name, sha256 in files_under(folder).items()
        )
        digest = byte_code.digest if byte_code else None
        nonce = secrets.token_hex(16)
        yield Prepared(plan, spec, image, fidelity, data, files, ready, nonce, digest, cache)


def looked_again(ready: Prepared, places: Places) -> Prepared:
    """
    Return `ready` with the machine's GPUs as they are now, for a run that starts later than it was prepared.

    Raises nothing: `run_prepared` refuses a run whose GPUs are no longer fit, and records that.
    """
    now = gpus.look(ready.plan, places)
    devices = tuple(GpuDevice(gpu.uuid, gpu.minor) for gpu in now.gpus)
    env = tuple(sorted({**dict(ready.spec.env), **gpu_variables(now)}.items()))
    return replace(ready, preflight=now, spec=replace(ready.spec, gpu_devices=devices, env=env))


def fidelity_of(record: Record, layout: Layout) -> tuple[tuple[str, Fidelity], ...]:
    """
    Return the fidelity of each of the image's components, sorted by component.

    An era's image says it for most of its records; in the record's own era the record itself knows better:
    records 1 to 3 share an era with later ones, but their logs do not say what they ran.
    """
    levels = {f.component: f.level for f in layout.fidelity}
    if layout.era == record.era:
        levels["torch"] = record.torch_fidelity
        levels["python"] = record.python_fidelity
    return tuple(sorted(levels.items()))


def _image(
    plan: RunPlan, places: Places
) -> tuple[ImageRef | None, Image | None, tuple[tuple[str, Fidelity], ...], tuple[tuple[str, str], ...]]:
    if plan.era == HOST_IMAGE:
        unknown = (("python", Fidelity.UNKNOWN), ("torch", Fidelity.UNKNOWN))
        return None, None, unknown, (("PYTHONPATH", str(HOST_SITE)),)
    layout, ref = bring_image(
        plan.era, plan.runtime, places.images, places.store, places.fetchers, places.progress
    )
    fidelity = fidelity_of(plan.record, layout)
    return ref, Image(layout.config_digest, layout.manifest_digest), fidelity, tuple(layout.env)


def _byte_code(
    plan: RunPlan, places: Places, ref: ImageRef | None, env: tuple[tuple[str, str], ...]
) -> ByteCode | None:
    """Return the image's byte code for a smoke run; runs that may be ranked start with cold caches alone."""
    if plan.terms.profile is not Profile.SMOKE or ref is None or not plan.runtime.contains:
        return None
    return ensure_byte_code(ref, env, plan.runtime, places.store, places.progress)


@contextlib.contextmanager
def _warm(
    plan: RunPlan, places: Places, preflight: Preflight
) -> Iterator[tuple[Sha256 | None, tuple[Mount, ...]]]:
    """Yield the digest of a warm run's cache, whose files are verified, and what is mounted for it."""
    if plan.compile_cache is CompileCache.COLD:
        yield None, ()
        return
    cache = verified_cache(plan, places, preflight)
    _touch(places.store, cache.folder)
    with places.store.working_folder("submissions") as folder:
        yield cache.digest, (cache.mount, cache_script(folder))


def cache_script(folder: Path) -> Mount:
    """Return the mount of the program that copies compile caches; its file is copied into `folder`."""
    return Mount(readable_copy(CACHE_SCRIPT, folder), INSIDE_CACHE_SCRIPT)


def _site(plan: RunPlan) -> tuple[Mount, ...]:
    """Return the mount that makes a guest write whole lines where no image does."""
    return (Mount(SITE, HOST_SITE),) if plan.era == HOST_IMAGE else ()


def bring_image(
    era: str,
    runtime: Runtime,
    images: Path,
    store: Store,
    fetchers: Sequence[Fetcher],
    progress: Progress = no_progress,
) -> tuple[Layout, ImageRef]:
    """Build an era's image and load it into `runtime`; raises as `ensure_layout` and the engine do."""
    layout = ensure_layout(era, images, store, fetchers, progress)
    rootfs = ensure_rootfs(layout, store, progress) if runtime.name is RuntimeName.RUNC else None
    if isinstance(runtime, Docker):
        ensure_loaded(layout, runtime.engine, progress)
    return layout, ImageRef(era, layout.config_digest, layout.manifest_digest, rootfs)


def environment(
    plan: RunPlan, image: tuple[tuple[str, str], ...], preflight: Preflight
) -> tuple[tuple[str, str], ...]:
    """Return the guest's environment; an engine that reads `NVIDIA_VISIBLE_DEVICES` gives it no other GPU."""
    path = {"PATH": search_path(plan.era, plan.python)}
    merged = {**path, **dict(image), **dict(plan.terms.env), **gpu_variables(preflight)}
    return tuple(sorted(merged.items()))


@contextlib.contextmanager
def _submission(plan: RunPlan, places: Places) -> Iterator[Path]:
    """Provide a directory that holds exactly the files that will run."""
    with places.store.working_folder("submissions") as folder:
        if plan.submission is not None:
            plan.submission.write(folder)
        else:
            plan.terms.start_script.write(folder, places)
        yield folder
