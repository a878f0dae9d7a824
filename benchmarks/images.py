"""
How fast an era's image is assembled, loaded and started, each beside what it is compared with.

    python benchmarks/images.py                                assemble and disk, of torch-2.5.1
    python benchmarks/images.py assemble build load run disk   all; build and load need Docker, run needs root

Everything starts from files that are in the store (`speedrun image fetch torch-2.5.1`). Arms alternate, and
medians are compared: only ratios say something about the code. `build` and `load` use the engine at
$DOCKER_HOST, which must be one whose images may be removed; the images of this benchmark are, afterwards.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import lzma
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from isal import isal_zlib

from kit.cli.options import default_store
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.image import archive
from kit.image.assemble import assembled
from kit.image.build import Layout, ensure_layout
from kit.image.disk import disk_usage
from kit.image.engine import ensure_loaded
from kit.image.layer import LayerFile
from kit.image.lock import Deb, Lock, read_lock
from kit.image.meter import cores
from kit.image.oci import blob_path, describe, tag, write_layout
from kit.image.rootfs import ensure_rootfs
from kit.image.spec import read_spec
from kit.sandbox.engine import Engine
from kit.sandbox.folder import new_run_id
from kit.sandbox.runtime.runc import Runc
from kit.values.run_spec import ImageRef, RunSpec

IMAGES = facts_root() / "images"
MB = 1 << 20


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that `work` takes, after all that was written before has reached the disk."""
    os.sync()
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def spread(seconds: list[float]) -> str:
    """Spell a median and its range."""
    return f"{statistics.median(seconds):8.2f} s  ({min(seconds):.2f} to {max(seconds):.2f})"


def floor(lock: Lock, store: Store, folder: Path) -> int:
    """Inflate every file, hash and write what comes out, and do nothing else; return the bytes."""
    folder.mkdir()

    def one(number: int) -> int:
        artifact, done, digest = lock.artifacts[number], 0, hashlib.sha256()
        path = store.blob(artifact.sha256)
        source = deb_bytes(path) if isinstance(artifact, Deb) else wheel_bytes(path)
        with (folder / str(number)).open("wb", buffering=MB) as f:
            for chunk in source:
                digest.update(chunk)
                f.write(chunk)
                done += len(chunk)
            f.flush()
            os.fsync(f.fileno())
        return done

    with ThreadPoolExecutor(cores()) as pool:
        return sum(pool.map(one, sorted(range(len(lock.artifacts)), key=lambda n: -lock.artifacts[n].size)))


def deb_bytes(path: Path) -> Iterator[bytes]:
    """Yield what a package unpacks to."""
    data = path.read_bytes()
    start = data.index(b"data.tar.xz") + 60
    yield lzma.decompress(data[start : start + int(data[start - 12 : start - 2])])


def wheel_bytes(path: Path) -> Iterator[bytes]:
    """Yield what a wheel's members inflate to."""
    with ZipFile(path) as archive_, path.open("rb", buffering=0) as f:
        for info in archive_.infolist():
            f.seek(info.header_offset + 26)
            f.seek(int.from_bytes(f.read(2), "little") + int.from_bytes(f.read(2), "little"), os.SEEK_CUR)
            yield from member_bytes(f, info)


def member_bytes(f: object, info: ZipInfo) -> Iterator[bytes]:
    """Yield what one member inflates to, from where `f` stands."""
    left, stream = info.compress_size, isal_zlib.decompressobj(-15)
    while left > 0:
        piece = f.read(min(MB // 4, left))
        left -= len(piece)
        if info.compress_type == ZIP_STORED:
            yield piece
            continue
        while piece:
            yield stream.decompress(piece, MB)
            piece = stream.unconsumed_tail


def bench_assemble(era: str, store: Store, scratch: Path, pairs: int) -> list[float]:
    """Time `image build` from cached files against the floor."""
    spec = read_spec(IMAGES, era)
    lock = read_lock(spec)
    ours, floors, size = [], [], 0
    for _ in range(pairs):
        place = Store(scratch / "store")
        for artifact in lock.artifacts:
            blob = place.blob(artifact.sha256)
            blob.parent.mkdir(parents=True, exist_ok=True)
            blob.symlink_to(store.blob(artifact.sha256))
        ours.append(timed(lambda place=place: ensure_layout(era, IMAGES, place, [])))
        layers = disk_usage(IMAGES, place).distinct
        shutil.rmtree(place.root)
        sizes: list[int] = []
        floors.append(timed(lambda sizes=sizes: sizes.append(floor(lock, store, scratch / "floor"))))
        size = sizes[0]
        shutil.rmtree(scratch / "floor")
    print(f"assemble {era}, from {len(lock.artifacts)} cached files; median of {pairs} pairs")
    print(f"  image build     {spread(ours)}  {layers / 1e9:.2f} GB of layers")
    print(f"  floor           {spread(floors)}  {size / 1e9:.2f} GB inflated, hashed, written")
    print(f"  build / floor   {statistics.median(a / b for a, b in zip(ours, floors, strict=True)):8.2f}")
    return ours


def base_layout(era: str, store: Store, scratch: Path) -> Layout:
    """Return an image of the era's lowest layer alone."""
    spec = read_spec(IMAGES, era)
    with assembled(spec, read_lock(spec), store, Store(scratch / "base-store"), lambda *_: None) as built:
        lowest = built.layers[0]
        documents = describe(spec, [LayerFile(lowest.title, lowest.path, lowest.digest, lowest.size)])
        folder = scratch / "base"
        write_layout(folder, "bench-base", documents.manifest_digest, len(documents.manifest))
        blob_path(folder, documents.config_digest).write_bytes(documents.config)
        blob_path(folder, documents.manifest_digest).write_bytes(documents.manifest)
        lowest.path.rename(blob_path(folder, lowest.digest))
    digests = (documents.config_digest, documents.manifest_digest)
    return Layout("bench-base", folder, *digests, (lowest.digest,), spec.env, spec.fidelity, spec.epoch)


DOCKERFILE = f"""\
FROM {tag("bench-base")}
USER 0
RUN --mount=type=bind,target=/context PYTHONPATH=/context/tool python3 -m pip install --no-deps --no-index \
 --no-compile --break-system-packages --root-user-action=ignore --disable-pip-version-check /context/*.whl
"""


def bench_build(era: str, store: Store, scratch: Path, pairs: int, ours: list[float], docker: str) -> None:
    """Time `docker build` with `pip install --no-deps` of the same wheels, without its caches."""
    lock = read_lock(read_spec(IMAGES, era))
    context = scratch / "context"
    context.mkdir()
    for wheel in lock.wheels:
        (context / wheel.name).hardlink_to(store.blob(wheel.sha256))
    import pip

    shutil.copytree(Path(pip.__file__).parent, context / "tool" / "pip")
    (context / "Dockerfile").write_text(DOCKERFILE)
    ensure_loaded(base_layout(era, store, scratch), os.environ["DOCKER_HOST"])
    command = [docker, "build", "--quiet", "--no-cache", "--network", "none", "-t", tag("bench-pip"), "."]
    env = {**os.environ, "DOCKER_BUILDKIT": "1"}

    def build() -> None:
        subprocess.run(command, cwd=context, env=env, check=True, stdout=subprocess.DEVNULL)

    def forget() -> None:
        """Remove what was built, and keep the context."""
        subprocess.run([docker, "rmi", "--force", tag("bench-pip")], check=True, stdout=subprocess.DEVNULL)
        command = [docker, "builder", "prune", "--force", "--filter", "type=regular"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    print(f"docker build with pip install --no-deps of the {len(lock.wheels)} wheels, the base given")
    print(f"  first           {timed(build):8.2f} s  with sending the context", flush=True)
    theirs = []
    for _ in range(pairs):
        forget()
        theirs.append(timed(build))
    subprocess.run(
        [docker, "rmi", "--force", tag("bench-pip"), tag("bench-base")],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    subprocess.run([docker, "builder", "prune", "--all", "--force"], check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(context)
    print(f"  further         {spread(theirs)}  the context is there")
    if ours:
        ratio = statistics.median(theirs) / statistics.median(ours)
        print(f"  build / ours    {ratio:8.2f}  ours makes the base, too")


def bench_load(era: str, other: str, store: Store, docker: str) -> None:
    """Time loading into an engine that has `other`, and into one that has neither."""
    url = os.environ["DOCKER_HOST"]
    layouts = [ensure_layout(name, IMAGES, store, []) for name in (other, era)]
    with contextlib.closing(Engine(url)) as engine:
        if engine.chains():
            sys.exit("the engine at $DOCKER_HOST has images: give it one without")
    found = []

    def load(layout: Layout) -> None:
        found.append(ensure_loaded(layout, url))

    load(layouts[0])
    part = timed(lambda: load(layouts[1]))
    subprocess.run([docker, "rmi", "--force", tag(other), tag(era)], check=True, stdout=subprocess.DEVNULL)
    full = timed(lambda: load(layouts[1]))
    subprocess.run([docker, "rmi", "--force", tag(era)], check=True, stdout=subprocess.DEVNULL)
    _, prefix, whole = found
    assert whole.sent == archive.size(layouts[1])
    print(f"image load {era} into {whole.engine}")
    print(f"  into an empty engine   {full:8.2f} s  {whole.sent / 1e9:.2f} GB sent")
    print(
        f"  beside {other:<15} {part:8.2f} s  {prefix.sent / 1e9:.2f} GB sent,"
        f" {prefix.layers_left_out} of {len(layouts[1].diff_ids)} layers left out"
    )
    print(f"  full / missing layers  {full / part:8.2f}")


def bench_run(era: str, store: Store, scratch: Path, pairs: int) -> None:
    """Time from a built image to a guest's first byte, in runc."""
    layout = ensure_layout(era, IMAGES, store, [])
    there = (store.root / "roots" / layout.manifest_digest).exists()
    first = timed(lambda: ensure_rootfs(layout, store))
    checks, starts, both = [], [], []
    for _ in range(5 * pairs):
        begin = time.perf_counter()
        root = ensure_rootfs(layout, store)
        checked = time.perf_counter()
        with tempfile.TemporaryDirectory(dir=scratch) as name:
            folder = Path(name)
            folder.chmod(0o755)
            (folder / "submission").mkdir()
            (folder / "submission" / "x").write_text("")
            image = ImageRef(era, layout.config_digest, layout.manifest_digest, root)
            spec = RunSpec(new_run_id(0), image, folder / "submission", ("/bin/echo", "hello"), layout.env)
            guest = Runc().start(spec, folder)
            while not os.read(guest.stdout, 100):
                time.sleep(0.0005)
            said = time.perf_counter()
            while guest.poll() is None:
                time.sleep(0.001)
            guest.close()
        checks.append(checked - begin)
        starts.append(said - checked)
        both.append(said - begin)
    print(f"run in runc, {era}")
    print(f"  unpack and link {first:8.2f} s  {'was there' if there else 'once'}")
    print(f"  compare         {spread(checks)}  every path's mode, size and time, before each run")
    print(f"  start           {spread(starts)}  from there to the guest's first byte")
    print(f"  both            {spread(both)}")


def bench_disk(store: Store) -> None:
    """Print what the built images take, beside what their distinct layers add up to."""
    found = disk_usage(IMAGES, store)
    print(f"disk of {len(found.eras)} images: {', '.join(found.eras)}")
    print(f"  layers, summed  {found.summed / 1e9:8.3f} GB")
    print(f"  distinct        {found.distinct / 1e9:8.3f} GB, {found.layers} layers")
    print(f"  on disk         {found.on_disk / 1e9:8.3f} GB")
    print(f"  disk / distinct {found.ratio:8.4f}")


def machine() -> str:
    """Say what kind of machine this is."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return f"{cores()} cores of {line.partition(': ')[2]}, Linux {platform.release()}"
    return f"{cores()} cores, {platform.platform()}"


def main() -> None:
    """Run what was asked for and print medians and ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("what", nargs="*", default=["assemble", "disk"])
    parser.add_argument("--era", default="torch-2.5.1")
    parser.add_argument(
        "--other", default="torch-2.5.0", help="for load: the era that the engine has already"
    )
    parser.add_argument("--docker", default="docker", help="a docker program that can build with BuildKit")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--store", type=Path, default=default_store())
    asked = parser.parse_args()
    store, ours = Store(asked.store), []
    lock = read_lock(read_spec(IMAGES, asked.era))
    if not all(store.has(a) for a in lock.artifacts) and {"assemble", "build"} & set(asked.what):
        sys.exit(f"files of {asked.era} are missing; fetch them: speedrun image fetch {asked.era}")
    print(machine())
    with tempfile.TemporaryDirectory(prefix="speedrun-bench-", dir=asked.store) as name:
        scratch = Path(name)
        scratch.chmod(0o755)
        if "assemble" in asked.what:
            ours = bench_assemble(asked.era, store, scratch, asked.pairs)
        if "build" in asked.what:
            bench_build(asked.era, store, scratch, asked.pairs, ours, asked.docker)
        if "load" in asked.what:
            bench_load(asked.era, asked.other, store, asked.docker)
        if "run" in asked.what:
            bench_run(asked.era, store, scratch, asked.pairs)
        if "disk" in asked.what:
            bench_disk(store)


if __name__ == "__main__":
    main()
