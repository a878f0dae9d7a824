"""RUN.md of a real capsule, run as it stands: tar, sha256sum, openssl, and runc without the kit."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import SPEEDRUN

pytestmark = [pytest.mark.container, pytest.mark.network]


@pytest.fixture(scope="module")
def packed(cpu_image, tmp_path_factory):
    """A smoke run and its capsule."""
    base = tmp_path_factory.mktemp("capsule")
    keys = ["--keys", str(base / "keys")]
    run = ["eval", "--record", "3", "--profile", "smoke", "--out", str(base / "runs"), *keys]
    done = subprocess.run([*SPEEDRUN, *run], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    bundle = Path(done.stdout.strip())
    file = base / "result.capsule.tar"
    speedrun("pack", str(bundle), "--out", str(file), *keys)
    yield file, bundle, keys
    shutil.rmtree(base)


def speedrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*SPEEDRUN, *arguments], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done


def blocks(capsule: Path, kind: str) -> str:
    """The commands of one kind in RUN.md."""
    text = subprocess.run(
        ["tar", "-xOf", str(capsule), "capsule/RUN.md"], capture_output=True, text=True, check=True
    ).stdout
    return "".join(re.findall(rf"^```sh{kind}\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


def by_hand(script: str, where: Path, capsule: Path) -> subprocess.CompletedProcess[str]:
    """Run commands with nothing of the kit on the PATH."""
    return subprocess.run(
        ["/bin/sh", "-e", "-c", script], cwd=where, capture_output=True, text=True, check=False, timeout=300,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "CAPSULE": str(capsule), "LANG": "C.UTF-8"},
    )  # fmt: skip


def test_the_same_run_packs_into_the_same_bytes(packed, tmp_path):
    file, bundle, keys = packed
    again = tmp_path / "again.tar"
    speedrun("pack", str(bundle), "--out", str(again), *keys)
    assert subprocess.run(["cmp", str(file), str(again)], check=False).returncode == 0
    again.unlink()


def test_its_commands_check_bytes_signature_and_image(packed, tmp_path):
    file, _, _ = packed
    done = by_hand(blocks(file, ""), tmp_path, file)
    assert (done.returncode, done.stdout.strip()) == (0, "Verified OK"), done.stderr


@pytest.mark.parametrize(
    ("name", "says"),
    [("data/run/guest.log", "FAILED"), ("bag-info.txt", "FAILED"), ("data/records/03.toml", "FAILED")],
)
def test_its_commands_refuse_a_changed_file(packed, tmp_path, name, says):
    file, _, _ = packed
    script = blocks(file, "").replace("cd capsule\n", f"cd capsule\necho >> {name}\n", 1)
    done = by_hand(script, tmp_path, file)
    assert done.returncode != 0
    assert f"{name}: {says}" in done.stdout + done.stderr


def test_runc_alone_reruns_it_and_reaches_the_same_loss(packed, tmp_path):
    file, bundle, _ = packed
    done = by_hand("tar -xf $CAPSULE\n" + blocks(file, " runc"), tmp_path, file)
    assert done.returncode == 0, done.stderr
    printed = [line.split(" train_time")[0] for line in done.stdout.splitlines() if "val_loss:" in line]
    log = (bundle.parent / "guest.log").read_text()
    assert printed == [line.split(" train_time")[0] for line in log.splitlines() if "val_loss:" in line]
    shutil.rmtree(tmp_path / "box")
