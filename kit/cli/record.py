"""`speedrun record`: what the upstream records are, and their scripts. Runs none of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kit.cli.options import store_option, upstream_option

if TYPE_CHECKING:
    from kit.benchmark.records import Record


@click.group()
def command() -> None:
    """Show the 21 upstream records and fetch their scripts.

    \b
    Examples:
      speedrun record list
      speedrun record show 12
      speedrun record fetch 12
    """


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Records as JSON on stdout.")
def list_records(as_json: bool) -> None:
    """List the records: official minutes, the paper's re-timed minutes, steps, shards, era.

    \b
    Examples:
      speedrun record list
      speedrun record list --json
    """
    from kit.benchmark.records import load_all
    from kit.cli.terminal import emit_json, table
    from kit.core.facts import facts_root

    records = load_all(facts_root() / "records")
    if as_json:
        emit_json({"records": [_document(r) for r in records]})
        return
    rows = [
        (
            str(r.number),
            f"{r.official_s / 60:.3f}".rstrip("0").rstrip("."),
            f"{r.retimed_ms / 60000:.2f}",
            str(r.steps),
            str(r.train_shards),
            r.era,
            r.date,
            r.title,
        )
        for r in records
    ]
    click.echo(table(("#", "min", "re-timed", "steps", "shards", "era", "date", "title"), rows, right=5))


@command.command("show")
@click.argument("number", type=int)
@click.option("--json", "as_json", is_flag=True, help="The record as JSON on stdout.")
def show(number: int, as_json: bool) -> None:
    """Show one record: times, script, environment, data, deadlines.

    \b
    Examples:
      speedrun record show 17
      speedrun record show 3 --json
    """
    from kit.benchmark.records import load
    from kit.cli.terminal import emit_json, printable
    from kit.core.facts import facts_root

    record = load(facts_root() / "records", number)
    if as_json:
        emit_json(_document(record))
    else:
        click.echo(printable("\n".join(f"{name:<12} {text}" for name, text in _lines(record))))


@command.command("fetch")
@click.argument("number", type=int)
@upstream_option
@store_option
@click.option("--json", "as_json", is_flag=True, help="Folder and digests as JSON on stdout.")
def fetch(number: int, mirror: Path | None, store: Path, as_json: bool) -> None:
    """Fetch a record's script, check it, and print the folder that holds it.

    Records 4 to 21 carry their script in the log that upstream pinned; 1 to 3 are files of a commit. The
    folder is a submission: it can be given to `speedrun eval --submission`.

    \b
    Examples:
      speedrun record fetch 11
      speedrun record fetch 3 --mirror ../modded-nanogpt/.git --json
    """
    from kit.benchmark.records import fetch_script, load, sources
    from kit.cli.terminal import Meter, emit_json
    from kit.core.digest import files_under, tree_digest
    from kit.core.facts import facts_root
    from kit.core.store import Store

    record = load(facts_root() / "records", number)
    folder = fetch_script(record, Store(store), sources(record.script.origin, mirror), Meter())
    if as_json:
        files = files_under(folder)
        emit_json({"record": number, "folder": str(folder), "files": files, "digest": tree_digest(files)})
    else:
        click.echo(folder)


def _document(record: Record) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(record), "target_val_loss": record.target_val_loss}


def _lines(record: Record) -> list[tuple[str, str]]:
    gpus = [str(n) for n in range(1, 9) if record.world_size.keeps_the_record(n)]
    script = record.script
    lines = [
        ("record", f"{record.number}: {record.title}"),
        ("set", f"{record.date} by {', '.join(record.contributors)}"),
        ("official", f"{record.official_s / 60:g} min on 8 H100"),
        ("re-timed", f"{record.retimed_ms:,} ms (sd {record.retimed_sd_ms:,} ms, 3 runs) by the paper"),
        ("task", record.no_task or f"task {record.number}: towards record {record.next_record}"),
        ("script", f"{script.origin.path} ({script.source}) at {script.origin.commit[:12]}"),
        *(("edit", f"line {', '.join(map(str, e.lines))} {e.change}ed: {e.why}") for e in script.edits),
        *((("arguments", " ".join(script.args)),) if script.args else ()),
        *((("folders", " ".join(script.folders)),) if script.folders else ()),
        (
            "steps",
            f"{record.steps:,} of {record.tokens_per_step:,} tokens, {record.untimed_steps} of them untimed",
        ),
        ("GPUs", f"{', '.join(gpus)} take the same steps ({record.world_size})"),
        ("era", f"{record.era}: torch {record.torch_fidelity}, python {record.python_fidelity}"),
        ("it ran", f"torch {record.torch or 'unknown'}, python {record.python or 'unknown'}"),
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
            f"warm-up {limits.warmup_s:g} s, stall {limits.stall_s:g} s, total {limits.total_s:g} s",
        )
    )
    return lines
