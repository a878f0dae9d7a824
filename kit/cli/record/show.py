"""`speedrun record show`: show one record."""

from __future__ import annotations

import click

from kit.benchmark.records import Record, load
from kit.cli.options import TASK_NAME
from kit.cli.record.document import document
from kit.cli.terminal import emit_json, say
from kit.core.facts import facts_root
from kit.core.text import counted
from kit.values.task_id import SMOKE, is_smoke


@click.command("show")
@click.argument("name", type=TASK_NAME)
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON.")
def command(name: int | str, as_json: bool) -> None:
    """Show one record: times, script, data, deadlines.

    \b
    Examples:
      speedrun record show 17
      speedrun record show 3 --json
    """
    record = load(facts_root() / "records", name)
    if as_json:
        emit_json(document(record))
    else:
        say(*(f"{name:<12} {text}" for name, text in _lines(record)))


def _lines(record: Record) -> list[tuple[str, str]]:
    script = record.script
    lines = [
        ("record", f"{record.name}: {record.title}"),
        ("set", f"{record.date} by {', '.join(record.contributors) or 'nobody named'}"),
        *_times(record),
        (
            "task",
            f"none: {record.no_task}"
            if record.no_task
            else f"task {record.name}: reach the time of record {record.target}",
        ),
        *(("script", f"{o.path} ({script.source}) at {o.commit[:12]}") for o in script.origins),
        *_own_script(record),
        *(("edit", f"line {', '.join(map(str, e.lines))} {e.change}ed: {e.why}") for e in script.edits),
        *((("arguments", " ".join(script.args)),) if script.args else ()),
        *((("folders", " ".join(script.folders)),) if script.folders else ()),
        (
            "steps",
            f"{record.steps:,} of {record.tokens_per_step:,} tokens, {record.untimed_steps} of them untimed",
        ),
        ("GPUs", _gpus(record)),
        ("era", f"{record.era}: {_fidelity(record)}"),
        ("ran on", f"torch {record.torch or 'unknown'}, python {record.python or 'unknown'}"),
        ("data", f"{record.train_shards} training shards, {record.val_tokens:,} validation tokens"),
    ]
    if record.log:
        log = record.log
        ms = f", {log.train_time_ms:,} ms" if log.train_time_ms else ""
        lines.insert(
            5, ("its log", f"val loss {log.final_val_loss} at step {log.final_step:,}{ms}: {log.file.path}")
        )
    limits = record.deadlines
    lines.append(
        (
            "deadlines",
            f"start {limits.start_s:g} s, warm-up {limits.warmup_s:g} s, stall {limits.stall_s:g} s,"
            f" total {limits.total_s:g} s",
        )
    )
    return lines


def _times(record: Record) -> list[tuple[str, str]]:
    if is_smoke(record.name):
        mean, sd = record.reference_ms, record.retimed_sd_ms or 0.0
        return [("time", f"{mean:,.0f} ms (sd {sd:,.0f} ms) on two CPU cores")]
    official = ("official", f"{record.official_s / 60:g} min on 8 H100")
    if record.retimed_ms is None:
        return [official, *_same_node(record)]
    return [
        official,
        ("re-timed", f"{record.retimed_ms:,} ms (sd {record.retimed_sd_ms:,} ms, 3 runs) by the paper"),
    ]


def _same_node(record: Record) -> list[tuple[str, str]]:
    runs = record.same_node
    if runs is None:
        return []
    time = f"{runs.mean_ms:,.0f} ms" + ("" if runs.sd_ms is None else f" (sd {runs.sd_ms:,.0f} ms)")
    loss = f"{runs.mean_val_loss:.4f}" + ("" if runs.sd_val_loss is None else f" (sd {runs.sd_val_loss:.4f})")
    note = f"; {runs.note}" if runs.note else ""
    return [("published", f"{counted(runs.runs, 'run')} of one script: {time}, val loss {loss}{note}")]


def _fidelity(record: Record) -> str:
    own = (("torch", record.torch_fidelity), ("python", record.python_fidelity), *record.other_fidelity)
    return ", ".join(f"{name} {level}" for name, level in own)


def _own_script(record: Record) -> list[tuple[str, str]]:
    if not is_smoke(record.name):
        return []
    return [("script", f"records/smoke/{record.name.removeprefix(SMOKE)}/{record.script.entry}")]


def _gpus(record: Record) -> str:
    if is_smoke(record.name):
        return "none; two processes on the CPU"
    gpus = [str(n) for n in range(1, 9) if record.world_size.keeps_the_record(n)]
    return f"{', '.join(gpus)} take the same steps ({record.world_size})"
