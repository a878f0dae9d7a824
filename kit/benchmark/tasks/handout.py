"""The text that an agent reads: goal, rules, environment, judgement. Names nothing of the target record."""

from __future__ import annotations

from kit.benchmark.hints import Hint, hint_form
from kit.benchmark.records import Record

_GOAL = """\
# Task {number}: train faster than record {number}

`train_gpt2.py` in this folder is record {number} of the NanoGPT speedrun, of {date}:
{title}.

It trains a language model of GPT-2 size on FineWeb until the validation loss is at most {target} nats per
token, on one machine with 8 NVIDIA H100 GPUs. Change it so that it gets there in less time. The fewer
milliseconds of training, the better.

It runs like this, in this folder:

    torchrun --nproc_per_node=8 train_gpt2.py{args}

What you hand in is this folder with your changes: `train_gpt2.py`, further plain files if you need them, and
`run.toml` with the script's arguments (`args = []`).
"""

_RULES = """\
## Rules

1. **The data are given.** Read only `data/fineweb10B/fineweb_train_*.bin` for training and
   `data/fineweb10B/fineweb_val_*.bin` for validation, tokens in the order of the shards. How many tokens a
   step takes, how long the sequences are and what attends to what is yours to choose.
2. **Validation stays as it is.** {validation}
   No position may see its own target or later tokens, and no weight may be fitted to validation tokens.
3. **The loss is a real one**: the mean cross entropy, in nats per token, of a probability distribution over
   the vocabulary. The sum is taken in float32.
4. **The lines stay as they are.** Keep the statements that print losses{clock} and what they are given:
   they are read by a fixed pattern, whole lines of stdout only. Print nothing else that looks like them.
5. **No hunt for compiler switches.** `dynamic=` and `coordinate_descent_tuning` may be set; add no other
   option of `torch.compile`, and no other setting of `torch._inductor` or `torch._dynamo`.
6. **Nothing from outside.** There is no network, no other machine, no earlier checkpoint; nothing is kept
   from one run to the next, compiled kernels included.
7. **It is code, not data.** At most 64 files and 8 MiB, names of letters, digits, `_`, `.` and `-`, no links.
   Save no checkpoint.
8. **Leave the machine alone.** Do not touch clocks, timers, processes or files that are not yours.
"""

_ENVIRONMENT = """\
## Environment

* PyTorch {era}, Python 3.11, CUDA as that PyTorch brings it, Debian 12; gcc and g++ for kernels that are
  compiled at run time. There are no packages beside PyTorch's own and numpy.
* 8 GPUs, one process each, started by `torchrun`. The working folder is writable memory and starts with
  your files; everything else can be read only. The process is an unprivileged user without a network.
* {shards} training shards of 100,000,000 tokens and one validation shard. A shard is 256 int32 (20240520, 1,
  number of tokens, zeros) and then uint16 tokens of GPT-2's tokenizer.
* A run may take {total} minutes in all. Of these, {warmup} minutes are for the start of training, compiling
  included: up to the first line after step {untimed}.
"""

_JUDGEMENT = """\
## How it is judged

* A run counts if its last validation loss is at most {target}.
* {time}
* The score is the share of a gap that you close: 0 is this script's own time, 1 is what people then reached,
  and more than 1 is possible. This script, and theirs, are timed on the same machine as yours.
* Every run that is started counts. A run that crashes, ends late or misses the loss scores 0. One run within
  the noise of the machine proves nothing; several do.
* Your code is compared with this script, its printed times with the host's clock, and it may be run again
  with other validation data, on which a loss that is not real shows. Results are signed and can be rerun by
  others.
* Try it out before you hand it in: `speedrun eval --record {number} --submission THIS_FOLDER`, and with
  `--profile smoke` on any machine, without a GPU.
"""


def handout(start: Record, hints: tuple[Hint, ...]) -> str:
    """Return `TASK.md` for the task that starts at record `start`, with the given hints at hand."""
    classic = start.grammar == "classic"
    fields = {
        "number": start.number,
        "date": start.date,
        "title": start.title,
        "target": start.target_val_loss,
        "args": " [the arguments in run.toml]" if start.script.args else "",
        "validation": _validation(start),
        "clock": "" if classic else " and times",
        "era": start.era.removeprefix("torch-"),
        "shards": start.train_shards,
        "total": f"{start.deadlines.total_s / 60:.0f}",
        "warmup": f"{start.deadlines.warmup_s / 60:.0f}",
        "untimed": start.untimed_steps,
        "time": _time(start),
    }
    parts = [text.format(**fields) for text in (_GOAL, _RULES, _ENVIRONMENT, _JUDGEMENT)]
    return "\n".join([*parts, _hints(hints)])


def _validation(start: Record) -> str:
    if start.number <= 3:
        return (
            f"The script averages 20 batches of the validation shard, {start.val_tokens:,} tokens on\n"
            "   the ranks that it asks. Keep `--val_max_steps`, and batch size and sequence length\n"
            "   there, or take the first 10,485,760 tokens on all ranks."
        )
    return (
        f"It takes the first {start.val_tokens:,} tokens of the validation shard, all\n"
        "   of them, at least as often as now and once after the last step."
    )


def _time(start: Record) -> str:
    if start.untimed_steps == 0:
        return "Time is that of the host's clock, from the first step's line to the last validation line."
    return (
        f"Time is the script's own `train_time`, which begins after step {start.untimed_steps}, if the\n"
        "  host's clock agrees. What you need beyond this script's own time outside that window is added."
    )


def _hints(hints: tuple[Hint, ...]) -> str:
    if not hints:
        return "## Hints\n\nThere are none.\n"
    lines = "\n".join(f"* `hints/{hint_form(h.level).file}`" for h in hints)
    return f"## Hints\n\nOther people found a faster way. What they did is described in:\n\n{lines}\n"
