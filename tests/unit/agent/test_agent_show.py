"""`agent show`, `agent verify` and `agent export`, and the curve; also on hostile texts."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from fake_search import SIGNATURE, FakeEditor, FakeTransport, make_parts
from pressed_search import PressedEvaluator, press, pressed_run, pressed_spec, signer

from kit.agent import recorded, verify_nodes
from kit.agent.curve import AXES, curve_of, steps_of
from kit.agent.events import node_of
from kit.agent.journal import JOURNAL
from kit.agent.outline import branches
from kit.agent.recorded import read_run
from kit.agent.search import search
from kit.agent.solve import ModelSolver
from kit.agent.summary import write_summary
from kit.agent.svg import draw_curve
from kit.cli import run as speedrun
from kit.cli.agent.run_text import BAR, curve_lines
from kit.core.errors import PrerequisiteError
from kit.core.text import is_printable

HOSTILE = "x\x1b[2J\x9b2J\u202e\u200b<script>alert(1)</script>\r"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("shown") / "run"
    pressed_run(where, pressed_spec(max_nodes=8))
    return where


@pytest.fixture
def keys(tmp_path):
    where = tmp_path / "keys"
    where.mkdir(mode=0o700)
    (where / "them.pem").write_bytes(press().MAKE.SIGNER.public.pem)
    return str(where)


def shown(capsys, *argv):
    assert speedrun(["agent", *map(str, argv)]) == 0
    return capsys.readouterr().out


def test_the_lines_of_all_nodes_are_found_in_one_pass(folder, monkeypatch):
    """A pass for each node takes minutes for the thousands of nodes that a run may have."""
    looked = []
    monkeypatch.setattr(recorded, "node_of", lambda event: looked.append(event) or node_of(event))
    run = read_run(folder)
    for node in run.tree.nodes:
        assert run.of_node(node.id) == tuple(line for line in run.lines if node_of(line.event) == node.id)
    assert run.of_node(99) == ()
    assert list(verify_nodes.node_faults(run)) == []
    assert len(looked) == len(run.lines)


def test_the_tree_lists_every_node_below_its_parent(folder, capsys):
    text, run = shown(capsys, "show", folder), read_run(folder)
    order = [branch.node.id for branch in branches(run)]
    assert sorted(order) == [node.id for node in run.tree.nodes]
    for branch in branches(run):
        if branch.depth:
            assert order.index(branch.node.action.parent) < order.index(branch.node.id)
    assert f"{run.tree.winner()} *" in text
    assert "ended: the search is complete" in text and "8 nodes of at most 8" in text


def test_one_node_shows_calls_feedback_and_diff(folder, capsys):
    run = read_run(folder)
    node = next(n for n in run.tree.nodes if run.account(n.id).calls > 1 and n.submission_sha256)
    text = shown(capsys, "show", folder, "--node", node.id)
    assert "edit refused" in text or "empty" in text or "length" in text
    assert "--- diff" in text and f"+# {SIGNATURE}" in text and "--- last message to the model" in text
    (log,) = (line.removeprefix("output: ") for line in text.splitlines() if line.startswith("output: "))
    assert Path(log).name == "guest.log" and Path(log).is_file()
    document = json.loads(shown(capsys, "show", folder, "--node", node.id, "--json"))
    assert document["account"]["calls"] == len(document["calls"]) == run.account(node.id).calls


def test_a_node_that_is_not_there_is_a_missing_prerequisite(folder, capsys):
    assert speedrun(["agent", "show", str(folder), "--node", "99"]) == 3
    assert "the run has 9 nodes" in capsys.readouterr().err


def test_the_curve_never_falls_and_ends_at_the_winner(folder, capsys):
    run = read_run(folder)
    points = curve_of(run)
    best = [p.best for p in points]
    assert best == sorted(best) and len(points) == 8
    winner = run.tree.node(run.tree.winner())
    assert best[-1] == max(0.0, winner.evaluation.fsr)
    assert points[-1].spent.gpu_seconds == run.spent.charged.gpu_seconds
    text = shown(capsys, "show", folder, "--curve", "--by", "usd")
    assert "USD" in text and f"{best[-1]:.3f}" in text


def test_an_axis_on_which_nothing_was_spent_has_no_curve(folder):
    points = [replace(p, spent=replace(p.spent, usd=0.0)) for p in curve_of(read_run(folder))]
    usd = next(axis for axis in AXES if axis.name == "usd")
    assert steps_of(tuple(points), usd) == ()
    assert "polyline" not in draw_curve(points, usd, "t")


def test_a_curve_by_what_was_not_spent_is_one_line_that_says_why(folder, tmp_path, capsys, monkeypatch):
    points = [replace(p, spent=replace(p.spent, gpu_seconds=0.0)) for p in curve_of(read_run(folder))]
    monkeypatch.setattr("kit.cli.agent.show.curve_of", lambda run: tuple(points))
    text = shown(capsys, "show", folder, "--curve", "--by", "gpu-hours")
    why = "this run spent no GPU-hours: its evaluations ran on CPUs; use --by hours or --by nodes"
    assert text == f"{why}\n"
    for by in ("hours", "nodes"):
        assert "best fsr" in shown(capsys, "show", folder, "--curve", "--by", by)
    image = tmp_path / "c.svg"
    assert speedrun(["agent", "show", str(folder), "--by", "gpu-hours", "--svg", str(image)]) == 0
    assert why in capsys.readouterr().err and why in image.read_text()


def test_bars_are_scaled_to_the_highest_fsr_above_1(folder):
    first, second, *_ = curve_of(read_run(folder))
    heads, low, high = curve_lines((replace(first, best=1.0), replace(second, best=4.0)), AXES[0])
    assert heads.endswith("from 0 to 4") and (low.count("#"), high.count("#")) == (BAR // 4, BAR)
    heads, low = curve_lines((replace(first, best=0.5),), AXES[0])
    assert heads.endswith("from 0 to 1") and low.count("#") == BAR // 2


@pytest.mark.parametrize(("fsr", "shape"), [(-7.0, "polygon"), (9.5, "polygon"), (-0.5, "circle")])
def test_an_fsr_outside_the_scale_is_marked_and_keeps_its_value(folder, fsr, shape):
    point = replace(curve_of(read_run(folder))[0], node=1, fsr=fsr, best=max(0.0, fsr))
    root = ElementTree.fromstring(draw_curve((point,), AXES[0], "t"))
    names = {
        e[0].text: e.tag.rpartition("}")[2] for e in root.iter() if e.tag.endswith(("circle", "polygon"))
    }
    assert names == {f"node 1, FSR {fsr:.3g}": shape}


@pytest.mark.parametrize("axis", AXES, ids=lambda axis: axis.name)
def test_the_image_is_valid_and_escaped(folder, axis):
    image = draw_curve(curve_of(read_run(folder)), axis, HOSTILE)
    root = ElementTree.fromstring(image)
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert tags <= {"svg", "title", "rect", "text", "line", "circle", "polyline", "polygon"}
    assert is_printable(image.replace("\n", ""))
    paths = [element.attrib["points"] for element in root.iter() if "points" in element.attrib]
    numbers = [float(number) for path in paths for number in path.replace(",", " ").split()]
    assert numbers and all(0 <= n <= 640 for n in numbers)


def test_an_image_of_a_run_without_nodes_is_valid():
    ElementTree.fromstring(draw_curve((), AXES[0], "t"))


def test_the_image_is_written(folder, tmp_path, capsys):
    path = tmp_path / "curve.svg"
    assert shown(capsys, "show", folder, "--svg", path).strip() == str(path)
    ElementTree.fromstring(path.read_text())


def test_an_interrupted_run_is_shown_after_every_line(folder, tmp_path, capsys):
    copy = Path(shutil.copytree(folder, tmp_path / "run"))
    lines = (copy / JOURNAL).read_bytes().splitlines(keepends=True)
    for kept in (1, 2, 3, 4, 5, 9, 11, 40, len(lines) - 1):
        (copy / JOURNAL).write_bytes(b"".join(lines[:kept]) + lines[kept][:9])
        assert "interrupted" in shown(capsys, "show", copy)
        assert json.loads(shown(capsys, "show", copy, "--json"))["state"] == "interrupted"
        shown(capsys, "show", copy, "--curve")


def test_a_running_run_is_called_running(folder, tmp_path, capsys):
    from kit.agent.journal import open_journal

    copy = Path(shutil.copytree(folder, tmp_path / "run"))
    lines = (copy / JOURNAL).read_bytes().splitlines(keepends=True)
    (copy / JOURNAL).write_bytes(b"".join(lines[:30]))
    journal, _ = open_journal(copy, lambda: "2026-01-01T00:00:00+00:00")
    with journal:
        assert "running" in shown(capsys, "show", copy)


def test_no_run_is_missing(tmp_path, capsys):
    assert speedrun(["agent", "show", str(tmp_path)]) == 3
    assert "not the directory of an agent's run" in capsys.readouterr().err


def test_verify_says_intact_and_exits_4_for_a_fault(folder, tmp_path, keys, capsys):
    assert speedrun(["agent", "verify", str(folder), "--keys", keys]) == 0
    assert "intact: 9 nodes" in capsys.readouterr().out
    copy = Path(shutil.copytree(folder, tmp_path / "run"))
    (copy / JOURNAL).write_bytes(b"".join((copy / JOURNAL).read_bytes().splitlines(keepends=True)[:-1]))
    assert speedrun(["agent", "verify", str(copy), "--keys", keys]) == 4
    assert "FAILED" in capsys.readouterr().err
    assert speedrun(["agent", "verify", str(copy), "--keys", keys, "--json"]) == 4
    document = json.loads(capsys.readouterr().out)
    assert document["faults"] and document["exit"] == 4 and document["ended"] is False


def test_verify_exits_1_for_an_unknown_key_and_without_a_summary(folder, tmp_path, keys, capsys):
    nobody = tmp_path / "nobody"
    nobody.mkdir(mode=0o700)
    assert speedrun(["agent", "verify", str(folder), "--keys", str(nobody)]) == 1
    copy = Path(shutil.copytree(folder, tmp_path / "run"))
    (copy / "summary.json").unlink()
    assert speedrun(["agent", "verify", str(copy), "--keys", keys]) == 1
    assert "there is no summary.json" in capsys.readouterr().err


def test_export_writes_a_file_or_stdout(folder, tmp_path, capsys):
    path = tmp_path / "trajectory.json"
    assert shown(capsys, "export", folder, "--out", path).strip() == str(path)
    written = json.loads(path.read_bytes())
    assert written == json.loads(shown(capsys, "export", folder))
    assert "resourceSpans" in json.loads(shown(capsys, "export", folder, "--format", "otlp-json"))


def test_a_hostile_model_and_guest_change_nothing_but_what_is_escaped(tmp_path, keys, capsys):
    """The answer, the diff, the guest's log, the model's name and a bundle's name beside it are hostile."""

    class HostileEditor(FakeEditor):
        def edit(self, parent_files, answer):
            result = super().edit(parent_files, answer)
            if result.applied is None:
                return replace(result, reason=HOSTILE)
            return replace(result, reason=HOSTILE, diff=result.diff + HOSTILE)

    spec = pressed_spec("flat")
    spec = replace(
        spec, model=replace(spec.model, name=HOSTILE), policy=replace(spec.policy, max_nodes=4, initial=4)
    )
    run = tmp_path / "run"
    parts = make_parts(
        run,
        evaluator=PressedEvaluator(run / "bundles", log="\x1b[2J<script>alert(1)</script>"),
        transport=FakeTransport(text=f"{SIGNATURE} {HOSTILE}"),
    )
    solver = parts.solver
    assert isinstance(solver, ModelSolver)
    solver._editor = HostileEditor()
    search(run, spec, parts)
    write_summary(run, signer())
    (run / "bundles" / "evil\x1b[2J").mkdir()
    commands = [["show", str(run)], ["show", str(run), "--curve"], ["verify", str(run), "--keys", keys]]
    commands += [["show", str(run), "--node", str(n)] for n in range(1, 6)]
    commands += [[*c, "--json"] for c in commands] + [["export", str(run)]]
    for command in commands:
        assert speedrun(["agent", *command]) == 0, command
        captured = capsys.readouterr()
        for line in (captured.out + captured.err).split("\n"):
            assert is_printable(line), (command, line)


def test_a_missing_directory_is_named_as_missing(tmp_path):
    with pytest.raises(PrerequisiteError, match="no such directory"):
        read_run(tmp_path / "misspelt")
    with pytest.raises(PrerequisiteError, match=r"agent's run or session: it has no journal\.jsonl"):
        read_run(tmp_path)
