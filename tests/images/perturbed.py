"""
One era assembled under conditions that must not show in its bytes, each in a process of its own.

Run as a script, this file is that process: it changes itself as it is told, assembles, and says what it saw.
"""

from __future__ import annotations

import codecs
import dataclasses
import datetime
import filecmp
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

from kit.core.store import Store
from kit.image import assemble, base
from kit.image.compared import read_image
from kit.image.diff import compare_layers
from kit.image.lock import read_lock
from kit.image.spec import read_spec

ROOT = Path(__file__).parents[2]
NOBODY = 65534


@dataclass(frozen=True)
class Condition:
    """What is unusual about a build."""

    umask: int = 0o022
    env: dict[str, str] = field(default_factory=dict)
    uid: int | None = None
    clock_s: int = 0
    shuffle: int | None = None
    workers: int | None = None


ORDINARY = Condition()
PERTURBED = {
    "a private umask": Condition(umask=0o077),
    "an open umask": Condition(umask=0),
    "a zone of fourteen hours": Condition(env={"TZ": "Pacific/Kiritimati"}),
    "a Turkish locale": Condition(env={"LANG": "tr_TR.UTF-8", "LC_ALL": "tr_TR.UTF-8"}),
    "an ASCII locale": Condition(env={"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    "no home": Condition(env={"HOME": "/nonexistent"}),
    "hashes of another seed": Condition(env={"PYTHONHASHSEED": "4711"}),
    "a clock of the nineties": Condition(clock_s=-900_000_000),
    "a clock of the fifties": Condition(clock_s=900_000_000),
    "folders listed in disorder": Condition(shuffle=7),
    "one worker": Condition(workers=1),
    "two workers": Condition(workers=2),
    "seven workers": Condition(workers=7),
}
OTHER_USER = Condition(uid=NOBODY, umask=0o077)
"""Needs root, and files that everybody can read."""


def everything(conditions: Iterable[Condition]) -> Condition:
    """Return all of `conditions` at once; where two say something of the same, the last one does."""
    merged = ORDINARY
    for condition in conditions:
        said = {
            f.name: value
            for f in dataclasses.fields(Condition)
            if (value := getattr(condition, f.name)) != getattr(ORDINARY, f.name)
        }
        merged = dataclasses.replace(merged, **{**said, "env": {**merged.env, **condition.env}})
    return merged


def build(era: str, images: Path, artifacts: Path, folder: Path, condition: Condition) -> Path:
    """
    Assemble `era` into a layout at `folder` under `condition`; its parent must be open to the user.

    Sees to it that the process saw what the condition says.
    """
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join((str(ROOT), *filter(None, sys.path)))}
    order = {"era": era, "images": str(images), "artifacts": str(artifacts), "folder": str(folder)}
    said = json.dumps({**order, **dataclasses.asdict(condition)})
    argv = [sys.executable, "-B", __file__, said]
    before = time.time()
    done = subprocess.run(argv, env={**env, **condition.env}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    saw = json.loads(done.stdout)
    assert saw["umask"] == condition.umask
    assert saw["uid"] == (os.geteuid() if condition.uid is None else condition.uid)
    assert all(abs(t - before - condition.clock_s) < 3600 for t in saw["clocks"])
    assert condition.workers in (None, saw["workers"])
    assert all(saw["env"][name] == value for name, value in condition.env.items())
    assert saw["disorder"] is (condition.shuffle is not None)
    return folder


def differences(reference: Path, other: Path) -> list[str]:
    """Compare two layouts byte by byte; say in which files and entries they differ, if they do."""
    names = [sorted(p.relative_to(r).as_posix() for p in r.rglob("*")) for r in (reference, other)]
    if names[0] == names[1]:
        files = [name for name in names[0] if (reference / name).is_file()]
        differing = [n for n in files if not filecmp.cmp(reference / n, other / n, shallow=False)]
        if not differing:
            return []
    else:
        differing = sorted(set(names[0]) ^ set(names[1]))
    nowhere = Store(reference / "no-store")
    pairs = zip(
        *(read_image(str(p), ROOT / "images", nowhere).layers for p in (reference, other)), strict=False
    )
    entries = [
        f"layer {c.layer}: {c.name}: {c.before} -> {c.after}"
        for x, y in pairs
        if not filecmp.cmp(x.path, y.path, shallow=False)
        for c in compare_layers(x.title, x.path, y.path)
    ]
    return [*(f"file {name}" for name in differing), *entries]


def _shift_clock(seconds: int) -> None:
    real, real_ns, local, universal = time.time, time.time_ns, time.localtime, time.gmtime
    time.time = lambda: real() + seconds
    time.time_ns = lambda: real_ns() + seconds * 10**9
    time.localtime = lambda s=None: local(time.time() if s is None else s)
    time.gmtime = lambda s=None: universal(time.time() if s is None else s)

    original = datetime.datetime

    class Both(type(original)):
        def __instancecheck__(cls, value):
            return isinstance(value, original)

    class Shifted(original, metaclass=Both):
        @classmethod
        def now(cls, tz=None):
            return cls.fromtimestamp(time.time(), tz)

    datetime.datetime = Shifted


def _shuffle_folders(seed: int) -> None:
    scan, listed, generator = os.scandir, os.listdir, random.Random(seed)

    class Shuffled(list):
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def close(self):
            return None

    def shuffled(found):
        found = sorted(found, key=lambda e: getattr(e, "name", e))
        generator.shuffle(found)
        return found

    os.scandir = lambda *a: Shuffled(shuffled(scan(*a)))
    os.listdir = lambda *a: shuffled(listed(*a))


def _main(order: dict) -> None:
    # another user may not be able to read the checkout: everything of it is read by now, or here
    for encoding in ("cp437", "utf-16be"):
        codecs.lookup(encoding)
    read_lock(read_spec(Path(order["images"]), order["era"]))
    data = base._SITECUSTOMIZE.read_bytes()
    base._SITECUSTOMIZE = SimpleNamespace(read_bytes=lambda: data)
    os.umask(order["umask"])
    _shift_clock(order["clock_s"])
    if order["workers"] is not None:
        assemble.cores = lambda: order["workers"]
    names = os.listdir(ROOT / "kit" / "image")
    if order["shuffle"] is not None:
        _shuffle_folders(order["shuffle"])
    disorder = os.listdir(ROOT / "kit" / "image") != names
    if order["uid"] is not None:
        os.setgroups([])
        os.setgid(order["uid"])
        os.setuid(order["uid"])
    folder = Path(order["folder"])
    assemble.assemble(order["era"], Path(order["images"]), Store(Path(order["artifacts"])), folder)
    umask = os.umask(0)
    saw = {
        "umask": umask,
        "uid": os.geteuid(),
        "clocks": [time.time(), time.mktime(time.localtime()), datetime.datetime.now().timestamp()],
        "workers": assemble.cores(),
        "env": dict(os.environ),
        "disorder": disorder,
    }
    sys.stdout.write(json.dumps(saw))


def copied(files: dict[str, Path], place: Path) -> Path:
    """Copy files into a folder that is laid out like a store, readable by everybody; return it."""
    blobs = place / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for sha256, path in files.items():
        shutil.copyfile(path, blobs / sha256)
        (blobs / sha256).chmod(0o644)
        os.utime(blobs / sha256, (1, 1))
    for folder in (place, place / "blobs", blobs):
        folder.chmod(0o755)
    return place


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
