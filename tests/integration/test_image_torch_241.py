"""
Era torch-2.4.1, of records 1 to 6. What needs its 2.8 GB runs only where the image is in the store, or where
`KIT_TEST_ERAS=torch-2.4.1` asks for it.
"""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from conftest import SPEEDRUN, Evaluated

from kit.benchmark.records import load
from kit.core.facts import facts_root
from kit.core.home import default_store
from kit.core.store import Store
from kit.evaluate.gpus import cuda_of
from kit.image.build import survey
from kit.image.digest import read_identity
from kit.image.lock import read_lock
from kit.image.spec import read_spec
from kit.values.fidelity import Fidelity

ERA = "torch-2.4.1"
IMAGES = facts_root() / "images"


def test_lock_and_digest_belong_to_image_toml():
    spec = read_spec(IMAGES, ERA)
    read_identity(spec, read_lock(spec))


def test_the_lock_holds_what_the_records_ran():
    spec = read_spec(IMAGES, ERA)
    lock = read_lock(spec)
    versions = {w.project: w.version for w in lock.wheels}
    assert (versions["torch"], versions["triton"], cuda_of(lock)) == ("2.4.1", "3.0.0", (12, 1))
    assert "setuptools" in versions, "triton 3.0.0 imports it"
    torch = next(f for f in spec.fidelity if f.component == "torch")
    said = {load(facts_root() / "records", number).torch for number in (4, 5, 6)}
    assert torch.level is Fidelity.EXACT and said == {torch.version}


def test_the_lowest_layer_is_the_one_of_the_cpu_era():
    layers = [read_identity(s, read_lock(s)).layers for s in (read_spec(IMAGES, e) for e in (ERA, "cpu"))]
    assert layers[0][0] == layers[1][0]


def test_cudnn_which_other_eras_share_comes_first_and_torch_above_the_libraries():
    spec = read_spec(IMAGES, ERA)
    titles = [title for title, _ in read_identity(spec, read_lock(spec)).layers]
    assert titles[:2] == ["base", "nvidia-cudnn-cu12"]
    assert titles[-3:] == ["triton", "torch", "small wheels"]


@pytest.fixture(scope="module")
def image(runtime: None) -> None:
    """The image is in this user's store, or KIT_TEST_ERAS names it and it is built."""
    store = Store(default_store())
    if not survey(ERA, IMAGES, store).built:
        if ERA not in os.environ.get("KIT_TEST_ERAS", "").split(","):
            pytest.skip(f"{ERA} is not in the store: 2.8 GB to fetch; KIT_TEST_ERAS={ERA} allows it")
        done = subprocess.run([*SPEEDRUN, "image", "build", ERA], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.container
@pytest.mark.network
def test_the_image_can_do_what_its_records_need(image):
    command = [*SPEEDRUN, "image", "test", ERA, "--runtime", "runc", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    report = json.loads(done.stdout)
    assert done.returncode == 0, (report, done.stderr)
    checks = {c["id"]: c for c in report["checks"]}
    assert "torch 2.4.1+cu121, CUDA 12.1" in checks["torch"]["detail"]
    assert "triton 3.0.0" in checks["triton"]["detail"] and checks["triton"]["outcome"] == "passed"
    skipped = {name for name, check in checks.items() if check["outcome"] == "skipped"}
    assert skipped == {"custom-operator"} | (set() if report["gpus"] else {"nccl", "triton-kernel"})


@pytest.mark.container
@pytest.mark.network
def test_the_reference_trainer_reaches_the_smoke_target_inside(image, tmp_path):
    places = ["--out", str(tmp_path / "runs"), "--keys", str(tmp_path / "keys")]
    command = [*SPEEDRUN, "eval", "--record", "3", "--profile", "smoke", "--image", ERA, "--runtime", "runc"]
    done = subprocess.run(
        [*command, "--json", *places], capture_output=True, text=True, check=False, timeout=600
    )
    run = Evaluated(done.returncode, json.loads(done.stdout), done.stderr)
    assert run.code == 0, run.stderr
    assert (run.report["status"], run.report["verdict"]) == ("completed", "reached")
    environment = run.predicate["environment"]
    assert environment["era"] == ERA
    assert environment["image"]["config_digest"] in (IMAGES / ERA / "digest").read_text()
