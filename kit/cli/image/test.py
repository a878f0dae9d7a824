"""`speedrun image test`: run the self-test of an image in a container."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from kit.cli.interrupt import cancellable
from kit.cli.machine import gpu_sources
from kit.cli.options import mirror_option, store_option
from kit.cli.platforms import require_run_platform
from kit.cli.runtime import runtime_option, select_runtime
from kit.cli.terminal import Meter, emit_json, note, say, table
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.core.store_use import using
from kit.core.text import counted
from kit.diagnose.imagetest.judge import SelfTestCheck
from kit.diagnose.imagetest.report import SelfTestOutcome
from kit.diagnose.imagetest.run import NO_RECORD, SelfTestContext, selftest
from kit.evaluate.request import Request
from kit.evaluate.runtimes import choose
from kit.image.fetch import default_fetchers
from kit.values.profile import Profile


@click.command("test")
@click.argument("era")
@runtime_option()
@click.option(
    "--gpus",
    type=click.IntRange(min=0, max=8),
    metavar="N",
    help="Number of GPUs for the guest.  [default: all, if they suit the image]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@store_option
@mirror_option
def command(era: str, runtime: str, gpus: int | None, as_json: bool, store: Path, mirror: Path | None) -> int:
    """Run the self-test of an image in a container.

    The container has the limits of a real run. The test checks its isolation, compares its packages with
    lock.json, imports torch, triton and numpy, compiles a C extension, a function and a kernel, and connects
    two ranks; with GPUs, it also tests NCCL and Triton. Exit 0: no check failed. 1: a check failed.

    \b
    Examples:
      speedrun image test cpu
      speedrun image test torch-2.4.1 --runtime docker --json
    """
    require_run_platform("image test")
    selected = select_runtime(runtime)
    chosen = choose(
        Request(NO_RECORD, Profile.SMOKE, runtime=selected.name, image=era, gpus=gpus, engine=selected.engine)
    )
    fetchers = default_fetchers(mirror)
    context = SelfTestContext(facts_root() / "images", Store(store), fetchers, gpu_sources(), Meter())
    with using(Store(store)), cancellable() as cancelled:
        tested = selftest(era, chosen, context, gpus, cancelled)
    if as_json:
        emit_json(tested.document())
    else:
        rows = [
            (c.id, c.outcome.upper() if c.outcome == "failed" else c.outcome,
             "" if c.seconds is None else f"{c.seconds:.1f}", c.detail)
            for c in tested.checks
        ]  # fmt: skip
        say(*table(("check", "outcome", "seconds", "detail"), rows))
    note(f"{era} in {chosen.name}: {_summary(tested.checks)}, {tested.seconds:.1f} s")
    return 130 if tested.cancelled else 0 if tested.passed else 1


def _summary(checks: Sequence[SelfTestCheck]) -> str:
    outcomes = [check.outcome for check in checks]
    failed, skipped = (outcomes.count(o) for o in (SelfTestOutcome.FAILED, SelfTestOutcome.SKIPPED))
    total = counted(len(checks), "check")
    passed = f"{failed} of {total} FAILED" if failed else f"{len(checks) - skipped} of {total} passed"
    return f"{passed}, {skipped} skipped" if skipped else passed
