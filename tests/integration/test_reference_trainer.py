"""
The reference trainer, run for real on CPUs: learns the smoke language and speaks the benchmark's grammar.

Needs an interpreter with torch and numpy: this one, or the one that KIT_TORCH_PYTHON names.
"""

from __future__ import annotations

import functools
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from free_ports import free_ports

import kit.guest
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.data.markov import Language, LanguageSpec
from kit.data.shard import write_shard
from kit.data.synth import SmokeData, SmokeSpec, ensure_smoke, load_smoke

TRAINER = Path(kit.guest.__file__).parent / "train_reference.py"
VAL = re.compile(r"step:(\d+)/(\d+) val_loss:(\d+\.\d{4}) train_time:(\d+)ms step_avg:(nan|\d+\.\d+)ms")
TRAIN = re.compile(r"step:(\d+)/(\d+) train_time:(\d+)ms step_avg:(nan|\d+\.\d+)ms")
PEAK = re.compile(r"peak memory allocated: (\d+) MiB reserved: (\d+) MiB")
TOY = "--steps 24 --val-every 12 --batch-tokens 1024 --seq-len 64 --micro-batch 4 --layers 1 --heads 2"
TOY_ARGS = (*TOY.split(), "--width", "32", "--vocab-size", "256", "--lr-head", "0.02")


@functools.cache
def torch_python() -> str | None:
    """Return an interpreter that has torch, or None."""
    for python in filter(None, (os.environ.get("KIT_TORCH_PYTHON"), sys.executable)):
        if (
            subprocess.run([python, "-c", "import torch, numpy"], capture_output=True, check=False).returncode
            == 0
        ):
            return python
    return None


@pytest.fixture(scope="module")
def python() -> str:
    found = torch_python()
    if found is None:
        pytest.skip("no torch here: name an interpreter that has it in KIT_TORCH_PYTHON")
    return found


@pytest.fixture(scope="module")
def spec() -> SmokeSpec:
    return load_smoke(facts_root() / "records")


@pytest.fixture(scope="module")
def data(spec: SmokeSpec, tmp_path_factory: pytest.TempPathFactory) -> SmokeData:
    return ensure_smoke(spec, Store(tmp_path_factory.mktemp("store")))


@dataclass(frozen=True)
class Outcome:
    code: int
    lines: list[str]
    complaint: list[str]

    @property
    def losses(self) -> dict[int, float]:
        assert self.code == 0, self.complaint
        return {int(m[1]): float(m[3]) for m in map(VAL.fullmatch, self.lines) if m}


Start = Callable[..., Outcome]


@pytest.fixture
def start(python: str, data: SmokeData, tmp_path: Path) -> Start:
    """Run the trainer in a working folder whose data/fineweb10B is the smoke data, as in a guest."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "fineweb10B").symlink_to(data.folder)

    def run(*args: str, ranks: int = 1, timeout: float = 300, cwd: Path = tmp_path, **env: str) -> Outcome:
        argv = [python]
        if ranks > 1:
            argv += ["-m", "torch.distributed.run", f"--nproc_per_node={ranks}"]
            argv += ["--master_addr", "127.0.0.1", "--master_port", str(*free_ports(1))]
        clean = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        done = subprocess.run(
            [*argv, str(TRAINER), *args],
            env=clean | {"NANOGPT_VAL_TOKENS": "4096"} | env,
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Outcome(done.returncode, done.stdout.splitlines(), done.stderr.splitlines())

    return run


def test_the_smoke_profile_learns_to_its_target_and_stays_above_the_floor(
    start: Start, spec: SmokeSpec
) -> None:
    done = start(
        *spec.guest.args,
        ranks=spec.guest.world_size,
        timeout=900,
        NANOGPT_VAL_TOKENS=str(spec.val_tokens),
        **dict(spec.guest.env),
    )
    losses = done.losses
    last = max(losses)
    assert f"step:{last}/{last} " in done.lines[-2]
    assert losses[0] == pytest.approx(math.log(spec.guest.vocabulary), abs=1e-4)
    assert min(losses.values()) >= spec.floor
    assert losses[last] <= spec.target - 0.03, "the target leaves honest seeds clear room"
    assert losses[last] <= spec.floor + 0.11


def test_every_line_is_of_the_grammar_and_the_clock_leaves_out_the_untimed_steps(start: Start) -> None:
    done = start(*TOY_ARGS)
    assert sorted(done.losses) == [0, 12, 24]
    assert PEAK.fullmatch(done.lines[-1])
    steps: list[int] = []
    spent: dict[int, int] = {}
    for line in done.lines[:-1]:
        val, train = VAL.fullmatch(line), TRAIN.fullmatch(line)
        assert bool(val) != bool(train), line
        if train:
            step, total, ms, average = train.groups()
            steps.append(int(step))
            spent[int(step)] = int(ms)
            assert total == "24"
            assert (average == "nan") == (int(step) <= 10), line
            if average != "nan":
                assert float(average) == pytest.approx(int(ms) / (int(step) - 10), abs=0.6)
    assert steps == list(range(1, 25))
    timed = [spent[step] for step in range(11, 25)]
    assert timed == sorted(timed)
    assert spent[11] < spent[10], "the clock starts anew after ten steps"
    assert done.complaint == []


def test_one_rank_and_two_and_smaller_pieces_give_the_same_curve(start: Start) -> None:
    one = start(*TOY_ARGS).losses
    assert one[24] < one[0] - 0.3
    for other in (start(*TOY_ARGS, ranks=2), start(*TOY_ARGS, "--micro-batch", "16"), start(*TOY_ARGS)):
        assert other.losses == pytest.approx(one, abs=5e-4)


def test_the_seed_decides_the_curve(start: Start) -> None:
    assert start(*TOY_ARGS, "--seed", "2").losses[24] != start(*TOY_ARGS).losses[24]


def test_the_files_and_the_number_of_tokens_are_taken_from_the_environment(
    start: Start, data: SmokeData, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    default = start(*TOY_ARGS).losses[24]
    files = {
        "NANOGPT_TRAIN_FILES": f"{data.folder}/fineweb_train_*.bin",
        "NANOGPT_VAL_FILES": f"{data.folder}/fineweb_val_*.bin",
    }
    assert start(*TOY_ARGS, cwd=elsewhere).complaint[0].startswith("error: no shard matches data/fineweb10B/")
    assert start(*TOY_ARGS, cwd=elsewhere, **files).losses[24] == pytest.approx(default, abs=5e-4)
    assert start(*TOY_ARGS, cwd=elsewhere, DATA_PATH=str(tmp_path)).losses[24] == pytest.approx(
        default, abs=5e-4
    )
    assert start(*TOY_ARGS, NANOGPT_VAL_TOKENS="8192").losses[24] != default
    swapped = {"NANOGPT_TRAIN_FILES": f"{data.folder}/fineweb_train_000002.bin"}
    assert start(*TOY_ARGS, **swapped).losses[24] != default


def test_a_stream_of_another_language_costs_more_than_its_own_floor(start: Start, tmp_path: Path) -> None:
    """What the canary relies on: an honest trainer cannot know a language that it never saw."""
    other = Language(LanguageSpec("another"))
    stream = other.sample("val", 8193)
    write_shard(tmp_path / "other.bin", stream)
    loss = start(*TOY_ARGS, NANOGPT_VAL_FILES="other.bin", NANOGPT_VAL_TOKENS="8192").losses[24]
    assert loss > float(other.mean_nats(stream, 8192)) + 1


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2])


def foreign_word(path: Path) -> None:
    path.chmod(0o644)
    with path.open("r+b") as f:
        f.seek(1024 + 20)
        f.write((300).to_bytes(2, "little"))


@pytest.mark.parametrize(
    ("args", "env", "message"),
    [
        ([], {"NANOGPT_VAL_FILES": "none_*.bin"}, "no shard matches none_"),
        ([], {"NANOGPT_VAL_TOKENS": "65537"}, "not a positive multiple of --seq-len 64"),
        ([], {"NANOGPT_VAL_TOKENS": "many"}, "NANOGPT_VAL_TOKENS=many"),
        ([], {"NANOGPT_VAL_TOKENS": "6553600"}, "the validation shards lack"),
        (["--batch-tokens", "1000"], {}, "not a multiple"),
        (["--batch-tokens", "1048576"], {}, "no training shard holds a batch"),
        (["--width", "30", "--heads", "4"], {}, "heads of an even size"),
        (["--steps", "0"], {}, "at least 1"),
        (["--bogus"], {}, "--bogus"),
    ],
)
def test_a_fault_is_one_line_on_stderr(
    start: Start, args: list[str], env: dict[str, str], message: str
) -> None:
    done = start(*TOY_ARGS, *args, **env)
    assert done.code == 1
    assert done.lines == []
    assert len(done.complaint) == 1
    assert done.complaint[0].startswith("error: ")
    assert message in done.complaint[0]


@pytest.mark.parametrize(
    ("damage", "message"),
    [(cut, "its header says 8193 tokens"), (foreign_word, "token 300 is outside --vocab-size 256")],
)
def test_a_faulty_shard_is_one_line_on_stderr(
    start: Start, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    shard = tmp_path / "bad.bin"
    write_shard(shard, Language(LanguageSpec("another")).sample("val", 8193))
    shard.chmod(0o644)
    damage(shard)
    done = start(*TOY_ARGS, NANOGPT_VAL_FILES="bad.bin")
    assert (done.code, done.lines, len(done.complaint)) == (1, [], 1)
    assert message in done.complaint[0]


def test_a_batch_that_does_not_divide_into_the_ranks_ends_all_of_them(start: Start) -> None:
    done = start(*TOY_ARGS, "--batch-tokens", "960", ranks=2)
    assert done.code != 0
    assert done.lines == []
    assert [line for line in done.complaint if line.startswith("error: ")] == [
        "error: a batch of 15 sequences does not divide into 2 ranks"
    ]


def test_two_ranks_always_end(start: Start) -> None:
    """Destroying gloo's process group deadlocked on the way out in most runs of some versions of torch."""
    for _ in range(4):
        assert start(*TOY_ARGS, "--steps", "2", "--val-every", "0", ranks=2).code == 0


def test_steps_are_nearly_orthogonal_whatever_the_gradient(python: str) -> None:
    code = """
import torch, train_reference as t
torch.manual_seed(0)
for shape in ((3, 64, 64), (256, 64), (64, 256)):
    u, s, v = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    found = t.orthogonalise(u * torch.logspace(0, -1.5, s.size(-1)) @ v)
    assert (torch.linalg.svdvals(found) - 1).abs().max() < 0.03, shape
    assert torch.linalg.matrix_norm(found - u @ v, 2).max() < 0.03, shape
"""
    subprocess.run([python, "-c", code], env={"PYTHONPATH": str(TRAINER.parent)}, check=True, timeout=300)
