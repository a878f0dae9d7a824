"""Write `TASK.md` of a smoke task: a task for two CPU cores; nothing about the target."""

from __future__ import annotations

from kit.benchmark.hints import Hint, hint_form
from kit.benchmark.records import Record
from kit.values.log import Grammar
from kit.values.lookalikes import EXAMPLES

_TEXT = """\
# Task {name}: train faster than record {name}

`train_gpt2.py` in this folder is record {name}: {title}.

It trains a small language model on two CPU processes until the validation loss is at most {target} nats per
token. Change it so that it reaches this loss in less time. The fewer milliseconds of training, the better.
This is a small task for trying things out; a result is never ranked.

Hand in this folder with your changes: `train_gpt2.py`, other regular files if you need them, and `run.toml`
with the script's arguments (`args = []`).

Try it with:

    speedrun check THIS_FOLDER --record {name} --profile smoke                  # reads the code
    speedrun eval --record {name} --profile smoke --submission THIS_FOLDER --quick   # runs a few steps
    speedrun eval --record {name} --profile smoke --submission THIS_FOLDER           # gives a result

`docs/guides/agent.md` in the repository of speedrun-kit says how an agent works on a task.

## Rules

1. **The data is fixed.** Read only the training and validation shards, where the script reads them now,
   tokens in the order of the shards. They are of a synthetic language of 255 words and BOS. You may choose
   the number of tokens in a step and the sequence length.
2. **Keep the validation.** It uses the first {val_tokens:,} tokens of the validation shard, at step 0, at
   least every {gap} steps, and after the last step. No position may see its target or later tokens, and no
   weight may be fitted to validation tokens.
3. **The loss must be real**: the mean cross entropy, in nats per token, of a probability distribution over
   the vocabulary. Compute the sum in float32.
4. **Keep the printed lines**: the statements that print losses and times, and their arguments. A validation
   line is `{line}`, for example. Print nothing else that looks like one.
5. **No outside resources.** There is no network, no other machine and no earlier checkpoint.
6. **Submit code, not data.** At most 64 files and 8 MiB; file names of letters, digits, `_`, `.` and `-`; no
   links.
7. **Do not touch the machine.** Do not change clocks, timers, or processes and files that are not yours.

## Environment

* PyTorch for CPUs, Python 3.11, numpy. No other packages than those that PyTorch depends on.
* Two processes with one thread each, started by `torchrun`; no GPU, no network.
* The time limit of a run is {total:.0f} seconds.

## How it is judged

* A run counts if its last validation loss is at most {target}.
* The time is the script's `train_time`, which starts after step {untimed}, if the host's clock agrees.
* The score is the share of a gap that you close: 0 is this script's time, 1 is the time of the next record,
  and more than 1 is possible.
* The kit compares your code with this script, and its printed times with the host's clock. It may run your
  code again on other validation data to detect a false loss.
"""


def smoke_task_handout(start: Record, hints: tuple[Hint, ...] | None) -> str:
    """
    Return `TASK.md` for the smoke task that starts at record `start`, with the given hints.

    None leaves the section about hints out.
    """
    text = _TEXT.format(
        name=start.name,
        title=start.title,
        target=f"{start.target_val_loss:g}",
        val_tokens=start.val_tokens,
        gap=2 * start.cadence.validation_every,
        line=EXAMPLES[Grammar(start.grammar)],
        total=start.deadlines.total_s,
        untimed=start.untimed_steps,
    )
    if hints is None:
        return text
    if not hints:
        return f"{text}\n## Hints\n\nThis task has no hints.\n"
    lines = "\n".join(f"* `hints/{hint_form(h.level).file}`" for h in hints)
    return f"{text}\n## Hints\n\nThese files describe a faster way:\n\n{lines}\n"
