"""What `benchmarks/gpu/ranks.py` and `warm.py` run and judge, and how a benchmark is ended in time."""

from __future__ import annotations

import ast
import importlib
import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "gpu"))


@pytest.fixture
def handlers() -> Iterator[None]:
    """Restore the handlers that a budget replaces."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


INTERRUPTED = """
import os, signal, sys, time
def end(*_):
    print("signed")
    sys.exit(7)
signal.signal(signal.SIGINT, end)
os.kill(os.getppid(), signal.SIGTERM)
time.sleep(600)
"""


@pytest.mark.usefixtures("handlers")
def test_an_interrupted_benchmark_lets_its_command_sign_and_starts_no_other() -> None:
    from arms import Budget

    budget = Budget(600)
    done = budget.run([sys.executable, "-c", INTERRUPTED], {})
    assert (done.code, done.stdout) == (7, "signed\n")
    assert budget.is_interrupted and budget.left_s == 0
    assert budget.run([sys.executable, "-c", "print(1)"], {}).stdout == ""


@pytest.mark.usefixtures("handlers")
def test_a_command_ends_when_the_time_of_its_benchmark_does() -> None:
    from arms import Budget

    class AlmostOver(Budget):
        left_s = 0.5  # whenever it is asked

    done = AlmostOver(0).run(["sleep", "600"], {"PATH": "/usr/bin:/bin"})
    assert done.code == -signal.SIGINT


@pytest.mark.usefixtures("handlers")
def test_a_bare_run_that_has_ended_is_killed_by_no_later_interruption(tmp_path: Path) -> None:
    from arms import Budget, read_until

    budget = Budget(600)
    seen = []
    done = read_until(
        ["echo", "step"],
        tmp_path,
        {"PATH": "/usr/bin:/bin"},
        lambda line: bool(seen.append(line)),
        60,
        budget,
    )
    assert [text for _, text in done.lines] == seen == ["step"]
    assert budget.at_interrupt == []


@pytest.mark.usefixtures("handlers")
def test_the_time_of_a_benchmark_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from arms import Budget

    now = time.monotonic()
    monkeypatch.setattr("arms.time.monotonic", lambda: now)
    budget = Budget(5)
    left = [budget.left_s]
    for later in (4, 6):
        monkeypatch.setattr("arms.time.monotonic", lambda later=later: now + later)
        left.append(budget.left_s)
    assert left == pytest.approx([5, 1, 0])


def test_each_guest_of_ranks_is_a_script_and_ends_otherwise_than_by_itself() -> None:
    from ranks import guests

    on_cpus, on_gpus = guests(2, False), guests(2, True)
    assert on_gpus[: len(on_cpus)] == on_cpus and len(on_gpus) > len(on_cpus)
    assert len({guest.title for guest in on_gpus}) == len(on_gpus)
    for guest in on_gpus:
        ast.parse(guest.script)
    assert {guest.status for guest in on_gpus} == {"completed", "timed_out", "crashed"}


def kitted(tmp_path: Path, lines: list[str], status: str = "completed", **teardown: Any) -> Any:
    """Return a run with this log, as if the kit had signed it."""
    from arms import Kitted

    (tmp_path / "guest.log").write_text("".join(f"{line}\n" for line in lines))
    stamps = [json.dumps([n, 0, len(line) + 1, 0]) for n, line in enumerate(lines)]
    (tmp_path / "stamps").write_text("".join(f"{stamp}\n" for stamp in stamps))
    predicate = {
        "run": {"status": status, "reason": "why", "compile_cache": "warm", "compile_cache_sha256": "ab"},
        "observations": {"teardown": {"kill_s": 0.2, "remains": [], **teardown}},
        "score": {"ranked": False},
    }
    return Kitted(0, 1.0, tmp_path, predicate)


def printed(ranks: int) -> list[str]:
    """Return what the guest whose ranks meet prints."""
    from ranks import LINES, MEET, WIDTH

    reached = [f"rank {a} reached rank {b}" for a in range(ranks) for b in range(ranks) if a != b]
    text = [f"rank {r} line {n} " + "x" * (WIDTH * (r + 1)) for n in range(LINES) for r in range(ranks)]
    return [f"{MEET}: {ranks} by gloo", *reached, *text]


def test_ranks_that_met_and_printed_all_are_as_they_must_be(tmp_path: Path) -> None:
    from ranks import faults, guests

    assert faults(guests(2, False)[0], kitted(tmp_path, printed(2)), 2) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda lines: lines[1:], "no line: all ranks have met"),
        (lambda lines: [x for x in lines if "1 reached" not in x], "no line: rank 1 reached rank 0"),
        (lambda lines: [*lines[:-2], lines[-2] + lines[-1]], "2 lines are missing or mixed"),
    ],
)
def test_a_line_that_is_missing_or_mixed_is_a_fault(tmp_path: Path, change: Any, fault: str) -> None:
    from ranks import faults, guests

    assert faults(guests(2, False)[0], kitted(tmp_path, change(printed(2))), 2) == [fault]


@pytest.mark.parametrize(
    ("teardown", "fault"),
    [({"kill_s": 5.1}, "gone after 5.10 s"), ({"remains": ["gpu 0: 2 MiB"]}, "left behind: gpu 0: 2 MiB")],
)
def test_what_is_left_or_late_is_a_fault(tmp_path: Path, teardown: dict[str, Any], fault: str) -> None:
    from ranks import faults, guests

    assert faults(guests(2, False)[0], kitted(tmp_path, printed(2), **teardown), 2) == [fault]


def test_another_end_than_the_expected_one_is_a_fault(tmp_path: Path) -> None:
    from ranks import faults, guests

    found = faults(guests(2, False)[0], kitted(tmp_path, printed(2), "timed_out"), 2)
    assert found == ["timed_out, not completed: why"]


def test_a_warm_run_must_name_its_cache_end_and_be_unranked(tmp_path: Path) -> None:
    from warm import faults

    assert faults(kitted(tmp_path, []), "ab") == []
    assert faults(kitted(tmp_path, []), "cd") == ["the bundle says warm, ab"]
    assert faults(kitted(tmp_path, [], "timed_out"), "ab") == ["the run ended as timed_out: why"]
    ranked = kitted(tmp_path, [])
    ranked.predicate["score"]["ranked"] = True
    assert faults(ranked, "ab") == ["the bundle is ranked"]


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("era", ["torch-2.9.1", "SUBMISSION", "--record", "29"]),
        ("overhead", ["--image", "torch-2.9.1", "--record", "29"]),
    ],
)
def test_a_pair_without_its_image_names_the_command_that_brings_it(
    module: str,
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store, out = tmp_path / "store", tmp_path / "out"
    argv = [f"{module}.py", str(tmp_path), str(store), str(out), *arguments]
    monkeypatch.setattr(sys, "argv", argv)
    assert importlib.import_module(module).main() == 3
    carry = ROOT / "benchmarks" / "gpu" / "carry.py"
    assert capsys.readouterr().err == (
        f"error: image torch-2.9.1 is not in {store}\nhint: python {carry} unpack DIR {store}\n"
    )
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--pairs", "0"], "--pairs, --gpus and --lanes are at least 1"),
        (["--lanes", "0"], "--pairs, --gpus and --lanes are at least 1"),
        (["--gpus", "0"], "--pairs, --gpus and --lanes are at least 1"),
        (["--last", "29"], "--last is at least 30"),
        (["--image", "torch-2.10.0"], "--record 4 belongs to the image torch-2.4.1, not torch-2.10.0"),
        (["--lanes", "2", "--gpus", "2"], "--lanes gives each run one GPU"),
        (["--profile", "smoke"], "--profile smoke needs an image: --image cpu"),
    ],
)
def test_overhead_refuses_pairs_that_cannot_be_compared(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import overhead

    places = [str(tmp_path / name) for name in ("data", "store", "out")]
    monkeypatch.setattr(sys, "argv", ["overhead.py", *places, *arguments])
    with pytest.raises(SystemExit) as ended:
        overhead.main()
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_overhead_says_why_a_bare_run_died_and_starts_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import overhead
    from arms import Bare, Machine

    machine = Machine(tmp_path, tmp_path, tmp_path, image="cpu")
    monkeypatch.setattr(overhead, "bare_in_image", lambda *_: Bare(2, 0.1, [], "no such option: --bogus\n"))
    monkeypatch.setattr(overhead, "under_the_kit", lambda *_, **__: pytest.fail("the kit ran"))
    lane = overhead.lane(machine, None, "3", "train_gpt2.py", ["--bogus"], 60)
    with pytest.raises(SystemExit, match=r"^bare torchrun ended before step 30: no such option: --bogus$"):
        lane.pair(1)
