"""Write `TASK.md`, the text for the agent: goal, rules, environment, judgement; nothing about the target."""

from __future__ import annotations

from kit.benchmark.hints import Hint, hint_form
from kit.benchmark.records import Record
from kit.values.era_modules import modules_of
from kit.values.log import Grammar
from kit.values.lookalikes import EXAMPLES
from kit.values.task_id import LATER_SET, PAPER_SET, set_of

_GOAL = """\
# Task {number}: train faster than record {number}

`{entry}` in this folder is record {number} of the NanoGPT speedrun, of {date}:
{title}.

It trains a language model of GPT-2 size on FineWeb until the validation loss is at most {target} nats per
token, on one machine with 8 NVIDIA H100 GPUs. Change it so that it reaches this loss in less time. The fewer
milliseconds of training, the better.

Run it in this folder with:

    torchrun --nproc_per_node=8 {entry}{args}

Hand in this folder with your changes: `{entry}`, other regular files if you need them, and `run.toml`
with the script's arguments (`args = []`).
"""

_RULES = """\
## Rules

1. **The data is fixed.** Read only `data/fineweb10B/fineweb_train_*.bin` for training and
   `data/fineweb10B/fineweb_val_*.bin` for validation, tokens in the order of the shards. You may
   choose the number of tokens in a step, the sequence length and the attention pattern.
2. **Keep the validation.** {validation}
   No position may see its target or later tokens, and no weight may be fitted to validation tokens.
3. **The loss must be real**: the mean cross entropy, in nats per token, of a probability distribution over
   the vocabulary. Compute the sum in float32.
4. **Keep the printed lines**: the statements that print losses{clock}, and their arguments. The
   kit parses whole lines of stdout with a fixed pattern. Print nothing else that matches it. A validation
   line is `{line}`, for example.
   `docs/reference/log-format.md` in the repository of speedrun-kit states the exact format.
5. **Do not tune the compiler.** You may set {options}. Add no other option
   of `torch.compile`, and no other setting of `torch._inductor` or `torch._dynamo`.
6. **No outside resources.** There is no network, no other machine and no earlier checkpoint. Nothing is kept
   between runs, including compiled kernels.
7. **Submit code, not data.** At most 64 files and 8 MiB; file names of letters, digits, `_`, `.` and `-`; no
   links. Save no checkpoint.
8. **Do not touch the machine.** Do not change clocks, timers, or processes and files that are not yours.
"""

_ENVIRONMENT = """\
## Environment

* PyTorch {era}, Python 3.11, the CUDA of that PyTorch, Debian 12; gcc and g++ for kernels that are compiled
  at run time. No other packages than numpy and those that PyTorch depends on.{modules}
* 8 GPUs, one process each, started by `torchrun`. The working folder is in memory, writable, and starts
  with your files; everything else is read-only. The processes run as an unprivileged user without a network.
* {shards} training shards of 100,000,000 tokens and one validation shard. A shard has a header of 256
  int32 (20240520, 1, number of tokens, zeros), then uint16 tokens of GPT-2's tokenizer.
* {limits}
"""

_OPTIONS = {
    PAPER_SET: "`dynamic=` and `coordinate_descent_tuning`",
    LATER_SET: "`dynamic=`, `fullgraph=`, `recompile_limit` and\n   `coordinate_descent_tuning`",
}
_MODULES = """
  The image also has `flash_attn_interface` (FlashAttention-3){comma} `kernels` (its `get_kernel` returns the
  same, without a download){tokenizer}.\
"""

_JUDGEMENT = """\
## How it is judged

* A run counts if its last validation loss is at most {target}.
* {time}
* The score is the share of a gap that you close: 0 is this script's time, 1 is the time of the next record,
  and more than 1 is possible. Both scripts are timed on the same machine as yours.
* Every run that is started counts. A run that crashes, times out or misses the loss scores 0. One run within
  the noise of the machine proves nothing; several do.
* The kit compares your code with this script, and its printed times with the host's clock. It may run your
  code again on other validation data to detect a false loss. Results are signed, and others can rerun them.
* Test it before you hand it in: `speedrun check THIS_FOLDER --record {number}` reads the code on any machine,
  without running it; `speedrun eval --record {number} --submission THIS_FOLDER` runs it on 8 GPUs.
  `docs/guides/agent.md` in the repository of speedrun-kit says more.
"""


def handout(start: Record, hints: tuple[Hint, ...] | None) -> str:
    """
    Return `TASK.md` for the task that starts at record `start`, with the given hints.

    None leaves the section about hints out.
    """
    classic = start.grammar == "classic"
    fields = {
        "number": start.name,
        "date": start.date,
        "title": start.title,
        "target": start.target_val_loss,
        "entry": start.script.entry,
        "args": " [the arguments in run.toml]" if start.script.args else "",
        "validation": _validation(start),
        "clock": "" if classic else " and times",
        "line": EXAMPLES[Grammar(start.grammar)],
        "era": start.era.removeprefix("torch-"),
        "shards": start.train_shards,
        "options": _OPTIONS[set_of(start.name)],
        "modules": _more_modules(modules_of(start.era)),
        "limits": _limits(start),
        "time": _time(start),
    }
    parts = [text.format(**fields) for text in (_GOAL, _RULES, _ENVIRONMENT, _JUDGEMENT)]
    return "\n".join(parts if hints is None else [*parts, _hints(hints)])


def _more_modules(modules: frozenset[str]) -> str:
    """Return the sentence about modules that only some images have."""
    if not modules:
        return ""
    has_tokenizer = "tiktoken" in modules
    tokenizer = ", and `tiktoken` with GPT-2's encoding" if has_tokenizer else ""
    return _MODULES.format(comma="," if has_tokenizer else " and", tokenizer=tokenizer)


def _validation(start: Record) -> str:
    if start.number <= 3:
        return (
            f"The script averages 20 batches of the validation shard, {start.val_tokens:,} tokens on\n"
            "   the ranks that validate. Keep `--val_max_steps` and the batch size and sequence length\n"
            "   of the validation, or use the first 10,485,760 tokens on all ranks."
        )
    return (
        f"It uses all of the first {start.val_tokens:,} tokens of the validation shard,\n"
        "   at least as often as now and once after the last step."
    )


def _limits(start: Record) -> str:
    limit = f"The time limit of a run is {start.deadlines.total_s / 60:.0f} minutes."
    warmup = f"{start.deadlines.warmup_s / 60:.0f}"
    if _compiles_first(start):
        return (
            f"{limit} The first line must be printed within {start.deadlines.start_s / 60:.0f} minutes,\n"
            f"  and that of step 1 within {warmup} minutes after it. Compile before step 0, untimed."
        )
    return (
        f"{limit} The first line after step {start.untimed_steps} must appear within {warmup}\n"
        "  minutes, including compilation."
    )


def _compiles_first(start: Record) -> bool:
    """Tell whether a script times all of its steps, so that it compiles before them."""
    return start.cadence.guest_clock and start.untimed_steps == 0


def _time(start: Record) -> str:
    if not start.cadence.guest_clock:
        return "The time is the host's, from the first step's line to the last validation line."
    if _compiles_first(start):
        return (
            "The time is the script's `train_time`, which counts every step, if the host's clock agrees.\n"
            "  Time outside of the steps is added if it exceeds this script's."
        )
    return (
        f"The time is the script's `train_time`, which starts after step {start.untimed_steps}, if the\n"
        "  host's clock agrees. Time outside that window is added if it exceeds this script's."
    )


def _hints(hints: tuple[Hint, ...]) -> str:
    if not hints:
        return "## Hints\n\nThis task has no hints.\n"
    lines = "\n".join(f"* `hints/{hint_form(h.level).file}`" for h in hints)
    return f"## Hints\n\nOther people found a faster way. These files describe it:\n\n{lines}\n"
