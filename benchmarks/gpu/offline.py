"""What a machine without a network needs beside images: the tools that are carried, and a check of all."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arms import KIT, row
from frames import ZSTD
from pieces import read_list

from kit.benchmark import records
from kit.core.errors import KitError, PrerequisiteError, RunError
from kit.core.facts import facts_root
from kit.core.files import make_folder
from kit.core.store import Artifact, Store
from kit.evaluate.provenance import this_kit
from kit.image.build import survey
from kit.image.digest import read_identity
from kit.image.index import PLATFORMS
from kit.image.lock import read_lock
from kit.image.rootfs import ROOTS
from kit.image.spec import read_spec

HERE = Path(__file__).resolve().parent
LIBRARIES = ("/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/lib/x86_64-linux-gnu", "/lib64")
SYSTEM_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"))
NUMPY = "numpy>=2,<3"
"""For `shards.py`."""
SETUP = """\
#!/bin/sh
# Install what is beside this file: sh setup.sh VENV, with Python {python}. Needs no network and no ensurepip.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
(cd "$here" && sha256sum --quiet --check SHA256SUMS)
python{python} -m venv --without-pip "$1"
for pip in "$here"/wheels/pip-*.whl; do :; done
"$1/bin/python" "$pip/pip" install --quiet --no-index --find-links "$here/wheels" \\
    'speedrun-kit[{extras}]' numpy
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
command -v runc > /dev/null || install -m 755 "$here/bin/runc" "$1/bin/runc"
echo "export PATH=$(cd "$1/bin" && pwd):\\$PATH"
"""


def write_tools(a: argparse.Namespace) -> int:
    """Write the tools into a directory, with their checksums."""
    root = facts_root()
    if not (root / "pyproject.toml").is_file():
        raise PrerequisiteError(f"{root} is not a checkout of the kit", "run this in a checkout")
    tools = a.folder / "tools"
    shutil.rmtree(tools, ignore_errors=True)
    wheels = make_folder(tools / "wheels")
    _pip("wheel", "--no-deps", "--wheel-dir", str(wheels), str(root))
    kit = next(wheels.glob("speedrun_kit-*.whl"))
    platforms = [f"--platform={name}" for name in PLATFORMS]
    _pip(
        "download", "--dest", str(wheels), "--only-binary=:all:", "--implementation=cp",
        f"--python-version={a.python}", *platforms, f"{kit}[{a.extras}]", NUMPY,
    )  # fmt: skip
    shutil.copytree(HERE, tools / "gpu", ignore=shutil.ignore_patterns("__pycache__"))
    runc = shutil.which("runc", path=SYSTEM_PATH)
    if runc is None:
        raise PrerequisiteError("runc is not installed", "apt-get install runc")
    for file, place in ((Path(runc), "bin"), (_library(ZSTD), "lib"), (_library("libseccomp.so.2"), "lib")):
        shutil.copy(file, make_folder(tools / place) / file.name)
    (tools / "setup.sh").write_text(SETUP.format(python=a.python, extras=a.extras))
    files = sorted(p for p in tools.rglob("*") if p.is_file())
    sums = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(tools)}\n" for p in files]
    (tools / "SHA256SUMS").write_text("".join(sums))
    size = sum(p.stat().st_size for p in files)
    commit = this_kit().commit or "a checkout with changes that are not committed"
    print(f"{len(files)} files, {size:,} bytes, in {tools}; kit of {commit}")
    return 0


def _pip(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RunError(f"pip {arguments[0]} failed: {done.stderr.strip()[-600:]}")


def _library(name: str) -> Path:
    for folder in LIBRARIES:
        if (path := Path(folder, name)).exists():
            return path
    raise PrerequisiteError(f"{name} not found", "apt-get install libzstd1 libseccomp2")


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that a run needs."""

    name: str
    missing: str
    """What of it is missing; empty if nothing is."""
    fix: str
    """A command, or what to do."""
    detail: str = ""


def check(a: argparse.Namespace) -> int:
    """Print what is missing for runs of these records; return 3 if anything is."""
    store = Store(a.store)
    eras = list(dict.fromkeys([*a.era, *(_era(number, a.profile) for number in a.record)]))
    items = [*_machine(a.runtime), *_pieces(a.pieces, store), *(_image(era, store) for era in eras)]
    for number in a.record:
        items += _record(number, a)
    row("item", "state", "what to do")
    row(*["---"] * 3)
    for item in items:
        row(item.name, item.missing or f"present {item.detail}".strip(), item.fix if item.missing else "")
    missing = sum(bool(item.missing) for item in items)
    print(
        f"{missing} of {len(items)} items are missing" if missing else f"all {len(items)} items are present"
    )
    return 3 if missing else 0


def _era(number: str, profile: str) -> str:
    return "cpu" if profile == "smoke" else records.load(facts_root() / "records", number).era


def _machine(runtime: str) -> Iterator[Item]:
    kit = this_kit()
    yield Item("kit", "", "", f"{kit.version}, {(kit.commit or 'commit not known')[:12]}")
    yield Item("Python", "", "", platform.python_version())
    try:
        import numpy

        yield Item("numpy, for shards.py", "", "", numpy.__version__)
    except ImportError:
        yield Item("numpy, for shards.py", "not installed", "sh DIR/tools/setup.sh VENV")
    if runtime == "runc":
        yield _runc()
    yield Item(
        "user", "", "", "root" if os.geteuid() == 0 else "not root: era.py needs root, the kit does not"
    )


def _runc() -> Item:
    binary = shutil.which("runc", path=SYSTEM_PATH)
    if binary is None:
        return Item("runc", "not installed", "install -m 755 DIR/tools/bin/runc /usr/local/bin/")
    done = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False)
    if done.returncode:
        fix = "cp DIR/tools/lib/libseccomp.so.2 /usr/local/lib/ && ldconfig"
        return Item("runc", f"fails: {done.stderr.strip()[-200:]}", fix)
    return Item("runc", "", "", done.stdout.split("\n")[0].removeprefix("runc version "))


def _pieces(folder: Path | None, store: Store) -> Iterator[Item]:
    """Yield the files that pieces still have to bring, and the disk that they need."""
    if folder is None:
        return
    try:
        listed = read_list(folder)
    except KitError as e:
        yield Item(f"pieces in {folder}", e.message, e.hint)
        return
    lacking = [b for b in listed.blobs if not store.has(Artifact(b.name, b.size, b.sha256))]
    some = f"{len(lacking)} of {len(listed.blobs)} files, {sum(b.size for b in lacking):,} bytes"
    fix = f"python DIR/tools/gpu/carry.py unpack {folder} {store.root}"
    yield Item(f"pieces in {folder}", f"{some} are not in the store" if lacking else "", fix)
    root = next(p for p in (store.root, *store.root.parents) if p.exists())
    free, needed = shutil.disk_usage(root).free, 2 * sum(b.size for b in lacking)
    short = "" if free > needed else f"{free:,} bytes are free, {needed:,} are needed"
    yield Item("disk", short, "name another STORE", f"{free:,} bytes are free")


def _image(era: str, store: Store) -> Item:
    images = facts_root() / "images"
    spec = read_spec(images, era)
    manifest = read_identity(spec, read_lock(spec)).manifest
    states = (survey(era, images, store).built, (store.root / ROOTS / manifest).is_dir())
    missing = "" if all(states) else "not unpacked" if states[0] else "not in the store"
    return Item(f"image {era}", missing, "carry.py unpack DIR STORE", manifest[:12])


def _record(number: str, a: argparse.Namespace) -> Iterator[Item]:
    """Yield what `eval --plan` finds, except packages of the image: its layers were carried instead."""
    gpus = ["--gpus", str(a.gpus), "--accept-world-size"] if a.profile == "full" else []
    plan = _plan("eval", "--record", number, "--profile", a.profile, *gpus, "--runtime", a.runtime,
                 "--store", str(a.store), "--plan", "--json")  # fmt: skip
    if "error" in plan:
        yield Item(f"record {number}", plan["error"]["message"], plan["error"]["hint"])
        return
    scripts = [x["name"] for x in plan["artifacts"] if x["kind"] == "script" and not x["present"]]
    again = f"pack it: carry.py pack --record {number}"
    yield Item(
        f"record {number}: script", f"not in the store: {', '.join(scripts)}" if scripts else "", again
    )
    refused = [f for f in plan["findings"] if f["level"] == "refusal"]
    shards = f"python DIR/tools/gpu/shards.py DATA; {data_command(number, a.store)}"
    for finding in refused:
        fix = shards if finding["id"] == "shards" else finding["fix"]
        yield Item(f"record {number}: {finding['id']}", finding["detail"], fix)
    if not refused:
        count = sum(x["kind"] == "shard" for x in plan["artifacts"])
        yield Item(f"record {number}: machine and data", "", "", f"{count} shards, {plan['gpus']} GPUs")


def data_command(number: str, store: Path) -> str:
    """Return the command that copies the shards of DATA into a store."""
    return f"speedrun data fetch --record {number} --mirror DATA --store {store}"


def _plan(*arguments: str) -> dict[str, Any]:
    done = subprocess.run([*KIT, *arguments], capture_output=True, text=True, check=False)
    with contextlib.suppress(ValueError):
        return dict(json.loads(done.stdout))
    return {"error": {"message": done.stderr.strip()[-300:], "hint": "see the message"}}
