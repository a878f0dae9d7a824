"""The same kind of mistake ends every command with the same exit code; with --json, in one object."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys

import pytest
from desk import AGENT_RUN, RUN_ID, SERIES_ID, lay, work_at

pytest.importorskip("scipy")

from kit.cli import run

RULE = "=" * 100
SERIES, AGENT, SWEEP = f"runs/{SERIES_ID}", f"agent-runs/{AGENT_RUN}", "sweeps/NAME"
BOARD = "../leaderboard"
CASES = {
    ("a path that does not exist", 3): f"""
        check nope --json
        eval --record 3 --submission nope --plan --json
        eval --record 3 --mirror nope --plan --json
        eval --record 3 --profile smoke --runtime host --python nope --plan --json
        score nope --json
        score --table nope --json
        report nope --out page --json
        report {BOARD} --agents nope --out page --json
        report {BOARD} --data-lock nope --out page --json
        bundle verify nope --json
        bundle verify result.json --key nope --json
        bundle show nope --json
        log parse nope --json
        runs list --out nope --json
        runs log nope
        runs log latest --out nope
        runs diff nope latest --json
        runs diff latest latest --out nope --json
        submit check nope --json
        submit check {BOARD} --data-lock nope --json
        submit send nope --to {BOARD} --agent x --json
        series nope --json
        series {SERIES} --data-lock nope --json
        agent show nope --json
        agent verify nope --json
        agent export nope --format atif --out x
        agent resume nope --json
        agent run --task smoke-1 --model scripted --answers nope --plan
        agent run --task smoke-1 --model nope --plan
        agent run --task smoke-1 --model scripted --replay nope --plan
        agent run --task smoke-1 --model scripted --knowledge nope --plan
        sweep plan nope --json
        sweep run nope --json
        sweep status nope --json
        sweep collect nope --json
        sweep export nope --out x
        sweep cell nope x
        task export 3 --upstream nope --out x
        record fetch 3 --upstream nope --json
        record draft nope --id 90
        hint lint --upstream nope --json
        image build cpu --mirror nope --json
        image diff ./nope ./nope --json
        data fetch --record 11 --mirror nope --json
        data lock --mirror nope
        pack nope --json
        unpack nope --json
        reproduce nope --json
        keys trust nope
        keys show --keys nope
    """,
    ("a directory where a file is wanted", 3): f"""
        score --table my-agent --json
        bundle verify result.json --key my-agent --json
        log parse my-agent --json
        log parse '' --json
        series {SERIES} --data-lock my-agent --json
        report {BOARD} --data-lock my-agent --out page --json
        record draft my-agent --id 90
        agent run --task smoke-1 --model scripted --answers my-agent --plan
        agent run --task smoke-1 --model my-agent --plan
        agent run --task smoke-1 --model scripted --knowledge my-agent --plan
        unpack my-agent --json
        keys trust my-agent
    """,
    ("a named pipe, or a link to itself, where a file is wanted", 3): f"""
        bundle verify pipe --json
        bundle verify result.json --key pipe --json
        bundle show pipe --json
        score pipe --json
        score --table pipe --json
        log parse pipe --json
        log export pipe
        pack pipe --json
        unpack pipe --json
        reproduce pipe --json
        submit send pipe --to {BOARD} --agent x --json
        submit send loop --to {BOARD} --agent x --json
        series {SERIES} --data-lock pipe --json
        report {BOARD} --data-lock pipe --out page --json
        agent run --task smoke-1 --model pipe --plan
        agent run --task smoke-1 --model scripted --answers pipe --plan
        agent run --task smoke-1 --model scripted --knowledge pipe --plan
        sweep plan pipe --json
        sweep run pipe --json
        keys trust pipe
    """,
    ("a file where a directory is wanted", 3): f"""
        check log.txt --json
        eval --record 3 --submission log.txt --plan --json
        runs list --out log.txt --json
        runs log latest --out log.txt
        report log.txt --out page --json
        submit check log.txt --json
        series log.txt --json
        agent show log.txt --json
        agent verify log.txt --json
        agent resume log.txt --json
        sweep status log.txt --json
        sweep collect log.txt --json
        task export 3 --upstream log.txt --out x
        data fetch --record 11 --mirror log.txt --json
        keys list --keys log.txt --json
        cache show --store log.txt --json
        cache clean --store log.txt --yes --json
        image list --store log.txt --json
        image diff ./log.txt ./log.txt --json
        submit send {RUN_ID} --to log.txt --agent x --json
    """,
    ("a directory of another kind", 3): f"""
        bundle verify my-agent --json
        bundle verify {SWEEP} --json
        bundle show {SERIES} --json
        score {AGENT} --json
        series {SWEEP} --json
        series runs/{RUN_ID} --json
        sweep status {SERIES} --json
        sweep collect {AGENT} --json
        agent show runs/{RUN_ID} --json
        agent verify {SWEEP} --json
        agent resume {SERIES} --json
        pack {SWEEP} --json
        reproduce {BOARD} --json
        submit check runs/{RUN_ID} --json
    """,
    ("a document that is no JSON", 4): f"""
        bundle verify broken --json
        bundle verify broken/result.json --json
        bundle show broken --json
        score broken --json
        pack broken --json
        reproduce broken --json
        runs diff broken latest --json
        submit send broken --to {BOARD} --agent x --json
        series broken-series --json
        sweep status broken-sweep --json
        sweep collect broken-sweep --json
        sweep run broken-sweep --json
        sweep plan broken/result.json --json
        agent show broken-agent --json
        agent verify broken-agent --json
        agent export broken-agent --format atif --out x
        agent resume broken-agent --json
        agent run --task smoke-1 --model broken/result.json --plan
        keys trust broken/result.json
        unpack broken/result.json --json
        report {BOARD} --data-lock broken/result.json --out page --json
        series {SERIES} --data-lock broken/result.json --json
        submit check {BOARD} --data-lock broken/result.json --json
        score --table broken/result.json --json
    """,
    ("a result whose files were changed", 4): f"""
        bundle verify changed --json
        bundle show changed --json
        score changed --json
        pack changed --json
        reproduce changed --json
        submit send changed --to {BOARD} --agent x --json
    """,
    ("an unknown record, task, era or other name of the kit", 2): """
        eval --record 99 --plan --json
        eval --record 3 --audit nope --plan --json
        check my-agent --record 99 --json
        record show 99 --json
        record fetch 99 --json
        task show 99 --json
        task show 21 --json
        task export 99 --out x
        hint show 99 --level 1
        hint show 21 --level 1
        hint lint 99 --json
        data fetch --record 99 --json
        data verify --record 99 --json
        agent run --task 99 --model scripted --plan
        image build nope --json
        image diff nope nope --json
        image export nope --out x --json
        image fetch nope --json
        image load nope --json
        image lock nope --json
        image push nope localhost:1/x:y --json
        image rm nope --json
        image test nope --json
        image verify nope --json
        log parse log.txt --grammar nope --json
        bundle schema nope
        config show nope --json
    """,
    ("two forms of output at once", 2): f"""
        session show my-session --csv --json
        agent show {AGENT} --node 1 --curve --json
        submit check {BOARD} --github --json
        session serve my-session --stdio --socket x
        log export runs/{RUN_ID} --to trackio --out x.csv
    """,
    ("a name that is not in the directory", 3): f"""
        runs log r99
        runs diff r99 latest --json
        keys remove nope --yes
        keys revoke nope --reason x
        sweep cell {SWEEP} nope
        agent show {AGENT} --node 99 --json
    """,
    ("a container engine that does not answer", 3): """
        eval --record 3 --profile smoke --runtime docker --out x --json
        image test cpu --runtime docker --json
        image load cpu --json
    """,
    ("an extra that is not installed", 3): f"""
        score result.json --json
        report {BOARD} --out page --json
        series {SERIES} --json
        agent verify {AGENT} --json
        sweep collect {SWEEP} --json
        eval --record 3 --profile smoke --runs 5 --out x --json
    """,
}
LONG = "x" * 300
CASES["a path that is too long", 3] = f"""
    bundle verify {LONG} --json
    keys generate --keys {LONG}
    log parse {LONG} --json
    runs list --out {LONG} --json
    score {LONG} --json
    task export smoke-1 --out {LONG}
"""
DIRECTORIES = f"""
    agent run --task smoke-1 --model scripted --nodes 1 --runtime host --out PLACE
    eval --record 3 --profile smoke --runtime host --out PLACE
    image sbom cpu --out PLACE
    judge my-agent --task 3 --upstream ../modded-nanogpt/.git --out PLACE
    keys generate --keys PLACE
    report {BOARD} --out PLACE
    session new --task smoke-1 --budget evaluations=1,wall=1h --out PLACE
    submit send {RUN_ID} --to PLACE --agent x
    sweep run sweep.toml --out PLACE
    task export 3 --profile smoke --out PLACE
    task export smoke-1 --out PLACE
    unpack result.capsule.tar --to PLACE
"""
"""Commands that write a directory."""
FILES = f"""
    agent export {AGENT} --format atif --out PLACE
    agent show {AGENT} --svg PLACE
    log export result.json --out PLACE
    record draft whole-log.txt --id 90 --out PLACE
    sweep export sweep.toml --out PLACE-s --sbatch PLACE
"""
"""Commands that write one file."""
OUTPUTS = {
    "a place that takes no new files": ("/proc/x", DIRECTORIES + FILES),
    "a directory in a place that takes no new files": ("/proc/x/y", DIRECTORIES + FILES),
    "a place without permission": ("/sys/x", DIRECTORIES + FILES),
    "a file as a parent": ("log.txt/x", DIRECTORIES + FILES),
    "a directory for the new file": ("my-agent", FILES),
}
CASES |= {(kind, 3): text.replace("PLACE", place) for kind, (place, text) in OUTPUTS.items()}
CASES["a file for the new directory", 3] = "\n".join(
    line for line in DIRECTORIES.replace("PLACE", "log.txt").splitlines() if "unpack" not in line
)
PACK = f"pack runs/{RUN_ID} --out"
CASES["a file as a parent", 3] += f"{PACK} log.txt/x"
CASES["a directory for the new file", 3] += f"{PACK} my-agent"
CASES["a directory that is not made", 3] = f"{PACK} missing/x"
CASES["an output that exists already", 2] = f"""
    pack runs/{RUN_ID} --out log.txt
    record draft whole-log.txt --id 90 --out log.txt
    session new --task smoke-1 --budget evaluations=1,wall=1h --out my-agent
    task export smoke-1 --out my-agent
    unpack result.capsule.tar --to log.txt
    unpack result.capsule.tar --to my-agent
"""
EXTRA = "an extra that is not installed"
LINES = [
    (kind, code, line.strip())
    for (kind, code), text in CASES.items()
    for line in text.splitlines()
    if line.strip()
]


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    here = lay(tmp_path_factory.mktemp("codes"))
    (here / "whole-log.txt").write_text(
        f"import torch\n{RULE}\nRunning Python 3.12.7\n{RULE}\n"
        "step:0/1 val_loss:10.8258 train_time:0ms step_avg:nanms\n"
        "step:1/1 val_loss:3.2791 train_time:60ms step_avg:60.00ms\n"
    )
    os.mkfifo(here / "pipe")
    (here / "loop").symlink_to("loop")
    (here / "broken").mkdir()
    (here / "broken" / "result.json").write_text("{ not json")
    shutil.copytree(here / "runs" / RUN_ID, here / "changed")
    (here / "changed" / "guest.log").write_bytes(b"another log\n")
    for name, source, file in (
        ("broken-series", SERIES, "plan.json"),
        ("broken-sweep", SWEEP, "plan.json"),
        ("broken-agent", AGENT, "journal.jsonl"),
        ("broken-agent", AGENT, "spec.json"),
    ):
        shutil.copytree(here / source, here / name, dirs_exist_ok=name == "broken-agent")
        (here / name / file).chmod(0o644)
        (here / name / file).write_text("{ not json\n")
    (here / "broken-agent" / "journal.jsonl").write_text("{ not json\n")
    return here


@pytest.fixture
def at_desk(desk, monkeypatch):
    return work_at(desk, monkeypatch)


@pytest.mark.parametrize(("kind", "code", "line"), LINES)
def test_a_mistake_has_the_code_of_its_kind(kind, code, line, at_desk, capfd, monkeypatch):
    if kind == EXTRA:
        monkeypatch.setitem(sys.modules, "scipy", None)
        for name in [n for n in sys.modules if n.startswith(("kit.score.metrics", "scipy."))]:
            monkeypatch.delitem(sys.modules, name)
    argv = shlex.split(line)
    ended = run(argv)
    said = capfd.readouterr()
    assert ended == code, said.err
    if "--json" in argv:
        document = json.loads(said.out)
        assert {"error", "results", "faults"}.intersection(document), document
    else:
        assert said.out == ""
    if argv != ["agent", "verify", "broken-agent", "--json"]:  # its answer lists the faults
        assert said.err.startswith(("error: ", "Usage: ")) or "\nerror: " in said.err
    assert "unexpected" not in said.err
