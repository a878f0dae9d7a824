"""The bare arm in a pinned image: a script under torchrun in the image's own files. Needs root."""

from __future__ import annotations

import shlex
import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path

from arms import Bare, Machine, free_port, read_until

from kit.core.errors import PrerequisiteError
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.data.synth import load_smoke
from kit.evaluate.launch import script_environment
from kit.gpu.driver import LIBRARY_FOLDERS, environment, find_driver_files
from kit.gpu.nvml import Driver
from kit.image.build import ensure_layout
from kit.image.rootfs import ensure_rootfs

SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
VAL_TOKENS = 10_485_760


def require_image(era: str, store: Path) -> None:
    """Raise `PrerequisiteError` if the store has neither the era's image nor all packages to build it."""
    try:
        ensure_layout(era, facts_root() / "images", Store(store), ())
    except PrerequisiteError as e:
        carry = Path(__file__).with_name("carry.py")
        hint = f"python {shlex.quote(str(carry))} unpack DIR {shlex.quote(str(store))}"
        raise PrerequisiteError(f"image {era} is not in {store}", hint) from e


def bare_in_image(
    machine: Machine, submission: Path, entry: str, enough: Callable[[str], bool], patience_s: float
) -> Bare:
    """
    Run the script `entry` under torchrun in the files of the machine's image until a line is `enough`.

    It sees them read-only below a changed root, with the same driver files and environment as a guest, and
    has none of the kit's limits, seccomp filter or watchdog.
    """
    store = Store(machine.store)
    layout = ensure_layout(machine.image, facts_root() / "images", store, ())
    rootfs = ensure_rootfs(layout, store)
    terms = tomllib.loads((submission / "run.toml").read_text()) if (submission / "run.toml").exists() else {}
    smoke = load_smoke(facts_root() / "records") if machine.profile == "smoke" else None
    ranks = smoke.guest.world_size if smoke else max(machine.gpus, 1)
    given = dict(smoke.guest.env if smoke else ()) | terms.get("env", {})
    env = dict(layout.env) | dict(script_environment(smoke.val_tokens if smoke else VAL_TOKENS, given))
    mounts: list[tuple[Path, Path]] = []
    if machine.gpus:
        minors = tuple(gpu.minor for gpu in Driver().read().gpus)
        mounts = [(a, Path(b)) for a, b in find_driver_files(minors, folders=LIBRARY_FOLDERS).mounts()]
        env = dict(environment(tuple(env.items())))
        env["CUDA_VISIBLE_DEVICES"] = machine.visible or ",".join(map(str, range(machine.gpus)))
    with tempfile.TemporaryDirectory(prefix="bare-") as name:
        folder = Path(name)
        for file in submission.glob("*.py"):
            (folder / file.name).write_bytes(file.read_bytes())
        (folder / "data" / "fineweb10B").mkdir(parents=True)
        (folder / "logs").mkdir()
        argv = [
            "torchrun", "--nnodes=1", f"--nproc_per_node={ranks}", "--master_addr=127.0.0.1",
            f"--master_port={free_port()}", entry, *terms.get("args", ()),
        ]  # fmt: skip
        script = _enter(rootfs, folder, machine.data, mounts, env, argv)
        argv = ["unshare", "--mount", "sh", "-euc", script]
        done = read_until(argv, folder, {"PATH": SYSTEM_PATH}, enough, patience_s, machine.budget)
    (machine.out / "bare.log").write_text("".join(f"{t:9.3f}  {text}\n" for t, text in done.lines))
    return done


def _enter(
    rootfs: Path,
    folder: Path,
    data: Path,
    mounts: list[tuple[Path, Path]],
    env: dict[str, str],
    argv: list[str],
) -> str:
    """Return the shell commands that go into the image, in a mount namespace of their own."""
    q, root = shlex.quote, "/mnt"
    lines = [
        "mount --make-rprivate /",
        f"mount --bind {q(str(rootfs))} {root}",
        f"mount -o remount,bind,ro {root}",
        f"mount -t proc proc {root}/proc", f"mount --rbind /dev {root}/dev", f"mount --rbind /sys {root}/sys",
        f"mount -t tmpfs tmpfs {root}/tmp", f"mount -t tmpfs tmpfs {root}/input",
        f"mount --bind {q(str(folder))} {root}/workspace",
        f"mount --bind {q(str(data))} {root}/workspace/data/fineweb10B",
    ]  # fmt: skip
    for here, inside in mounts:
        target = q(f"{root}{inside}")
        lines += [f"mkdir -p $(dirname {target})", f"touch {target}", f"mount --bind {q(str(here))} {target}"]
    given = " ".join(q(f"{k}={v}") for k, v in sorted(env.items()))
    inner = f"cd /workspace; exec env -i {given} {shlex.join(argv)}"
    return "; ".join([*lines, f"exec chroot {root} /bin/sh -c {q(inner)}"])
