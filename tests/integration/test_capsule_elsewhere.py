"""A real capsule elsewhere: checked and rerun by hand as RUN.md says, and reproduced without a network."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import REPOSITORY, SPEEDRUN
from own_podman import BINARY as PODMAN
from own_podman import own_podman

pytestmark = [pytest.mark.container, pytest.mark.network]


@pytest.fixture(scope="module")
def packed(cpu_image, tmp_path_factory):
    """A run of the reference trainer, short of its target to be quick, and its capsule."""
    base = tmp_path_factory.mktemp("capsule")
    keys = ["--keys", str(base / "keys")]
    submission = base / "submission"
    submission.mkdir()
    shutil.copyfile(REPOSITORY / "kit" / "guest" / "train_reference.py", submission / "train_gpt2.py")
    smoke = tomllib.loads((REPOSITORY / "records" / "smoke.toml").read_text())["guest"]["args"]
    short = [*smoke[4:], "--steps", "20", "--val-every", "5"]
    (submission / "run.toml").write_text(f"args = {json.dumps(short)}\n")
    run = ["eval", "--record", "3", "--profile", "smoke", "--submission", str(submission)]
    command = [*SPEEDRUN, *run, "--out", str(base / "runs"), *keys]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 1, done.stderr  # missed
    bundle = Path(done.stdout.strip())
    file = base / "result.capsule.tar"
    speedrun("pack", str(bundle), "--out", str(file), *keys)
    yield file, bundle, keys
    shutil.rmtree(base)


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """Another folder tree with the kit in it, and nothing that this one has made."""
    elsewhere = tmp_path_factory.mktemp("stranger") / "speedrun-kit"
    for part in ("kit", "images", "records", "hints"):
        shutil.copytree(REPOSITORY / part, elsewhere / part, ignore=shutil.ignore_patterns("__pycache__"))
    where = [sys.executable, "-c", "import kit; print(kit.__file__)"]
    found = subprocess.run(where, cwd=elsewhere, capture_output=True, text=True, check=True).stdout
    assert Path(found.strip()).is_relative_to(elsewhere)
    return elsewhere


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


def by_hand(script: str, where: Path, capsule: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run commands with nothing of the kit on the PATH, and without a network."""
    return subprocess.run(
        ["/usr/bin/unshare", "--net", "/bin/sh", "-c", script], cwd=where, capture_output=True, text=True,
        check=False, timeout=600,
        env={"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "CAPSULE": str(capsule), **env},
    )  # fmt: skip


def losses(output: str) -> list[str]:
    """The validation lines without their times."""
    found = [line.split(" train_time")[0] for line in output.splitlines() if "val_loss:" in line]
    assert len(found) in (5, 10)
    return found


def test_the_same_run_packs_into_the_same_bytes(packed, tmp_path):
    file, bundle, keys = packed
    again = tmp_path / "again.tar"
    speedrun("pack", str(bundle), "--out", str(again), *keys)
    assert subprocess.run(["cmp", str(file), str(again)], check=False).returncode == 0
    again.unlink()


@pytest.fixture(scope="module")
def unpacked(packed, tmp_path_factory):
    """The capsule, unpacked once by tar."""
    folder = tmp_path_factory.mktemp("unpacked")
    subprocess.run(["tar", "-xf", str(packed[0])], cwd=folder, check=True)
    yield folder / "capsule"
    shutil.rmtree(folder)


def test_its_commands_check_bytes_signature_and_image(packed, unpacked):
    """tests/unit/capsule/test_run_md.py shows which programs they need and what they refuse."""
    script = blocks(packed[0], "").replace('tar -xf "$CAPSULE"\n', "", 1)
    done = by_hand(script, unpacked.parent, packed[0])
    said = ["bytes: OK", "Verified OK", "guest.log: OK", "stamps: OK", "submission: OK", *2 * ["image: OK"]]
    assert (done.returncode, done.stdout.splitlines()) == (0, said), done.stderr


def test_runc_alone_reruns_it_and_prints_the_same_losses(packed, unpacked, tmp_path):
    file, bundle, _ = packed
    (tmp_path / "capsule").symlink_to(unpacked)
    done = by_hand(blocks(file, " runc"), tmp_path, file)
    assert done.returncode == 0, done.stderr
    assert losses(done.stdout) == losses((bundle.parent / "guest.log").read_text())
    shutil.rmtree(tmp_path / "box")


def reproduced(stranger: Path, packed, base: Path, *more: str, **env: str) -> Path:
    """Reproduce the capsule from the other tree without a network; return the counter-bundle."""
    file, bundle, _ = packed
    elsewhere = ["--store", str(base / "store"), "--keys", str(base / "keys"), "--out", str(base / "runs")]
    kit = ["unshare", "--net", *SPEEDRUN]
    command = [*kit, "reproduce", str(file), "--offline", "--json", *elsewhere, *more]
    done = subprocess.run(
        command, cwd=stranger, capture_output=True, text=True, check=False, timeout=600,
        env={**os.environ, **env},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["reproduces"]["agreement"] == "reproduced"
    assert report["reproduces"]["loss_difference"] == 0
    assert report["same_key"] is False
    counter = Path(report["bundle"])
    named = payload(counter)["predicate"]["reproduces"]
    assert named["bundle_sha256"] == hashlib.sha256(bundle.read_bytes()).hexdigest()
    assert named["run_id"] == bundle.parent.name
    assert named["key_id"] == json.loads(bundle.read_bytes())["verificationMaterial"]["publicKey"]["hint"]
    assert list((base / "store" / "capsules").iterdir()) == []
    assert speedrun("bundle", "verify", str(counter), "--keys", str(base / "keys")).stdout
    shutil.rmtree(base / "store")
    return counter


def payload(bundle: Path) -> dict:
    return json.loads(base64.b64decode(json.loads(bundle.read_bytes())["dsseEnvelope"]["payload"]))


def runtime_of(bundle: Path) -> str:
    return payload(bundle)["predicate"]["environment"]["runtime"]["name"]


def test_another_tree_reproduces_it_in_runc_without_network_store_or_its_key(packed, stranger, tmp_path):
    assert runtime_of(reproduced(stranger, packed, tmp_path)) == "runc"


def test_another_tree_reproduces_it_in_docker_without_network_store_or_its_key(
    packed, stranger, dockerd, tmp_path
):
    more = ("--runtime", "docker")
    assert runtime_of(reproduced(stranger, packed, tmp_path, *more, DOCKER_HOST=dockerd.url)) == "docker"


def test_docker_loads_and_reruns_it_by_hand(packed, unpacked, dockerd, tmp_path):
    file, bundle, _ = packed
    (tmp_path / "capsule").symlink_to(unpacked)
    script = "".join(blocks(file, kind) for kind in (" load", " data", " docker", " said"))
    done = by_hand(script, tmp_path, file, DOCKER_HOST=dockerd.url)
    assert done.returncode == 0, done.stderr
    rerun, said = done.stdout.split("Loaded image", 1)[1], (bundle.parent / "guest.log").read_text()
    assert losses(rerun) == 2 * losses(said)


def test_podman_loads_and_reruns_it_by_hand(packed, unpacked, tmp_path):
    if PODMAN is None or os.geteuid() != 0:
        pytest.skip("needs podman, as root")
    file, bundle, _ = packed
    (tmp_path / "capsule").symlink_to(unpacked)
    script = "".join(blocks(file, kind) for kind in (" load", " data", " docker"))
    with own_podman() as env:
        done = by_hand(re.sub(r"\bdocker (load|run)", r"podman \1", script), tmp_path, file, **env)
    assert done.returncode == 0, done.stderr
    assert losses(done.stdout) == losses((bundle.parent / "guest.log").read_text())
