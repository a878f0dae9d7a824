"""
Eight ranks without eight GPUs: the RunSpec of a full run, less its devices, on CPUs with gloo.

What only eight GPUs can show is listed in docs/guides/eight-gpus.md.
"""

from __future__ import annotations

import collections
import re
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import left_of

from kit.cli.options import default_store
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.evaluate.failure import read_failure
from kit.evaluate.plan import draft
from kit.evaluate.prepare import bring_image, environment
from kit.evaluate.request import Places, Request
from kit.gpu.preflight import Preflight
from kit.sandbox.folder import new_run_id
from kit.sandbox.run_guest import run_guest
from kit.sandbox.runtime.runc import Runc
from kit.values.deadlines import Deadlines
from kit.values.output import read_lines
from kit.values.profile import Profile
from kit.values.run_result import RunStatus
from kit.values.run_spec import GIB, Phase, RunSpec, RuntimeName
from kit.values.software import Kit

pytestmark = [pytest.mark.container, pytest.mark.network]

RANKS, LINES, LONGEST = 8, 400, 4096

RANK = "import os, sys, time\nRANK = int(os.environ['RANK'])\nassert os.environ['WORLD_SIZE'] == '8'\n"
PRINTING = f"""
for n in range({LINES}):
    print(f"rank {{RANK}} line {{n}} " + "x" * (37 * RANK), file=sys.stderr if n % 2 else sys.stdout)
"""
GLOO = """
import torch
import torch.distributed as dist
torch.set_num_threads(1)
dist.init_process_group("gloo")
numbers = torch.full((1 << 20,), float(RANK + 1))
dist.all_reduce(numbers)
assert numbers[0].item() == sum(range(1, 9)), numbers[0]
if RANK == 0:
    print("all ranks have met", flush=True)
"""
SLEEPING = (
    GLOO
    + """
if RANK == 7:
    time.sleep(3600)
dist.all_reduce(numbers)
"""
)
DYING = """
if RANK == 5:
    raise ValueError("rank 5 has had enough")
time.sleep(3600)
"""


@pytest.fixture(scope="module")
def image(cpu_image):
    """The `cpu` image in the user's own store: its environment and reference, and the store."""
    store = Store(default_store())
    layout, reference = bring_image("cpu", Runc(), facts_root() / "images", store, ())
    return layout.env, reference, store


@pytest.fixture
def guest(image, tmp_path):
    """Run a script as eight ranks, by the terms of a full run of record 4; return run, log and lines."""

    def run(script: str, **deadlines: float):
        env, reference, store = image
        submission = tmp_path / "submission"
        submission.mkdir()
        (submission / "train_gpt2.py").write_text(RANK + script)
        facts = facts_root()
        places = Places(
            facts / "records",
            facts / "images",
            store,
            tmp_path / "runs",
            tmp_path / "keys",
            (),
            Kit("0", None),
        )
        request = Request(4, Profile.FULL, submission, RuntimeName.RUNC)
        plan = draft(request, places)
        assert plan.terms.world_size == plan.terms.gpus == RANKS
        spec = RunSpec(
            run_id=new_run_id(4),
            image=reference,
            submission=submission,
            argv=plan.launcher(),
            env=environment(plan, tuple(env), Preflight(())),
            folders=plan.folders,
            limits=replace(plan.terms.limits, workspace=GIB, shm=GIB),
            deadlines=Deadlines(start_s=900, total_s=1200, **deadlines),
            untimed_steps=plan.terms.untimed_steps,
            world_size=RANKS,
        )
        scratch = tmp_path / "scratch"
        scratch.mkdir(mode=0o755)
        with run_guest(Runc(), spec, scratch, watched=True) as ended:
            lines = [line for _, line in read_lines(ended.output.log, ended.output.stamps, LONGEST)]
            kept = tmp_path / "guest.log"
            kept.write_bytes(Path(ended.output.log).read_bytes())
        assert left_of(spec.run_id) == []
        return ended.result, kept, lines

    return run


def test_lines_of_eight_ranks_are_never_mixed(guest):
    result, log, _ = guest(PRINTING)
    assert result.status is RunStatus.COMPLETED, log.read_text()[-2000:]
    seen = collections.Counter()
    for line in log.read_text().splitlines():
        if found := re.fullmatch(r"rank ([0-7]) line ([0-9]+) (x*)", line):
            assert len(found[3]) == 37 * int(found[1])
            seen[int(found[1])] += 1
    assert seen == dict.fromkeys(range(RANKS), LINES)


def test_a_collective_that_waits_for_a_sleeping_rank_ends_at_the_deadline(guest):
    result, log, _ = guest(SLEEPING, warmup_s=3)
    assert "all ranks have met" in log.read_text(), log.read_text()[-2000:]
    assert (result.status, result.ended_in, result.clock) == (RunStatus.TIMED_OUT, Phase.WARMUP, "warmup")
    assert result.teardown.remains == ()


def test_one_rank_that_dies_ends_the_others_and_is_named(guest):
    result, log, _ = guest(DYING)
    assert result.status is RunStatus.CRASHED
    failure = read_failure(log)
    assert failure.is_traceback and failure.lines[-1] == "ValueError: rank 5 has had enough"
