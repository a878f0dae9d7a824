"""
Compile an image's Python files once, so that no guest has to compile torch from source again.

    <store>/byte-code/<manifest digest>-<16 hex>/files/usr/...    what Python puts below its cache prefix
    <store>/byte-code/<manifest digest>-<16 hex>/seal             digest of the files, and their status

The image's own Python compiles them, in a container of its own that sees the image and no submission. Guests
get them read-only. They are not a part of the image: its digest does not change, and a run without them
imports the same modules from source.
"""

from __future__ import annotations

import base64
import binascii
import re
import shutil
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kit.core.digest import Sha256, files_under, is_sha256, sha256_bytes, tree_digest
from kit.core.errors import IntegrityError, KitError, RunError
from kit.core.facts import guest_file
from kit.core.files import disk_errors, readable_copy
from kit.core.seal import listing
from kit.core.store import Progress, Store
from kit.sandbox.folder import new_run_id
from kit.sandbox.run_guest import guest_directory, run_guest
from kit.sandbox.runtime.lease import at_work
from kit.sandbox.runtime.port import Runtime
from kit.values.deadlines import Deadlines
from kit.values.output import StoredOutput, read_lines
from kit.values.run_result import RunStatus
from kit.values.run_spec import BYTE_CODE, BYTE_CODE_LINKS, GIB, MIB, ImageRef, Limits, Mount, RunSpec

ROOM = "byte-code"
FILES = "files"
SEAL = "seal"
SCRIPT = guest_file("byte_code.py")
MODULES = (
    "torch",
    "torch.distributed.run",
    "torch.distributed.elastic.rendezvous.static_tcp_rendezvous",
    "argparse",
    "encodings.idna",
    "glob",
)
"""What torchrun and a training script on CPUs import. `torch.compile` would import far more."""
LIMITS = Limits(memory=4 * GIB, line=4 * MIB)
DEADLINES = Deadlines(start_s=300, warmup_s=300, stall_s=300, teardown_s=300, total_s=300)
MAX_FILE_BYTES = 4 * MIB
PREFIX = "speedrun-byte-code-"

_PATH = re.compile(r"usr(?:/[A-Za-z0-9_][A-Za-z0-9_.+-]*){1,24}\.cpython-3[0-9]{1,2}\.pyc")


@dataclass(frozen=True, slots=True)
class ByteCode:
    """An image's compiled Python files."""

    folder: Path
    digest: Sha256
    """Tree digest of the files."""

    @property
    def mount(self) -> Mount:
        """The mount that offers them to a guest."""
        return Mount(self.folder, BYTE_CODE)


def ensure_byte_code(
    image: ImageRef, env: tuple[tuple[str, str], ...], runtime: Runtime, store: Store, progress: Progress
) -> ByteCode | None:
    """
    Return an image's byte code; make it if the store has none, or if it was changed there.

    `env` is the image's environment. Files are hashed when they are made; later uses compare every path's
    mode, size and time. Returns None if it cannot be made, for example in a store that is read-only: byte
    code saves time, and no run depends on it.
    """
    key = sha256_bytes(SCRIPT.read_bytes() + "\n".join(MODULES).encode())[:16]
    name = f"{image.manifest_digest}-{key}"
    home = store.root / ROOM / name
    try:
        if (known := _sealed(home)) is not None:
            return known
        with store.lock(f"{ROOM}-{name}"):
            if (known := _sealed(home)) is not None:
                return known
            progress(f"compile the Python files of {image.era}", 0, 0)
            files = _compiled(image, env, runtime)
            return _keep(files, home, store)
    except (KitError, OSError) as e:
        reason = e.message if isinstance(e, KitError) else str(e)
        progress(f"continue without compiled Python files: {reason}", 0, 0)
        return None


def _sealed(home: Path) -> ByteCode | None:
    """Return the byte code at `home`; None if there is none, or it is not as it was made."""
    try:
        digest, _, sealed = (home / SEAL).read_text("utf-8").partition("\n")
        if is_sha256(digest) and sealed == listing(home / FILES):
            return ByteCode(home / FILES, Sha256(digest))
    except (OSError, UnicodeError):
        pass
    return None


def _keep(files: dict[str, bytes], home: Path, store: Store) -> ByteCode:
    """Write the files into the store; the caller holds the lock."""
    with store.staging(ROOM) as folder:
        root = folder / FILES
        for name, data in files.items():
            path = root / name
            for parent in reversed(path.relative_to(root).parents):
                (root / parent).mkdir(exist_ok=True)
                (root / parent).chmod(0o755)  # a guest has another uid
            with disk_errors(path):
                path.write_bytes(data)
            path.chmod(0o444)
        digest = tree_digest(files_under(root))
        (folder / SEAL).write_text(f"{digest}\n{listing(root)}", "utf-8")
        shutil.rmtree(home, ignore_errors=True)  # it was changed
        folder.rename(home)
    return ByteCode(home / FILES, digest)


def _compiled(image: ImageRef, env: tuple[tuple[str, str], ...], runtime: Runtime) -> dict[str, bytes]:
    """Compile the files in a container of the image; return them by path below the cache prefix."""
    run_id = new_run_id(0)
    with guest_directory(None, PREFIX) as scratch:
        nothing = scratch / "submission"
        nothing.mkdir()
        nothing.chmod(0o755)
        target = PurePosixPath("/input") / SCRIPT.name
        spec = RunSpec(
            run_id=run_id,
            image=image,
            submission=nothing,
            argv=("python3", "-I", "-X", f"pycache_prefix={BYTE_CODE_LINKS}", str(target), *MODULES),
            env=env,
            mounts=(Mount(readable_copy(SCRIPT, scratch), target),),
            limits=LIMITS,
            deadlines=DEADLINES,
        )
        output = StoredOutput(scratch / "log", scratch / "stamps")
        with (
            at_work(run_id),
            run_guest(runtime, spec, scratch, output, prefix="engine-", watched=True) as run,
        ):
            if run.result.status is not RunStatus.COMPLETED:
                raise RunError(f"compiling failed: {run.result.reason}: {output.stderr_tail()}")
            return parse_files(data for _, data in read_lines(output.log, output.stamps, LIMITS.line))


def parse_files(lines: Iterable[bytes]) -> dict[str, bytes]:
    """
    Return the compiled files of the guest's output, by relative path.

    Raises `IntegrityError` for a line that is no such file, and for a path outside the image's Python.
    """
    files: dict[str, bytes] = {}
    for line in lines:
        name, _, data = line.decode("ascii", "replace").rstrip("\n").partition(" ")
        if _PATH.fullmatch(name) is None or name in files:
            raise IntegrityError(f"unexpected output of {SCRIPT.name}: {name[:80]!r}")
        try:
            inflate = zlib.decompressobj()
            content = inflate.decompress(base64.b64decode(data, validate=True), MAX_FILE_BYTES)
        except (binascii.Error, zlib.error) as e:
            raise IntegrityError(f"unexpected output of {SCRIPT.name} for {name}: {e}") from e
        if not inflate.eof:
            raise IntegrityError(f"unexpected output of {SCRIPT.name}: {name} is incomplete or too large")
        files[name] = content
    if not files:
        raise IntegrityError(f"{SCRIPT.name} printed nothing")
    return files
