"""`speedrun data synth`: generate the data of the smoke profile."""

from __future__ import annotations

from pathlib import Path

import click

from kit.cli.data.shards import json_option
from kit.cli.options import store_option
from kit.cli.terminal import Meter, emit_json, note, say_path
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.core.text import counted
from kit.data import synth


@click.command("synth")
@click.option(
    "--derive",
    is_flag=True,
    help="Generate everything again and compare with records/smoke.toml; exit 1 if it differs.",
)
@store_option
@json_option
def command(derive: bool, store: Path, as_json: bool) -> int:
    """Generate the synthetic data of the smoke profile.

    Prints the directory of the shards. The data follow from a fixed seed.

    \b
    Examples:
      speedrun data synth
      speedrun data synth --derive
    """
    spec = synth.load_smoke(facts_root() / "records")
    if derive:
        with Store(store).staging("smoke") as folder:
            made = synth.derive(spec, folder)
        wrong = made.differences(spec)
        files = {f.name: {"size": f.size, "sha256": f.sha256} for f in made.files}
        emit_json({"files": files, "floor": float(made.floor), "entropy_rate": float(made.entropy_rate)})
        note(f"records/smoke.toml differs: {', '.join(wrong)}" if wrong else "records/smoke.toml matches")
        return 1 if wrong else 0
    data = synth.ensure_smoke(spec, Store(store), Meter())
    shards = counted(len(data.files), "shard")
    note(f"smoke data: {shards}; floor {data.floor:.4f}, target {data.target:.4f} nats")
    folder = store / data.folder.relative_to(Store(store).root)
    if as_json:
        files = {f.name: {"size": f.size, "sha256": f.sha256} for f in data.files}
        scores = {"floor": data.floor, "target": data.target, "val_tokens": data.val_tokens}
        emit_json({"folder": str(folder), "files": files, **scores})
    else:
        say_path(folder)
    return 0
