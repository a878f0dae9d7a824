"""`speedrun data`: the shards that records train on: fetch, verify, lock, synth. Trains nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kit.cli.options import store_option

if TYPE_CHECKING:
    from kit.data.dataset import DataSet
    from kit.data.fetch import Shards

record_option = click.option(
    "--record", type=int, required=True, metavar="N", help="The record whose shards are meant."
)
endpoint_option = click.option(
    "--endpoint", metavar="URL", help="Another server that speaks the Hub's protocol."
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")


@click.group()
def command() -> None:
    """Fetch, verify and lock the data of the records.

    \b
    Examples:
      speedrun data fetch --record 11
      speedrun data verify --record 11
      speedrun data synth
    """


@command.command("fetch")
@record_option
@click.option(
    "--mirror",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of shards that are here already, asked before the Hub.",
)
@endpoint_option
@store_option
@json_option
def fetch(record: int, mirror: Path | None, endpoint: str | None, store: Path, as_json: bool) -> None:
    """Bring the shards of a record into the store, and print the folder that holds them.

    A broken transfer is resumed. Every shard is compared with the sha256 in records/fineweb10B.lock.json; as
    long as there is no such lock, with what the Hub states (or with the files of --mirror), and then full
    runs say `data: unpinned`.

    \b
    Examples:
      speedrun data fetch --record 11
      speedrun data fetch --record 1 --mirror /data/fineweb10B
    """
    from kit.cli.terminal import Meter, emit_json, note
    from kit.core.store import Store
    from kit.data.fetch import fetch as bring

    dataset, names = _wanted(record)
    shards = bring(dataset, names, Store(store), mirror=mirror, endpoint=endpoint, progress=Meter())
    note(_origin(shards))
    if as_json:
        emit_json({"record": record, **_document(shards)})
    else:
        click.echo(shards.folder)


@command.command("verify")
@record_option
@click.option("--rehash", is_flag=True, help="Read every byte again, also of unchanged files.")
@click.option(
    "--drop", is_flag=True, help="Remove shards that are not as stated, so that they can be fetched again."
)
@store_option
@json_option
def verify(record: int, rehash: bool, drop: bool, store: Path, as_json: bool) -> None:
    """Check the shards of a record: header, token count, size, sha256; exit 4 if one is not as stated.

    A file that did not change since it was hashed is not hashed again.

    \b
    Examples:
      speedrun data verify --record 11
      speedrun data verify --record 11 --rehash --json
    """
    from kit.cli.terminal import Meter, emit_json, note
    from kit.core.errors import IntegrityError
    from kit.core.store import Store
    from kit.data.fetch import find
    from kit.data.verify import drop_faulty
    from kit.data.verify import verify as check

    dataset, names = _wanted(record)
    shards = find(dataset, names, Store(store))
    checked = check(dataset, shards, Store(store), rehash=rehash, progress=Meter())
    bad = [c for c in checked if c.fault]
    if as_json:
        faults = {c.name: c.fault for c in bad}
        hashed = sum(c.hashed for c in checked)
        emit_json({"record": record, **_document(shards), "faults": faults, "hashed": hashed})
    else:
        note(_origin(shards))
        click.echo(f"{len(checked) - len(bad)} of {len(checked)} shards are as stated")
    if bad:
        lines = "; ".join(f"{c.name}: {c.fault}" for c in bad[:3])
        fix = f"speedrun data {'fetch' if drop else 'verify --drop'} --record {record}"
        if drop:
            drop_faulty(shards, checked, Store(store))
        raise IntegrityError(f"{len(bad)} shards are not as stated: {lines}", fix)


@command.command("lock")
@click.option("--revision", help="Commit of the data set.  [default: its newest]")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="[default: records/fineweb10B.lock.json]"
)
@endpoint_option
def lock(revision: str | None, out: Path | None, endpoint: str | None) -> None:
    """Write down which sha256 the Hub states for every shard at one revision.

    Whoever reaches the Hub can make it, and anyone can compare: the file is the same for the same revision.

    \b
    Examples:
      speedrun data lock
      speedrun data lock --revision 0123456789abcdef0123456789abcdef01234567 --out lock.json
    """
    from kit.core.facts import facts_root
    from kit.core.files import write_atomic
    from kit.data.dataset import load_dataset, lock_path
    from kit.data.hub import Hub

    dataset = load_dataset(facts_root() / "records")
    every = dataset.shards(dataset.train_last - dataset.train_first + 1)
    target = out or lock_path(dataset)
    write_atomic(target, Hub(endpoint).state(dataset, every, revision).to_json())
    click.echo(target)


@command.command("synth")
@click.option(
    "--derive",
    is_flag=True,
    help="Make everything anew, compare with records/smoke.toml; exit 1 if it differs.",
)
@store_option
@json_option
def synth(derive: bool, store: Path, as_json: bool) -> int:
    """Make the smoke profile's shards from their seed, and print the folder that holds them.

    \b
    Examples:
      speedrun data synth
      speedrun data synth --derive
    """
    from kit.cli.terminal import Meter, emit_json, note
    from kit.core.facts import facts_root
    from kit.core.store import Store
    from kit.data.synth import derive as remake
    from kit.data.synth import ensure_smoke, load_smoke

    spec = load_smoke(facts_root() / "records")
    if derive:
        with Store(store).staging("smoke") as folder:
            made = remake(spec, folder)
        wrong = made.differences(spec)
        files = {f.name: {"size": f.size, "sha256": f.sha256} for f in made.files}
        emit_json({"files": files, "floor": float(made.floor), "entropy_rate": float(made.entropy_rate)})
        note(
            f"records/smoke.toml differs: {', '.join(wrong)}" if wrong else "records/smoke.toml says the same"
        )
        return 1 if wrong else 0
    data = ensure_smoke(spec, Store(store), Meter())
    note(f"smoke data: {len(data.files)} shards; floor {data.floor:.4f}, target {data.target:.4f} nats")
    if as_json:
        files = {f.name: {"size": f.size, "sha256": f.sha256} for f in data.files}
        scores = {"floor": data.floor, "target": data.target, "val_tokens": data.val_tokens}
        emit_json({"folder": str(data.folder), "files": files, **scores})
    else:
        click.echo(data.folder)
    return 0


def _wanted(record: int) -> tuple[DataSet, tuple[str, ...]]:
    from kit.benchmark.records import load
    from kit.core.facts import facts_root
    from kit.data.dataset import load_dataset

    records = facts_root() / "records"
    dataset = load_dataset(records)
    return dataset, dataset.shards(load(records, record).train_shards)


def _origin(shards: Shards) -> str:
    revision = f" at {shards.revision[:12]}" if shards.revision else ""
    pinned = "pinned by its lock" if shards.pinned else "unpinned"
    number = len(shards.files)
    return f"data: {pinned}; {number} shards of {shards.repo}{revision}, stated by the {shards.stated_by}"


def _document(shards: Shards) -> dict[str, Any]:
    return {
        "folder": str(shards.folder),
        "repo": shards.repo,
        "revision": shards.revision,
        "stated_by": shards.stated_by,
        "pinned": shards.pinned,
        "files": {a.name: {"size": a.size, "sha256": a.sha256} for a in shards.files},
    }
