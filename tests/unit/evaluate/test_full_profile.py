"""A full run from request to predicate, on a machine with fake GPUs, a fake driver and tiny shards."""

from __future__ import annotations

import functools
import json
import shutil
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from fake_gpus import fake_gpu, fake_inventory, fake_sources

from kit.core.digest import sha256_bytes
from kit.core.errors import IntegrityError, PrerequisiteError, RunError
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.data.dataset import FINEWEB, load_dataset
from kit.data.fetch import fetch
from kit.data.shard import HEADER_BYTES, pack_header
from kit.evaluate import gpus
from kit.evaluate import run as evaluation
from kit.evaluate.compose import NOTHING_SEEN, HostObservations, compose
from kit.evaluate.interrupted import lost_result
from kit.evaluate.plan import RunPlan, draft
from kit.evaluate.prepare import prepared
from kit.evaluate.request import Places, Request
from kit.gpu.nvml import NO_DRIVER
from kit.gpu.release import await_release
from kit.image.lock import read_lock
from kit.image.spec import read_spec
from kit.result.statement import Subjects, statement
from kit.sandbox.speed_probe import GpuSpeed
from kit.sandbox.supervise import RunCallbacks
from kit.sandbox.turn import NO_GPU, InterruptedWait, is_taken, take_turn
from kit.values.profile import Profile
from kit.values.run_spec import GIB, RuntimeName
from kit.values.software import Kit

RECORD = 21
TOKENS = 100
SCRIPT = """\
import os
print("step:0/20 val_loss:11.0 train_time:0ms step_avg:nanms")
print("step:20/20 val_loss:3.2 train_time:900ms step_avg:90.00ms")
print(os.environ["CUDA_VISIBLE_DEVICES"])
"""


class NobodyFetches:
    """A source that a test does not allow to be asked."""

    source = "nobody"

    def fetch(self, artifact, sink, offset, progress):
        raise AssertionError(f"{artifact.name} was fetched")


@pytest.fixture
def places(tmp_path):
    """Records whose shards have a hundred tokens, an empty store, eight fake H100s."""
    facts = tmp_path / "records"
    shutil.copytree(facts_root() / "records", facts)
    toml = facts / f"{FINEWEB}.toml"
    text = (
        toml.read_text()
        .replace("100_000_000", str(TOKENS))
        .replace("200_001_024", str(HEADER_BYTES + 2 * TOKENS))
    )
    toml.write_text(text)
    return Places(
        records=facts,
        images=facts_root() / "images",
        store=Store(tmp_path / "store"),
        out=tmp_path / "runs",
        keys=tmp_path / "keys",
        fetchers=(NobodyFetches(),),
        kit=Kit("0.1.0", None),
        gpus=fake_sources(fake_inventory()),
    )


@pytest.fixture
def shards(places, tmp_path):
    """The record's shards in the store, as `speedrun data fetch --mirror` would bring them."""
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    dataset = load_dataset(places.records)
    names = dataset.shards(7)
    for n, name in enumerate(names):
        (mirror / name).write_bytes(pack_header(TOKENS) + bytes([n, 0] * TOKENS))
    return fetch(dataset, names, places.store, mirror=mirror)


@pytest.fixture
def request_full(tmp_path):
    """A submission on the machine's own files: nothing has to be fetched."""
    folder = tmp_path / "agent"
    folder.mkdir()
    (folder / "train_gpt2.py").write_text(SCRIPT)
    return Request(
        record=RECORD,
        profile=Profile.FULL,
        submission=folder,
        runtime=RuntimeName.HOST,
        python=Path(sys.executable),
    )


def ready_of(request, places):
    with prepared(draft(request, places), places) as ready:
        return ready


def test_a_full_run_is_planned_where_there_is_no_gpu(request_full, places):
    plan = draft(request_full, replace(places, gpus=fake_sources(NO_DRIVER)))
    assert (plan.terms.gpus, plan.terms.world_size) == (8, 8)
    assert "--nproc_per_node=8" in plan.launcher()


def test_an_engine_that_does_not_answer_is_refused_before_anything_is_looked_for(
    request_full, places, tmp_path
):
    socket = f"unix://{tmp_path}/none.sock"
    request = replace(request_full, runtime=RuntimeName.DOCKER, python=None, engine=lambda: socket)
    with pytest.raises(PrerequisiteError, match="no engine answers at"):
        ready_of(request, places)
    assert places.gpus.nvml.asked == 0


@pytest.mark.parametrize("gpus", [1, 2, 4, 8])
def test_there_is_one_rank_for_each_gpu(request_full, places, gpus):
    plan = draft(replace(request_full, record=10, gpus=gpus), places)
    assert plan.terms.gpus == plan.terms.world_size == gpus and f"--nproc_per_node={gpus}" in plan.launcher()


def test_missing_gpus_are_refused_before_anything_is_looked_for(request_full, places):
    bare = replace(places, gpus=fake_sources(NO_DRIVER))
    with pytest.raises(PrerequisiteError, match="the run needs 8 GPUs, this machine has none") as refused:
        ready_of(request_full, bare)
    smoke = f"to try the kit here, with its own small script: speedrun eval --record {RECORD} --profile smoke"
    assert refused.value.hint == f"use a machine with 8 GPUs; {smoke}"
    assert not bare.store.root.exists()


@pytest.mark.parametrize(("here", "numbers"), [(0, ""), (1, "1"), (2, "1 or 2"), (4, "1 or 2 or 4")])
def test_the_fix_for_too_few_gpus_names_the_numbers_that_keep_the_record(
    request_full, places, here: int, numbers: str
):
    few = replace(places, gpus=fake_sources(fake_inventory(here) if here else NO_DRIVER))
    with pytest.raises(PrerequisiteError) as refused:
        ready_of(replace(request_full, record=10), few)
    _, same_steps, named = refused.value.hint.partition("; for the same steps on fewer GPUs: --gpus ")
    assert (bool(same_steps), named) == (bool(here), numbers)


def test_missing_shards_are_refused_with_the_command_that_brings_them(request_full, places):
    with pytest.raises(PrerequisiteError, match="no shard of fineweb10B is in the store") as refused:
        ready_of(request_full, places)
    assert refused.value.hint == f"speedrun data fetch --record {RECORD}"


def test_a_shard_too_few_is_refused_with_the_record_in_the_command(request_full, places, shards):
    with pytest.raises(PrerequisiteError, match="no digest is known for") as refused:
        ready_of(replace(request_full, record=3), places)
    assert refused.value.hint == "speedrun data fetch --record 3"


def test_a_changed_shard_is_refused_before_the_run(request_full, places, shards):
    victim = places.store.blob(shards.files[0].sha256)
    victim.chmod(0o644)
    victim.write_bytes(pack_header(TOKENS) + bytes([9, 9] * TOKENS))
    with pytest.raises(IntegrityError, match="failed verification") as refused:
        ready_of(request_full, places)
    assert refused.value.hint == f"speedrun data verify --drop --record {RECORD}"


def test_gpus_that_went_away_while_things_were_fetched_are_refused(request_full, places, shards):
    gone = replace(places, gpus=fake_sources(fake_inventory(), fake_inventory(7)))
    with pytest.raises(PrerequisiteError, match="the run needs 8 GPUs, this machine has 7"):
        ready_of(request_full, gone)


def test_the_guest_gets_its_own_gpus_and_the_checked_shards(request_full, places, shards):
    ready = ready_of(request_full, places)
    spec = ready.spec
    uuids = [gpu.uuid for gpu in ready.preflight.gpus]
    assert (spec.gpus, spec.world_size) == (8, 8)
    assert [d.uuid for d in spec.gpu_devices] == uuids and [d.minor for d in spec.gpu_devices] == list(
        range(7, -1, -1)
    )
    env = dict(spec.env)
    assert env["CUDA_VISIBLE_DEVICES"] == env["NVIDIA_VISIBLE_DEVICES"] == ",".join(uuids)
    assert spec.mounts[0].source == shards.folder
    assert ready.data.name == FINEWEB and len(ready.data.files) == 8 and not ready.data.pinned


def test_data_with_a_lock_is_pinned(request_full, places, shards):
    dataset = load_dataset(places.records)
    lock = {
        "schema": "dataset-lock.v1",
        "dataset_sha256": dataset.sha256,
        "repo": dataset.repo,
        "revision": "ab" * 20,
        "stated_by": "hub",
        "files": {a.name: {"size": a.size, "sha256": a.sha256} for a in shards.files},
    }
    (places.records / f"{FINEWEB}.lock.json").write_text(json.dumps(lock))
    assert ready_of(request_full, places).data.pinned


def test_a_smoke_run_tells_engines_to_give_it_no_gpu(places):
    request = Request(record=3, profile=Profile.SMOKE, runtime=RuntimeName.HOST, python=Path(sys.executable))
    plan = draft(request, places)
    assert gpus.look(plan, places).gpus == () and places.gpus.nvml.asked == 0
    with prepared(plan, places) as ready:
        env = dict(ready.spec.env)
    assert env["NVIDIA_VISIBLE_DEVICES"] == "void" and "CUDA_VISIBLE_DEVICES" not in env


def test_the_eras_lock_says_which_cuda_the_driver_must_run():
    lock = read_lock(read_spec(facts_root() / "images", "torch-2.4.1"))
    assert gpus.cuda_of(lock) == (12, 1)
    assert gpus.cuda_of(read_lock(read_spec(facts_root() / "images", "cpu"))) is None


def test_only_an_engine_copies_the_modes_of_the_machines_devices(places):
    for runtime, copies in ((RuntimeName.RUNC, False), (RuntimeName.DOCKER, True)):
        plan = draft(Request(record=3, profile=Profile.FULL, runtime=runtime), places)
        assert gpus.gpu_requirements(plan, places).engine is copies


def predicate_of(request, places):
    ready = ready_of(request, places)
    result = lost_result(ready.spec, "a test")
    found = compose(ready, places, result, NOTHING_SEEN, ())
    empty = sha256_bytes(b"")
    statement(found, Subjects(empty, empty, empty))  # the schema holds
    return found


def test_the_bundle_names_every_gpu_with_its_memory_and_the_driver(request_full, places, shards):
    hardware = predicate_of(request_full, places).hardware
    assert hardware.driver == "550.54.15"
    assert [g.index for g in hardware.gpus] == list(range(8))
    assert {(g.name, g.memory) for g in hardware.gpus} == {("NVIDIA H100 80GB HBM3", 81559 << 20)}
    assert len({g.uuid for g in hardware.gpus}) == 8


def test_what_the_preflight_warned_of_keeps_the_result_from_ranking(
    request_full, places, shards, monkeypatch
):
    monkeypatch.setattr(gpus, "_cuda", lambda plan, places: (12, 1))
    seen = fake_inventory(driver="525.147.05")
    score = predicate_of(request_full, replace(places, gpus=fake_sources(seen))).score
    assert not score.ranked
    assert sum("minor-version compatibility" in why for why in score.unranked_because) == 1


def test_another_model_than_the_records_keeps_the_result_from_ranking(request_full, places, shards):
    seen = replace(fake_inventory(0), gpus=tuple(fake_gpu(i, name="NVIDIA A100-SXM4-80GB") for i in range(8)))
    score = predicate_of(request_full, replace(places, gpus=fake_sources(seen))).score
    assert sum("A100" in why for why in score.unranked_because) == 1


def test_a_link_that_was_switched_off_is_in_the_record_and_keeps_it_from_ranking(
    request_full, places, shards
):
    asked = replace(fake_sources(fake_inventory()), settings=(("NCCL_P2P_DISABLE", "1"),))
    found = predicate_of(request_full, replace(places, gpus=asked))
    assert ("NCCL_P2P_DISABLE", "1") in found.run.env
    assert sum("NCCL_P2P_DISABLE=1" in why for why in found.score.unranked_because) == 1


def test_an_accepted_world_size_keeps_the_result_from_ranking(request_full, places, shards):
    request = replace(request_full, gpus=2, accept_world_size=True)
    score = predicate_of(request, places).score
    assert any("98,304 tokens instead of 393,216" in why for why in score.unranked_because)


def test_figures_of_the_speed_probe_are_in_the_signed_record(request_full, places, shards):
    ready = ready_of(request_full, places)
    speed = GpuSpeed((("gpu0.copy_gbs", 4312.0), ("gpu0.matmul_bf16_tflops", 781.5)), 9.0)
    found = compose(ready, places, lost_result(ready.spec, "a test"), HostObservations(speed=speed), ())
    assert found.hardware.probe == speed.figures
    empty = sha256_bytes(b"")
    statement(found, Subjects(empty, empty, empty))
    assert not any("how fast" in why for why in found.score.unranked_because)


def test_a_run_whose_gpus_were_not_measured_is_not_ranked(request_full, places, shards, monkeypatch):
    monkeypatch.setattr(RunPlan, "launcher", lambda self: (self.python, self.entry))
    monkeypatch.setattr(
        "kit.evaluate.run.measure", lambda *asked: GpuSpeed((), 1.0, "the probe did not finish: no Triton")
    )
    outcome = conducted(request_full, places, monkeypatch)
    assert outcome.predicate.run.status == "completed" and outcome.predicate.hardware.probe is None
    assert sum("no Triton" in why for why in outcome.predicate.score.unranked_because) == 1


@pytest.fixture
def started_plainly(monkeypatch):
    """Start the script by itself: this environment has no torchrun."""
    monkeypatch.setattr(RunPlan, "launcher", lambda self: (self.python, self.entry))


def conducted(request, places, monkeypatch):
    monkeypatch.setattr(evaluation, "await_release", functools.partial(await_release, within_s=0.3))
    with prepared(draft(request, places), places) as ready:
        return evaluation.run_prepared(ready, places, evaluation.Listener())


def test_the_machines_own_python_writes_whole_lines_too(
    request_full, places, shards, started_plainly, monkeypatch
):
    monkeypatch.setattr(RunPlan, "launcher", lambda self: (self.python, "-u", self.entry))
    script = request_full.submission / "train_gpt2.py"
    script.write_text("import sys\nprint(sys.stdout.line_buffering, sys.stdout.write_through)\n")
    outcome = conducted(request_full, places, monkeypatch)
    assert (outcome.bundle.parent / "guest.log").read_text() == "True False\n"


def test_gpu_memory_that_came_back_leaves_nothing_behind(
    request_full, places, shards, started_plainly, monkeypatch
):
    outcome = conducted(request_full, places, monkeypatch)
    assert outcome.predicate.run.status == "completed"
    assert outcome.predicate.observations.teardown.remains == ()
    assert fake_gpu(0).uuid in (outcome.bundle.parent / "guest.log").read_text()


def test_gpu_memory_that_stayed_is_in_the_signed_record(
    request_full, places, shards, started_plainly, monkeypatch
):
    held = fake_inventory(8, used=20 * GIB)
    seen = fake_sources(fake_inventory(), fake_inventory(), held)
    outcome = conducted(request_full, replace(places, gpus=seen), monkeypatch)
    (left,) = outcome.predicate.observations.teardown.remains
    assert left.endswith("MiB on GPU 7")
    assert outcome.predicate.observations.teardown.kill_s >= 0.3


def test_a_driver_that_died_with_the_run_proves_nothing(
    request_full, places, shards, started_plainly, monkeypatch
):
    seen = fake_sources(fake_inventory(), fake_inventory(), RunError("the NVIDIA driver failed: GPU is lost"))
    outcome = conducted(request_full, replace(places, gpus=seen), monkeypatch)
    assert outcome.predicate.observations.teardown.remains == (
        "GPU memory in an unknown state: the NVIDIA driver failed: GPU is lost",
    )


@pytest.fixture
def turns(tmp_path):
    """The directory of turns."""
    (tmp_path / "state").mkdir()
    return tmp_path / "state" / "turns"


class InUseWhile:
    """A driver whose last GPU is in use while an event is set."""

    def __init__(self, event):
        self.event = event

    def read(self):
        return fake_inventory(8, used=20 * GIB) if self.event.is_set() else fake_inventory(8)


def never():
    return False


def test_a_run_waits_for_another_one_of_this_user_on_its_gpus(
    request_full, places, shards, turns, started_plainly, monkeypatch
):
    in_use = threading.Event()
    in_use.set()
    places = replace(places, turns=turns, gpus=replace(places.gpus, nvml=InUseWhile(in_use)))
    waits, outcomes, order = threading.Event(), [], []
    listener = evaluation.Listener(
        waiting=lambda pid: waits.set(), reserved=lambda folder: order.append("reserved")
    )

    def run():
        with prepared(draft(request_full, places), places) as ready:
            outcomes.append(evaluation.run_prepared(ready, places, listener))

    with take_turn(turns, [fake_gpu(3).uuid], never):
        thread = threading.Thread(target=run)
        thread.start()
        assert waits.wait(300), "GPUs in use by a run of this user are no reason to refuse"
        order.append("released")
        in_use.clear()
    thread.join()
    assert order == ["released", "reserved"]
    assert outcomes[0].predicate.run.status == "completed"
    assert not is_taken(turns, [gpu.uuid for gpu in fake_inventory().gpus])


def test_a_run_does_not_wait_for_one_on_other_gpus(
    request_full, places, shards, turns, started_plainly, monkeypatch
):
    with take_turn(turns, ["GPU-of-another-slot", NO_GPU], never):
        outcome = conducted(request_full, replace(places, turns=turns), monkeypatch)
    assert outcome.predicate.run.status == "completed"


def test_gpus_in_use_by_another_program_are_refused_at_once(request_full, places, shards, turns):
    busy = replace(places, turns=turns, gpus=fake_sources(fake_inventory(8, used=20 * GIB)))
    with (
        pytest.raises(PrerequisiteError, match="memory is in use"),
        prepared(draft(request_full, busy), busy),
    ):
        raise AssertionError("it was prepared")


def test_a_run_that_is_interrupted_while_it_waits_leaves_no_record(request_full, places, shards, turns):
    places = replace(places, turns=turns)
    listener = evaluation.Listener(watch=RunCallbacks(cancelled=lambda: True))
    with (
        prepared(draft(request_full, places), places) as ready,
        take_turn(turns, [fake_gpu(0).uuid], never),
        pytest.raises(InterruptedWait),
    ):
        evaluation.run_prepared(ready, places, listener)
    assert not places.out.exists()
