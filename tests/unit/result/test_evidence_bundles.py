"""The bundles in docs/evidence are intact, bind the files beside them, and agree with the benchmarks page."""

import functools
import json
import re
import shutil
import tomllib
from pathlib import Path

import pytest

from kit.core.digest import canonical_json, sha256_bytes, tree_digest
from kit.core.errors import SignatureError
from kit.result import keys
from kit.result.keys import Trusted
from kit.result.predicate import CompileCache
from kit.result.verify import open_bundle
from kit.values.run_result import RunStatus
from kit.values.run_spec import RuntimeName

REPOSITORY = Path(__file__).parents[3]
EVIDENCE = REPOSITORY / "docs" / "evidence"
PAGE = REPOSITORY / "docs" / "benchmarks.md"
FOLDER = EVIDENCE / "docker-gpu"
RUNTIMES = ("docker", "runc")
TRAINED = EVIDENCE / "reference-62"
RECORDS = {
    "record-8": ("4578 train_loss", 112),
    "record-62": ("1600 train_time", 542),
    "record-62-warm": ("1600 train_time", 449),
}
"""Folder -> what follows in the line of a training step, and the last step."""
WARM = EVIDENCE / "record-62-warm"


@functools.cache
def opened(path, *, bundle_only=True):
    folder = path if path.is_dir() else path.parent
    return open_bundle(path, Trusted((keys.read_public(folder / "signer.pem"),)), bundle_only=bundle_only)


def comparable(predicate):
    """What two runs of one submission on one kind of machine must have in common."""
    return {
        "audit": [(check.id, check.outcome) for check in predicate.audit.checks],
        "image": predicate.environment.image,
        "isolation": [(check.id, check.passed) for check in predicate.environment.isolation.checks],
        "limits": predicate.run.limits,
        "losses": [point.val_loss for point in predicate.claims.val_points],
        "refused ranking": predicate.score.unranked_because,
        "status": predicate.run.status,
    }


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_bundle_binds_its_log_and_its_script(path):
    bundle = opened(path)
    assert bundle.trusted
    subjects = {s["name"]: s["digest"]["sha256"] for s in bundle.document["subject"]}
    assert subjects["guest.log"] == sha256_bytes(path.with_suffix(".log").read_bytes())
    scripts = {p.name: sha256_bytes(p.read_bytes()) for p in (path.parent / "submission").iterdir()}
    assert subjects["submission"] == tree_digest(scripts)


def test_an_evidence_bundle_with_another_payload_is_refused(tmp_path):
    docker, runc = (json.loads((FOLDER / f"{runtime}.json").read_bytes()) for runtime in RUNTIMES)
    docker["dsseEnvelope"]["payload"] = runc["dsseEnvelope"]["payload"]
    (tmp_path / "docker.json").write_bytes(canonical_json(docker))
    (tmp_path / "signer.pem").write_bytes((FOLDER / "signer.pem").read_bytes())
    with pytest.raises(SignatureError, match=r"^step 3: "):
        opened(tmp_path / "docker.json")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_gpu_guest_that_ignores_signals_leaves_nothing(runtime):
    predicate = opened(FOLDER / f"{runtime}.json").predicate
    assert predicate.environment.runtime.name is RuntimeName(runtime)
    assert predicate.environment.runtime.not_enforced == ()
    assert predicate.run.status is RunStatus.TIMED_OUT
    assert [gpu.name for gpu in predicate.hardware.gpus] == ["NVIDIA H200"]
    checks = predicate.environment.isolation.checks
    assert (sum(c.passed for c in checks), len(checks)) == (20, 20)
    teardown = predicate.observations.teardown
    assert teardown.remains == ()
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| {runtime} |")]
    assert [row.split(" | ")[-2] for row in rows] == [f"{teardown.kill_s:.2f}"]


def test_docker_and_runc_ran_the_same_image_with_the_same_limits():
    docker, runc = (opened(FOLDER / f"{runtime}.json").predicate for runtime in RUNTIMES)
    assert docker.environment.image == runc.environment.image
    assert docker.run.limits == runc.run.limits
    assert docker.run.env == runc.run.env
    assert docker.environment.isolation.level is runc.environment.isolation.level
    assert (FOLDER / "docker.log").read_bytes() == (FOLDER / "runc.log").read_bytes()


@pytest.fixture
def whole(tmp_path):
    """Gives a run's folder of `reference-62` its submission, which is kept once."""

    def copy(name):
        folder = tmp_path / name
        shutil.copytree(TRAINED / name, folder)
        shutil.copytree(TRAINED / "submission", folder / "submission")
        return folder

    return copy


@pytest.mark.parametrize("runtime", ["docker", "runc", "session"])
def test_a_run_folder_of_a_gpu_verifies_whole(runtime, whole):
    bundle = opened(whole(runtime), bundle_only=False)
    assert bundle.trusted
    assert bundle.predicate.run.status is RunStatus.COMPLETED
    assert [gpu.name for gpu in bundle.predicate.hardware.gpus] == ["NVIDIA H200"]
    assert bundle.predicate.observations.teardown.remains == ()


@pytest.mark.parametrize("other", ["docker", "session"])
def test_the_same_submission_on_a_gpu_gives_the_same_bundle_everywhere(other, whole):
    runc, elsewhere = (opened(whole(name), bundle_only=False).predicate for name in ("runc", other))
    assert comparable(elsewhere) == comparable(runc)


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_trained_in_its_own_image_on_a_gpu(name):
    folder, (marks, last) = EVIDENCE / name, RECORDS[name]
    bundle = opened(folder / "result.json")
    subjects = {s["name"]: s["digest"]["sha256"] for s in bundle.document["subject"]}
    log = (folder / "guest.log").read_bytes()
    assert bundle.trusted and bundle.predicate.run.status is RunStatus.TIMED_OUT
    assert subjects["guest.log"] == sha256_bytes(log)
    number = int(name.split("-")[1])
    record = tomllib.loads((REPOSITORY / "records" / f"{number:02}.toml").read_text())
    scripts = {file["name"]: file["sha256"] for file in record["script"]["files"]}
    assert subjects["submission"] == tree_digest({**scripts, "run.toml": sha256_bytes(b"args = []\n")})
    images = REPOSITORY / "images" / record["environment"]["era"]
    assert bundle.predicate.environment.image.manifest_digest in (images / "digest").read_text()
    steps = re.findall(rf"^step:(\d+)/{marks}".encode(), log, re.M)
    assert [int(step) for step in steps] == list(range(1, last + 1))


def test_a_run_with_a_compile_cache_says_so_and_is_unranked():
    predicate, cold = opened(WARM).predicate, opened(EVIDENCE / "record-62").predicate
    assert (predicate.run.compile_cache, cold.run.compile_cache) == (CompileCache.WARM, CompileCache.COLD)
    assert str(predicate.run.compile_cache_sha256)[:12] in PAGE.read_text()
    assert not predicate.score.ranked
    assert "the run started with a warm compile cache" in predicate.score.unranked_because


def test_the_benchmarks_page_has_the_times_of_the_run_with_a_compile_cache():
    page, lines = PAGE.read_text(), (WARM / "guest.log").read_text().splitlines()
    stamps = [json.loads(row)[0] / 1e9 for row in (WARM / "stamps").read_text().splitlines()]
    step = {line.split("/")[0]: t for t, line in zip(stamps, lines, strict=True) if "train_time" in line}
    printed = (WARM / "warm.txt").read_text()
    clock = [float(seconds) for seconds in re.findall(r"clock: \[ *([\d.]+) s\]", printed)]
    first, loss, trained = (f"{seconds - clock[0]:.1f}" for seconds in clock[1:])
    assert f"| first line, s | {first} | {stamps[0]:.1f} |" in page
    assert f"| validation of step 0, s | {loss} | {step['step:0']:.1f} |" in page
    assert f"| first training step, s | {trained} | {step['step:1']:.1f} |" in page
    assert "8945 files, 875,759,185 bytes" in printed
    for figure in ("| the whole command, s | 428.0 | 239.7 |", "8,945", "875,759,185 bytes", "416.2 s after"):
        assert figure in page.replace("\n", " ")
        assert all(number in printed for number in re.findall(r"\d{3}\.\d", figure))
    ms = {
        int(n): int(t) for n, t in re.findall(r"^step:(\d+)/1600 train_time:(\d+)ms", "\n".join(lines), re.M)
    }
    assert f"| steps 20 to 449, ms each | not trained | {(ms[449] - ms[20]) / 429:.1f} |" in page


def test_the_benchmarks_page_has_the_last_steps_of_the_records():
    page = PAGE.read_text()
    assert "| last step | 542," in page and "step 112; signed;" in page


def test_the_ratio_of_kit_and_bare_torchrun_follows_from_the_times_on_the_page():
    [row] = [
        r
        for r in PAGE.read_text().splitlines()
        if r.endswith("script's clock | 1031.34 | 1027.82 | 1.0034 |")
    ]
    kit, bare, ratio = (float(cell) for cell in row.strip("| ").split(" | ")[1:])
    assert f"{kit / bare:.4f}" == f"{ratio:.4f}"
    log = (EVIDENCE / "record-8" / "guest.log").read_text()
    at = {
        int(step): int(ms)
        for step, ms in re.findall(r"^step:(\d+)/4578 train_loss:\S+ train_time:(\d+)ms", log, re.M)
    }
    assert f"{(at[70] - at[20]) / 50:.2f}" == f"{kit:.2f}"
