"""`speedrun reproduce`: rerun a signed result and compare the outcomes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from kit.capsule.content import open_capsule
from kit.capsule.guide import title
from kit.capsule.receive import OwnFacts, receive
from kit.cli.capsule_text import tell_received
from kit.cli.interrupt import cancellable
from kit.cli.live import listener
from kit.cli.machine import load_per_core
from kit.cli.options import deadline_options, keys_option, mirror_option, store_option
from kit.cli.places import places as places_of
from kit.cli.platforms import require_run_platform
from kit.cli.result_lines import close, summary
from kit.cli.runtime import runtime_option, select_runtime
from kit.cli.stderr import STDERR
from kit.cli.terminal import emit_json, note, say_path
from kit.cli.untrusted import trust_word
from kit.core.bagit import is_bag
from kit.core.store_use import using
from kit.evaluate.audits import AuditSelection, select_audits
from kit.evaluate.request import Overrides, Places
from kit.reproduce import (
    NotComparable,
    OriginalRun,
    Reproduction,
    from_bundle,
    from_capsule,
    plan_again,
    repeat,
)
from kit.result.appraisal.agreement import Agreement, Comparison
from kit.result.keys import Trusted, trusted


@click.command(name="reproduce")
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--offline", is_flag=True, help="Do not use the network; use only the store, --mirror and the capsule."
)
@runtime_option()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Directory for runs.",
)
@deadline_options
@click.option("--audit", "audits", metavar="NAMES", help="Audits of the rerun, as in `speedrun eval`.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the bundle's path.")
@store_option
@mirror_option
@keys_option
def command(
    source: Path,
    offline: bool,
    runtime: str,
    out: Path,
    audits: str | None,
    as_json: bool,
    store: Path,
    mirror: Path | None,
    keys: Path,
    **deadlines: float | None,
) -> int:
    """Rerun a signed result and compare the outcomes.

    SOURCE is a bundle, the directory of a run, or a capsule (an archive made by `pack`). The bundle is
    verified; the image is built from the lock file or taken from the capsule, and its digests are compared.
    Then the same submission runs on the same data. The new signed bundle names the original one.

    The deadlines are those of the original run. On a slower or busy machine, raise them: a rerun that times
    out is not comparable. A DURATION is a number of seconds, or has units: 90s, 10m, 1h30m.

    Exit 0: reproduced. 1: not reproduced, or not comparable; the output says why. 4: bundle, capsule or image
    failed verification, and nothing was started.

    \b
    Examples:
      speedrun reproduce runs/<run_id>
      speedrun reproduce result.capsule.tar --offline
      speedrun reproduce runs/<run_id> --audit baseline,canary
      speedrun reproduce runs/<run_id> --total-deadline 20m
    """
    require_run_platform("reproduce")
    places = places_of(store, mirror, keys, out, offline)
    selection = select_audits((audits or "").replace(",", " ").split())
    try:
        overrides = Overrides(**deadlines)
        return _again(source, trusted(keys), places, runtime, selection, overrides, as_json)
    except NotComparable as e:
        note(f"NOT COMPARABLE: {e.message}", f"hint: {e.hint}")
        if as_json:
            emit_json({"reproduces": {"agreement": Agreement.NOT_COMPARABLE, "reasons": [e.message]}})
        return 1


def _again(
    source: Path,
    trusted: Trusted,
    places: Places,
    runtime: str,
    selection: AuditSelection,
    overrides: Overrides,
    as_json: bool,
) -> int:
    """Repeat the run, print the comparison and return the exit code."""
    STDERR.start_clock()
    with (
        using(places.store),
        _original(source, trusted, places) as original,
        cancellable() as cancelled,
    ):
        _tell_original(original)
        STDERR.stage("prepare data and image")
        selected = select_runtime(runtime)
        plan = plan_again(original, selected.name, selected.engine, overrides)
        load = load_per_core()
        reproduction = repeat(original, plan, listener(plan, cancelled), selection)
    STDERR.close()
    close(reproduction.outcome, load=load)
    _tell_comparison(reproduction)
    if as_json:
        emit_json(_document(reproduction))
    else:
        say_path(reproduction.outcome.bundle)
    if reproduction.outcome.predicate.run.status == "cancelled":
        return 130
    return 0 if reproduction.comparison.agreement is Agreement.REPRODUCED else 1


@contextlib.contextmanager
def _original(source: Path, trusted: Trusted, places: Places) -> Iterator[OriginalRun]:
    """Yield the verified original run; delete the unpacked capsule afterwards."""
    if not is_bag(source):
        yield from_bundle(source, trusted, places)
    elif source.is_dir():
        yield from_capsule(open_capsule(source, trusted), places)
    else:
        with places.store.working_folder("capsules") as folder:
            own = OwnFacts(places.records, places.images, places.kit)
            received = receive(source, folder / "capsule", trusted, own, progress=places.progress)
            tell_received(received)
            yield from_capsule(received.capsule, places)


def _tell_original(original: OriginalRun) -> None:
    p = original.bundle.predicate
    key = f"key {original.bundle.key_id[:12]}, {trust_word(original.bundle)}"
    note(f"original run {p.run.id}: {title(p)}; {key}")
    if not original.own_image:
        note("warning: this kit builds another image for this era; the rerun uses the image of the capsule")


def _tell_comparison(reproduction: Reproduction) -> None:
    c = reproduction.comparison
    why = "; ".join(c.reasons)
    agreed = c.agreement == "reproduced"
    note(f"{c.agreement.upper()}" + ("" if not why else f" ({why})" if agreed else f": {why}"))
    if c.loss_difference is not None:
        note(f"  final loss {c.loss_difference:+.4f} (tolerance: ±{c.tolerance.loss:.4f})")
    if c.curve_difference is not None:
        note(f"  largest loss difference at one step {c.curve_difference:.4f}")
    if c.time_ratio is not None:
        note(f"  training time {c.time_ratio:.3f} times the original")
    if reproduction.same_key:
        note("warning: both runs are signed by the same key; this is no independent evidence")


def _document(reproduction: Reproduction) -> dict[str, Any]:
    return {
        **summary(reproduction.outcome),
        "reproduces": _comparison(reproduction.comparison),
        "same_key": reproduction.same_key,
    }


def _comparison(c: Comparison) -> dict[str, Any]:
    return {
        "agreement": c.agreement,
        "reasons": list(c.reasons),
        "loss_difference": c.loss_difference,
        "curve_difference": c.curve_difference,
        "time_ratio": c.time_ratio,
        "allowed": {"loss": c.tolerance.loss, "time": c.tolerance.time},
    }
