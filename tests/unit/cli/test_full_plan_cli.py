"""`eval --plan` for eight GPUs on a machine that has none: everything that would be needed, and exit 0."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kit.benchmark.records import load
from kit.cli import run
from kit.core.facts import facts_root

pytestmark = pytest.mark.skipif(Path("/proc/driver/nvidia/gpus").is_dir(), reason="this machine has GPUs")

PLAN = ["eval", "--record", "3", "--runtime", "runc", "--plan"]


@pytest.fixture
def plan(tmp_path, capsys):
    def ask(*more):
        assert (
            run([*PLAN, *more, "--json", "--store", str(tmp_path / "s"), "--out", str(tmp_path / "r")]) == 0
        )
        assert not (tmp_path / "r").exists()
        return json.loads(capsys.readouterr().out)

    return ask


def test_the_plan_lists_every_byte_of_image_shards_and_script(plan):
    told = plan()
    kinds = [a["kind"] for a in told["artifacts"]]
    record = load(facts_root() / "records", 3)
    assert kinds.count("shard") == record.train_shards + 1 == 38
    assert kinds.count("script") == 1 and kinds.count("image") > 50
    assert told["download_bytes"] == sum(a["size"] for a in told["artifacts"])
    shards = sum(a["size"] for a in told["artifacts"] if a["kind"] == "shard")
    assert shards == 38 * 200_001_024
    script = next(a for a in told["artifacts"] if a["kind"] == "script")
    assert (script["size"], script["sha256"]) == (
        record.script.origins[0].size,
        record.script.origins[0].sha256,
    )


def test_the_plan_with_held_out_text_lists_the_shards_that_it_is_drawn_from(plan):
    told = plan("--audit", "held-out")
    others = [a for a in told["artifacts"] if a["kind"] == "held-out shard"]
    assert [a["name"] for a in others] == ["fineweb_train_000102.bin", "fineweb_train_000103.bin"]
    assert {a["size"] for a in others} == {200_001_024}
    assert told["download_bytes"] - plan()["download_bytes"] == 2 * 200_001_024


def test_the_plan_says_that_the_gpus_are_missing_and_what_to_do(plan):
    found = {f["id"]: f for f in plan()["findings"]}
    assert found["count"]["level"] == "refusal"
    assert (
        found["count"]["detail"] == "the run needs 8 GPUs, this machine has none: no NVIDIA driver is loaded"
    )
    assert found["count"]["fix"] == (
        "use a machine with 8 GPUs; to try the kit here, with its own small script: "
        "speedrun eval --record 3 --profile smoke"
    )
    assert found["shards"] == {
        "id": "shards",
        "level": "refusal",
        "detail": "38 of 38 shards are missing",
        "fix": "speedrun data fetch --record 3",
    }
    assert "unpinned" in found["data"]["detail"]


def test_the_plan_shows_ranks_devices_mounts_limits_and_deadlines(plan):
    told = plan()
    assert told["world_size"] == told["gpus"] == 8 and "--nproc_per_node=8" in told["argv"]
    assert told["devices"]["control"] == ["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"]
    assert set(told["mounts"]) == {"/input/submission", "/workspace/data/fineweb10B", "/input/driver"}
    assert told["deadlines"]["total_s"] == 3600 and told["limits"]["shm"] > 0
    assert told["image"] == "torch-2.4.1"


def test_an_accepted_world_size_is_in_the_plan(plan):
    found = {f["id"]: f for f in plan("--gpus", "4", "--accept-world-size")["findings"]}
    assert "262,144 tokens instead of 524,288" in found["ranking"]["detail"]


def test_a_world_size_that_changes_the_record_is_a_usage_error(capsys):
    assert run([*PLAN, "--gpus", "4"]) == 2
    assert "--accept-world-size" in capsys.readouterr().err


def test_an_era_that_cannot_be_built_is_a_finding_not_the_end_of_the_plan(plan):
    found = {f["id"]: f for f in plan("--image", "torch-0.0.0")["findings"]}
    assert found["image"]["level"] == "refusal" and "torch-0.0.0" in found["image"]["detail"]


def test_the_plan_for_people_holds_the_same(tmp_path, capsys):
    assert run([*PLAN, "--store", str(tmp_path / "s")]) == 0
    told = capsys.readouterr().out
    for wanted in (
        "8 ranks, 8 GPUs",
        "fineweb_train_000037.bin",
        "train_gpt2.py",
        "REFUSED  count: the run needs 8 GPUs, this machine has none",
        "hint: speedrun data fetch --record 3",
        "would be refused on this machine, for 2 of these findings",
    ):
        assert wanted in told
    assert "  audits  " not in told
    assert run([*PLAN, "--audit", "held-out,baseline", "--store", str(tmp_path / "s")]) == 0
    assert "  audits     baseline, held-out: further runs, with the same deadlines" in capsys.readouterr().out


@pytest.mark.parametrize("own", [False, True], ids=["the record's", "a submission"])
def test_a_later_records_script_is_started_by_upstreams_name(tmp_path, capsys, own):
    (tmp_path / "train_gpt.py").write_text("import kernels\n")
    (tmp_path / "triton_kernels.py").write_text("import triton\n")
    more = ["--submission", str(tmp_path)] if own else []
    where = ["--store", str(tmp_path / "s"), "--out", str(tmp_path / "r")]
    assert run(["eval", "--record", "67", "--runtime", "runc", "--plan", "--json", *more, *where]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["argv"] == [
        "torchrun",
        "--nnodes=1",
        "--nproc_per_node=8",
        "--master_addr=127.0.0.1",
        "--master_port=29500",
        "train_gpt.py",
    ]
    assert (told["image"], told["deadlines"]["start_s"]) == ("torch-2.10.0", 900)
    scripts = [a["name"] for a in told["artifacts"] if a["kind"] == "script"]
    assert scripts == ([] if own else ["train_gpt.py", "triton_kernels.py"])


def test_a_submission_to_a_later_task_with_an_earlier_name_is_refused(tmp_path, capsys):
    (tmp_path / "train_gpt2.py").write_text("import torch\n")
    assert run(["eval", "--record", "67", "--runtime", "runc", "--plan", "--submission", str(tmp_path)]) == 3
    assert "or rename train_gpt2.py; " in capsys.readouterr().err


def test_the_plan_of_a_series_says_that_it_is_that_of_each_run(tmp_path, capsys):
    where = ["--store", str(tmp_path / "s"), "--out", str(tmp_path / "r")]
    assert run([*PLAN, "--runs", "3", *where]) == 0
    assert "this plan applies to each run of the submission" in capsys.readouterr().err


def test_an_end_for_a_series_that_is_none_is_refused(capsys):
    assert run([*PLAN, "--stop-on-failure"]) == 2
    assert "add --runs N" in capsys.readouterr().err
