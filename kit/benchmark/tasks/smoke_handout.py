"""Write the `TASK.md` of a task in the smoke profile, which an agent's author can try on a laptop."""

from __future__ import annotations

from dataclasses import dataclass

from kit.values.deadlines import Deadlines
from kit.values.log import Grammar
from kit.values.lookalikes import EXAMPLES

_TEXT = """\
# Task {number}, smoke profile: train faster on CPUs

`train_gpt2.py` in this folder trains a small language model on a synthetic language until the validation
loss is at most {target} nats per token, in {ranks} processes on CPUs. Change it so that it reaches this loss
in less time. The fewer milliseconds of training, the better.

This is the smoke profile of task {number}: it has the form, the rules and the checks of the full task, which
trains on 8 GPUs. It is for trying out an agent. Its results are never ranked.

Hand in this folder with your changes: `train_gpt2.py`, other regular files if you need them, and `run.toml`
with the script's arguments (`args = []`).

## Try it

    speedrun check THIS_FOLDER --profile smoke                                     # reads the code
    speedrun eval --record {number} --profile smoke --submission THIS_FOLDER --quick   # runs a few steps
    speedrun eval --record {number} --profile smoke --submission THIS_FOLDER           # gives a result

`docs/guides/agent.md` in the repository of speedrun-kit says how an agent works on a task.

Hidden files, `__pycache__` and virtual environments in this folder are not part of the submission.

## Rules

1. **The data is fixed.** Read only `data/fineweb10B/fineweb_train_*.bin` for training and
   `data/fineweb10B/fineweb_val_*.bin` for validation, tokens in the order of the shards. You may
   choose the number of tokens in a step and the sequence length.
2. **Keep the validation.** It uses all of the first {val_tokens:,} tokens of the validation shard, at least
   as often as now and once after the last step.
   No position may see its target or later tokens, and no weight may be fitted to validation tokens.
3. **The loss must be real**: the mean cross entropy, in nats per token, of a probability distribution over
   the vocabulary. Compute the sum in float32.
4. **Keep the printed lines**: the statements that print losses and times, and their arguments. The
   kit parses whole lines of stdout with a fixed pattern. Print nothing else that matches it. A validation
   line is `{line}`, for example.
   `docs/reference/log-format.md` in the repository of speedrun-kit states the exact format.
5. **CPUs only.** There is no GPU. Code that needs one is refused before it runs.
6. **No outside resources.** There is no network, no other machine and no earlier checkpoint. Nothing is kept
   between runs.
7. **Submit code, not data.** At most 64 files and 8 MiB; file names of letters, digits, `_`, `.` and `-`; no
   links. Save no checkpoint.
8. **Do not touch the machine.** Do not change clocks, timers, or processes and files that are not yours.

## Environment

* PyTorch {torch}, Python 3.11, Debian 12. No other packages than numpy and those that PyTorch depends on.
* {ranks} processes with one thread each, started by `torchrun`, and {memory} GiB of memory. They communicate
  with the backend gloo. The working folder is in memory, writable, and starts with your files; everything
  else is read-only. The processes run as an unprivileged user without a network.
* {shards} training shards of {shard_tokens:,} tokens and one validation shard. A shard has a header of 256
  int32 (20240520, 1, number of tokens, zeros), then uint16 tokens: {words} words, and 50256 between texts.
* The time limit of a run is {total} seconds. The first line must appear within {first} seconds, and the first
  line after step {untimed} within {warmup} seconds of it.

## How it is judged

* A run counts if its last validation loss is at most {target}. No model of this language has a loss below
  {floor}: a lower one is refused.
* The time is the script's `train_time`, which starts after step {untimed}, if the host's clock agrees.
* The kit compares your code with this script, and its printed times with the host's clock. It may run your
  code again on other validation data to detect a false loss.
"""


@dataclass(frozen=True, slots=True)
class SmokeTerms:
    """What the text says about the smoke profile. Losses are nats per token."""

    target: float
    floor: float
    val_tokens: int
    shards: int
    """Training shards."""
    shard_tokens: int
    words: int
    world_size: int
    memory: int
    """Bytes."""
    untimed_steps: int
    deadlines: Deadlines
    torch: str
    """Version."""


def smoke_handout(number: int, terms: SmokeTerms) -> str:
    """Return `TASK.md` for task `number` in the smoke profile."""
    return _TEXT.format(
        number=number,
        target=terms.target,
        floor=f"{terms.floor:.3f}",
        val_tokens=terms.val_tokens,
        shards=terms.shards,
        shard_tokens=terms.shard_tokens,
        words=terms.words,
        ranks=terms.world_size,
        memory=terms.memory >> 30,
        untimed=terms.untimed_steps,
        total=f"{terms.deadlines.total_s:.0f}",
        first=f"{terms.deadlines.start_s:.0f}",
        warmup=f"{terms.deadlines.warmup_s:.0f}",
        line=EXAMPLES[Grammar.STEP],
        torch=terms.torch,
    )
