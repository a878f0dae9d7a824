"""`speedrun image test`: what an era's image can do, shown by itself under a run's limits."""

from __future__ import annotations

from pathlib import Path

import click

from kit.cli.interrupt import cancellable
from kit.cli.machine import docker_socket, gpu_sources
from kit.cli.options import mirror_option, store_option
from kit.cli.terminal import Meter, emit_json, note, say, table
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.diagnose.imagetest.run import NO_RECORD, SelfTestContext, selftest
from kit.evaluate.request import Request
from kit.evaluate.runtimes import choose
from kit.image.fetch import default_fetchers
from kit.values.profile import Profile
from kit.values.run_spec import RuntimeName


@click.command("test")
@click.argument("era")
@click.option("--runtime", type=click.Choice(["auto", "docker", "runc"]), default="auto", show_default=True)
@click.option(
    "--gpus",
    type=click.IntRange(min=0, max=8),
    metavar="N",
    help="GPUs that the guest gets.  [default: those of this machine, if they suit the image]",
)
@click.option("--json", "as_json", is_flag=True, help="Outcome as JSON on stdout.")
@store_option
@mirror_option
def command(era: str, runtime: str, gpus: int | None, as_json: bool, store: Path, mirror: Path | None) -> int:
    """Start an era's image as a run's would be started, and see that it can do what records need.

    Compares its packages with lock.json, imports torch, triton and numpy, compiles a C extension, a function
    and a kernel, lets two ranks talk; with GPUs, NCCL and Triton on them. Exits with 0 if no check
    failed, with 1 if one did.

    \b
    Examples:
      speedrun image test cpu
      speedrun image test torch-2.4.1 --runtime docker --json
    """
    name = None if runtime == "auto" else RuntimeName(runtime)
    chosen = choose(
        Request(NO_RECORD, Profile.SMOKE, runtime=name, image=era, gpus=gpus, engine=docker_socket())
    )
    fetchers = default_fetchers(mirror)
    bench = SelfTestContext(facts_root() / "images", Store(store), fetchers, gpu_sources(), Meter())
    with cancellable() as cancelled:
        tested = selftest(era, chosen, bench, gpus, cancelled)
    if as_json:
        emit_json(tested.document())
    else:
        rows = [
            (c.id, c.outcome.upper() if c.outcome == "failed" else c.outcome,
             "" if c.seconds is None else f"{c.seconds:.1f}", c.detail)
            for c in tested.checks
        ]  # fmt: skip
        say(*table(("check", "outcome", "seconds", "detail"), rows))
    failed = sum(check.outcome == "failed" for check in tested.checks)
    summary = f"{failed} of {len(tested.checks)} checks FAILED" if failed else "no check failed"
    note(f"{era} in {chosen.name}: {summary}, {tested.seconds:.1f} s")
    return 130 if tested.cancelled else 0 if tested.passed else 1
