"""The speed probe's own arithmetic and words, with stand-ins for torch, Triton and the driver."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from kit.sandbox.speed_probe import SCRIPT, parse

TORCH = """
from types import ModuleType, SimpleNamespace
import os, sys

GPUS = int(os.environ["FAKE_GPUS"])
bfloat16, int32 = "bfloat16", "int32"

class Tensor:
    def __getitem__(self, at): return self
    def item(self): return GPUS if os.environ["FAKE_NCCL"] == "sums" else 1
    def all(self): return os.environ.get("FAKE_PRODUCT") != "inf"

def make(*size, **how): return Tensor()
randn = randint = ones = empty_like = zeros_like = make
def mm(a, b, out): pass
def isfinite(x): return x
def equal(a, b): return os.environ.get("FAKE_COPY") != "wrong"

class Event:
    def __init__(self, enable_timing): pass
    def record(self): pass
    def elapsed_time(self, other): return 2.0

class device:
    def __init__(self, index): pass
    def __enter__(self): return self
    def __exit__(self, *what): pass

nccl = ModuleType("torch.cuda.nccl")
def all_reduce(parts):
    print("NCCL version 9")
    if os.environ["FAKE_NCCL"] == "fails": raise RuntimeError("no peer")
nccl.all_reduce = all_reduce
cuda = ModuleType("torch.cuda")
cuda.__path__ = []
cuda.Event, cuda.device, cuda.nccl = Event, device, nccl
cuda.synchronize = lambda *i: None
cuda.empty_cache = lambda: None
cuda.device_count = lambda: GPUS
cuda.get_device_properties = lambda i: SimpleNamespace(multi_processor_count=132)
sys.modules["torch.cuda"], sys.modules["torch.cuda.nccl"] = cuda, nccl
"""
TRITON = """
class jit:
    def __init__(self, kernel): pass
    def __getitem__(self, grid): return lambda *a, **k: None
def cdiv(a, b): return -(-a // b)
"""


@pytest.fixture
def run(tmp_path: Path):
    for name, text in (("torch", TORCH), ("triton", TRITON)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(textwrap.dedent(text))
    (tmp_path / "triton" / "language.py").write_text("constexpr = None\n")

    def start(**fakes: str) -> subprocess.CompletedProcess[bytes]:
        env = {**os.environ, "PYTHONPATH": str(tmp_path), "FAKE_GPUS": "2", "FAKE_NCCL": "sums", **fakes}
        return subprocess.run([sys.executable, str(SCRIPT)], env=env, capture_output=True, check=False)

    return start


def test_two_gpus_and_their_sum_are_told_in_one_line(run) -> None:
    done = run()
    assert done.returncode == 0 and done.stdout.count(b"\n") == 1
    figures = dict(parse(done.stdout, 2))
    # ten products in 2 ms; a copy that reads and writes 2 GiB in 2 ms
    assert figures["gpu1.matmul_bf16_tflops"] == pytest.approx(10 * 2 * 8192**3 / 2e-3 / 1e12, rel=1e-4)
    assert figures["gpu0.copy_gbs"] == pytest.approx(2 * 2**31 / 2e-3 / 1e9, rel=1e-4)
    assert figures["all_reduce_gbs"] > 0


def test_what_libraries_print_is_no_part_of_the_answer(run) -> None:
    done = run()
    assert b"NCCL version" in done.stderr and b"NCCL version" not in done.stdout


@pytest.mark.parametrize("fault", ["fails", "lies"])
def test_gpus_that_cannot_sum_leave_that_figure_out(run, fault: str) -> None:
    done = run(FAKE_NCCL=fault)
    assert "all_reduce_gbs" not in json.loads(done.stdout) and b"all_reduce: " in done.stderr
    assert len(parse(done.stdout, 2)) == len(parse(run().stdout, 2)) - 1


def test_one_gpu_measures_no_sum_over_gpus(run) -> None:
    assert "all_reduce_gbs" not in dict(parse(run(FAKE_GPUS="1").stdout, 1))


@pytest.mark.parametrize(
    ("fakes", "words"),
    [
        ({"FAKE_GPUS": "0"}, b"RuntimeError: no GPU is visible"),
        ({"FAKE_COPY": "wrong"}, b"the copy differs"),
        ({"FAKE_PRODUCT": "inf"}, b"is not finite"),
    ],
)
def test_wrong_results_are_no_figures(run, fakes: dict[str, str], words: bytes) -> None:
    done = run(**fakes)
    assert done.returncode == 1 and done.stdout == b"" and words in done.stderr
