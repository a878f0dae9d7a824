"""No command waits for a named pipe that nobody writes: passed as a path, or in a received directory."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
from pathlib import Path

import pytest
from desk import AGENT_RUN, RUN_ID, SERIES_ID, lay, work_at

pytest.importorskip("scipy")

from kit.cli import run
from kit.core.reading import open_file

LIMIT_S = 60
"""Seconds after which a command waits; each takes about one."""
SERIES, AGENT, SWEEP = f"runs/{SERIES_ID}", f"agent-runs/{AGENT_RUN}", "sweeps/NAME"
BOARD = "../leaderboard"
PASSED = f"""
    bundle verify pipe
    bundle verify result.json --key pipe
    bundle show pipe
    check pipe
    distance pipe --task smoke-1
    distance workspace --task smoke-1 --embeddings pipe
    judge pipe --task 3
    eval --record smoke-1 --profile smoke --submission pipe --plan
    log parse pipe
    log export pipe
    record draft pipe --id 90
    report {BOARD} --data-lock pipe --out page
    report {BOARD} --agents pipe --out page
    score pipe
    score --table pipe
    series pipe
    series {SERIES} --data-lock pipe
    submit check pipe
    submit check {BOARD} --data-lock pipe
    submit send pipe --to {BOARD} --agent x
    agent run --task smoke-1 --model pipe --plan
    agent run --task smoke-1 --model scripted --answers pipe --plan
    agent run --task smoke-1 --model scripted --knowledge pipe --plan
    agent run --task smoke-1 --model scripted --replay pipe --plan
    agent cumulative --from smoke-1 --to smoke-2 --model pipe --plan
    agent probe --task smoke-1 --model pipe
    agent probe --task smoke-1 --model scripted --answers pipe
    agent show pipe
    agent verify pipe
    agent verify {AGENT} --key pipe
    agent export pipe --format atif --out x
    agent resume pipe
    session new --task smoke-1 --budget wall=1h --out pipe
    session show pipe
    session verify pipe
    sweep plan pipe
    sweep plan with-pipe.toml
    sweep plan with-answers.toml
    sweep run pipe
    sweep status pipe
    sweep export pipe --sbatch x
    runs list --out pipe
    runs log pipe
    runs diff pipe latest
    keys trust pipe
    pack pipe
    unpack pipe
    reproduce pipe
    image diff ./pipe ./pipe
    task export smoke-1 --out pipe/x
"""
RUN = f"runs/{RUN_ID}"
CELL = f"{SWEEP}/cells/CELL"
INSIDE = f"""
    {RUN}/result.json: bundle verify {RUN}
    {RUN}/result.json: runs list
    {RUN}/result.json: score {RUN}
    {RUN}/result.json: pack {RUN}
    {RUN}/guest.log: bundle verify {RUN}
    {RUN}/guest.log: runs log {RUN_ID}
    {RUN}/stamps: bundle verify {RUN}
    {RUN}/signer.pem: bundle verify {RUN} --keys none
    {RUN}/signer.pem: keys trust {RUN}/signer.pem
    {RUN}/submission/train_gpt2.py: bundle verify {RUN}
    {RUN}/submission/train_gpt2.py: runs diff {RUN_ID} latest
    {SERIES}/plan.json: series {SERIES}
    {SERIES}/series.json: series {SERIES}
    {AGENT}/journal.jsonl: agent verify {AGENT}
    {AGENT}/journal.jsonl: agent show {AGENT}
    {AGENT}/spec.json: agent verify {AGENT}
    {AGENT}/summary.json: agent verify {AGENT}
    {AGENT}/signer.pem: agent verify {AGENT} --keys none
    {AGENT}/bundles/{RUN_ID}/guest.log: agent verify {AGENT}
    {AGENT}/bundles/{RUN_ID}/guest.log: report {BOARD} --agents agent-runs --out page
    {SWEEP}/plan.json: sweep status {SWEEP}
    {SWEEP}/plan.json: sweep collect {SWEEP}
    {SWEEP}/jobs.jsonl: sweep status {SWEEP}
    {CELL}/end.json: sweep status {SWEEP}
    {CELL}/end.json: sweep collect {SWEEP}
    {CELL}/attempts.jsonl: sweep status {SWEEP}
    my-session/journal.jsonl: session show my-session
    my-session/journal.jsonl: session verify my-session
    my-agent/train_gpt2.py: check my-agent
    my-agent/train_gpt2.py: distance my-agent --task smoke-1
    my-agent/train_gpt2.py: judge my-agent --task 3
    my-agent/run.toml: distance my-agent --task smoke-1
    keys/them.pem: keys list --keys keys
    keys/them.pem: bundle verify result.json --keys keys
    ../leaderboard/board.toml: report {BOARD} --out page
    ../leaderboard/board.toml: submit check {BOARD}
    judgements/one.json: report {BOARD} --agents agent-runs --judgements judgements --out page
"""


class Waited(BaseException):
    """The command waited."""


@pytest.fixture(autouse=True)
def limit():
    def stop(number, frame):
        raise Waited

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    here = lay(tmp_path_factory.mktemp("pipes"))
    os.mkfifo(here / "pipe")
    grid = (here / "sweep.toml").read_text()
    (here / "with-pipe.toml").write_text(grid.replace('models = ["scripted"]', 'models = ["pipe"]'))
    (here / "with-answers.toml").write_text(f'{grid}answers = "pipe"\n')
    return here


@pytest.fixture
def at_desk(desk, monkeypatch):
    return work_at(desk, monkeypatch)


@pytest.mark.parametrize("line", [line.strip() for line in PASSED.strip().splitlines()])
def test_a_pipe_that_is_passed_is_refused(line, at_desk, capfd):
    code, said = run(shlex.split(line)), capfd.readouterr().err
    assert code == 3, said
    assert "unexpected" not in said


@pytest.mark.parametrize("case", [case.strip() for case in INSIDE.strip().splitlines()])
def test_a_pipe_in_a_received_directory_is_no_reason_to_wait(case, at_desk, capfd):
    place, line = case.replace("CELL", min(os.listdir(f"{SWEEP}/cells"))).split(": ")
    path = Path(place)
    kept = path.rename(path.parent.parent / "kept") if path.exists() else None
    os.mkfifo(path)
    try:
        code, said = run(shlex.split(line)), capfd.readouterr().err
    finally:
        path.unlink()
        if kept is not None:
            kept.rename(path)
        shutil.rmtree("page", ignore_errors=True)
    assert code in range(5), said
    assert "unexpected" not in said


def test_an_unnamed_pipe_is_read():
    reader, writer = os.pipe()
    os.write(writer, b"step:0/20 val_loss:10.8258\n")
    os.close(writer)
    with open_file(Path(f"/dev/fd/{reader}")) as f:
        assert f.read() == b"step:0/20 val_loss:10.8258\n"
    os.close(reader)
