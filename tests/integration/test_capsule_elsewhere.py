"""A real capsule elsewhere: checked and rerun by hand as RUN.md says, and reproduced without a network."""

from __future__ import annotations

import base64
import hashlib
import json
import os
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


def by_hand(script: str, where: Path, capsule: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run commands with nothing of the kit on the PATH."""
    return subprocess.run(
        ["/bin/sh", "-e", "-c", script], cwd=where, capture_output=True, text=True, check=False, timeout=600,
        env={"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "CAPSULE": str(capsule), **env},
    )  # fmt: skip


def losses(output: str) -> list[str]:
    """The validation lines without their times."""
    found = [line.split(" train_time")[0] for line in output.splitlines() if "val_loss:" in line]
    assert len(found) == 5
    return found


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


def test_its_commands_refuse_a_changed_file(packed, tmp_path):
    file, _, _ = packed
    script = blocks(file, "").replace("cd capsule\n", "cd capsule\necho >> data/run/guest.log\n", 1)
    done = by_hand(script, tmp_path, file)
    assert done.returncode != 0
    assert "data/run/guest.log: FAILED" in done.stdout + done.stderr


def test_runc_alone_reruns_it_and_reaches_the_same_loss(packed, tmp_path):
    file, bundle, _ = packed
    done = by_hand("tar -xf $CAPSULE\n" + blocks(file, " runc"), tmp_path, file)
    assert done.returncode == 0, done.stderr
    assert losses(done.stdout) == losses((bundle.parent / "guest.log").read_text())
    shutil.rmtree(tmp_path / "box")


def test_it_is_reproduced_without_a_network_an_empty_store_and_with_another_key(packed, tmp_path):
    file, bundle, _ = packed
    elsewhere = ["--store", str(tmp_path / "store"), "--keys", str(tmp_path / "keys")]
    command = ["reproduce", str(file), "--offline", "--json", "--out", str(tmp_path / "runs"), *elsewhere]
    done = subprocess.run(
        ["unshare", "--net", *SPEEDRUN, *command], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["reproduces"]["agreement"] == "reproduced"
    assert report["reproduces"]["loss_difference"] == 0
    assert report["same_key"] is False
    counter = json.loads(Path(report["bundle"]).read_bytes())
    named = json.loads(base64.b64decode(counter["dsseEnvelope"]["payload"]))["predicate"]["reproduces"]
    assert named["bundle_sha256"] == hashlib.sha256(bundle.read_bytes()).hexdigest()
    assert named["run_id"] == bundle.parent.name
    assert named["key_id"] == json.loads(bundle.read_bytes())["verificationMaterial"]["publicKey"]["hint"]
    assert list((tmp_path / "store" / "capsules").iterdir()) == []
    assert speedrun("bundle", "verify", report["bundle"], "--keys", str(tmp_path / "keys")).stdout
    shutil.rmtree(tmp_path / "store")


def test_docker_loads_and_reruns_it_by_hand_and_through_the_kit(packed, dockerd, tmp_path):
    file, bundle, _ = packed
    script = "tar -xf $CAPSULE\n" + "".join(blocks(file, kind) for kind in (" load", " data", " docker"))
    done = by_hand(script, tmp_path, file, DOCKER_HOST=dockerd.url)
    assert done.returncode == 0, done.stderr
    assert losses(done.stdout) == losses((bundle.parent / "guest.log").read_text())
    elsewhere = ["--store", str(tmp_path / "store"), "--keys", str(tmp_path / "keys")]
    command = ["reproduce", str(file), "--offline", "--runtime", "docker", "--json", *elsewhere]
    again = subprocess.run(
        [*SPEEDRUN, *command, "--out", str(tmp_path / "runs")], capture_output=True, text=True, check=False,
        timeout=600, env={**os.environ, "DOCKER_HOST": dockerd.url},
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["reproduces"]["agreement"] == "reproduced"
    shutil.rmtree(tmp_path / "store")
    shutil.rmtree(tmp_path / "capsule")
