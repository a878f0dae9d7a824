"""What the speed probe says is read strictly, and a probe that fails does not end the run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kit.cli.speed import speed_lines
from kit.core.errors import SchemaError
from kit.sandbox import speed_probe as speed
from kit.sandbox.folder import new_run_id
from kit.sandbox.runtime.host import Host
from kit.sandbox.speed_probe import measure, parse
from kit.values.run_spec import GpuDevice, RunSpec

GOLDEN = Path(__file__).parents[2] / "assets" / "run" / "speed-of-one-h200.json"
"""What the probe printed on one H200."""


def answer(**changed: object) -> bytes:
    return json.dumps({**json.loads(GOLDEN.read_bytes()), **changed}).encode()


def test_the_answer_of_a_real_gpu_is_read() -> None:
    figures = dict(parse(GOLDEN.read_bytes(), 1))
    assert 500 < figures["gpu0.matmul_bf16_tflops"] < 1000
    assert 3000 < figures["gpu0.copy_gbs"] < 4900
    assert 0 < figures["seconds"] < 20
    assert list(figures) == sorted(figures)


def test_the_answer_of_eight_gpus_is_read() -> None:
    one = json.loads(GOLDEN.read_bytes())
    eight = {name.replace("gpu0", f"gpu{n}"): value for n in range(8) for name, value in one.items()}
    figures = dict(parse(json.dumps({**eight, "all_reduce_gbs": 470.1}).encode(), 8))
    assert figures["all_reduce_gbs"] == 470.1 and "gpu7.copy_gbs" in figures


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"[]",
        b"7",
        b"null",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b"some warning\n" + GOLDEN.read_bytes(),
        GOLDEN.read_bytes() * 2,
        answer(**{"gpu0.copy_gbs": "4312"}),
        answer(**{"gpu0.copy_gbs": True}),
        answer(**{"gpu0.copy_gbs": None}),
        answer(**{"gpu0.copy_gbs": [4312]}),
        answer(**{"gpu0.copy_gbs": float("nan")}),
        answer(**{"gpu0.copy_gbs": float("inf")}),
        answer(**{"gpu0.copy_gbs": 1e300}),
        answer(**{"gpu0.copy_gbs": 10**400}),
        answer(**{"gpu0.copy_gbs": 0}),
        answer(**{"gpu0.copy_gbs": -1.0}),
        answer(**{"gpu0.name": 1.0}),
        answer(**{"gpu0.copy_gbs\n": 1.0}),
        answer(**{"gpu00.copy_gbs": 1.0}),
        answer(**{"gpu1.temperature_c": 40.0}),
        answer(**{"x" * 100_000: 1.0}),
        b'{"gpu0.copy_gbs": 1, "gpu0.copy_gbs": 2, "gpu0.matmul_bf16_tflops": 3}',
    ],
    ids=lambda said: repr(said[:24]),
)
def test_anything_else_is_refused(said: bytes) -> None:
    with pytest.raises(SchemaError, match="speed probe"):
        parse(said, 1)


def test_an_answer_for_another_number_of_gpus_is_refused() -> None:
    with pytest.raises(SchemaError, match="probe: 1, expected 2"):
        parse(GOLDEN.read_bytes(), 2)


@pytest.mark.parametrize("name", ["gpu0.copy_gbs", "gpu0.matmul_bf16_tflops"])
def test_a_gpu_without_its_two_figures_is_refused(name: str) -> None:
    left = {k: v for k, v in json.loads(GOLDEN.read_bytes()).items() if k != name}
    with pytest.raises(SchemaError):
        parse(json.dumps(left).encode(), 1)


@pytest.fixture
def asked(tmp_path: Path) -> RunSpec:
    folder = tmp_path / "submission"
    folder.mkdir()
    (folder / "torch.py").write_text("print('{}')\n")
    return RunSpec(
        run_id=new_run_id(0),
        image=None,
        submission=folder,
        argv=("false",),
        env=(("PATH", "/usr/bin:/bin"),),
        gpus=1,
        gpu_devices=(GpuDevice("GPU-0", 0),),
    )


def measured(asked: RunSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> speed.GpuSpeed:
    probe = tmp_path / "probe.py"
    probe.write_text(script)
    monkeypatch.setattr(speed, "SCRIPT", probe)
    return measure(Host(), asked, "python3", tmp_path)


def test_what_the_probe_prints_on_stdout_alone_is_its_answer(asked, tmp_path, monkeypatch) -> None:
    script = f"import sys; print('a warning', file=sys.stderr); print({GOLDEN.read_text()!r}, end='')"
    found = measured(asked, tmp_path, monkeypatch, script)
    assert found.figures == parse(GOLDEN.read_bytes(), 1) and not found.fault


def test_the_submission_is_not_where_the_probe_runs(asked, tmp_path, monkeypatch) -> None:
    found = measured(asked, tmp_path, monkeypatch, "import os; raise SystemExit(str(os.listdir()))")
    assert "torch.py" not in found.fault and "exited with code 1" in found.fault


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("raise SystemExit('no Triton here')", "no Triton here"),
        ("import os; os.kill(os.getpid(), 9)", "exited with code 137"),
        ("print('{}')", "probe: 0, expected 1"),
        ("print('x' * 3_000_000)", "printed more"),
        ("", "not valid JSON"),
    ],
)
def test_a_probe_that_fails_is_a_fault_and_no_exception(asked, tmp_path, monkeypatch, script, why) -> None:
    found = measured(asked, tmp_path, monkeypatch, script)
    assert found.figures == () and why in found.fault


def test_a_probe_that_hangs_is_ended(asked, tmp_path, monkeypatch) -> None:
    short = replace(speed.DEADLINES, start_s=0.3, total_s=0.3)
    monkeypatch.setattr(speed, "DEADLINES", short)
    found = measured(asked, tmp_path, monkeypatch, "import time; time.sleep(600)")
    assert "deadline passed" in found.fault and found.seconds < 300, "the probe sleeps for 600 s"


def test_a_person_sees_one_line_for_each_gpu() -> None:
    (line,) = speed_lines(parse(GOLDEN.read_bytes(), 1))
    assert line.startswith("GPU 0: bf16 products ") and "TFLOP/s, copies " in line


def test_figures_of_a_foreign_bundle_cannot_break_the_text() -> None:
    odd = (("all_reduce_gbs", 1e308), ("gpuX.copy_gbs", 1.0), ("gpu0.else", 2.0), ("gpu3.copy_gbs", -1e300))
    assert list(speed_lines(odd)) == [
        "GPU 3: copies -1e+300 GB/s",
        "all GPUs: NCCL sums 1e+308 GB/s of bus bandwidth",
    ]
