"""`speedrun session end`: time the winner again in a fresh series with all audits, and sign the summary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from kit.cli import live
from kit.cli.extras import require_score
from kit.cli.interrupt import cancellable
from kit.cli.options import retime_option
from kit.cli.session.parts import MachineSession, given_options, json_option, machine_session, session_options
from kit.cli.session.score import retimed_text, score_document, score_text
from kit.cli.stderr import STDERR
from kit.cli.terminal import emit_json, note, say_path, warn
from kit.core.errors import UsageError
from kit.core.text import in_shell
from kit.evaluate.plan import RunPlan
from kit.evaluate.run import Listener

LEAST_INTERLEAVED = 2
"""Runs of each script from which a series gives an interval, and so a score."""


@click.command("end")
@session_options
@retime_option()
@click.option(
    "--interleave",
    is_flag=True,
    help="Run the start script and that of the horizon, or target, in turn with the winner. Needs --retime "
    "2 or more.",
)
@json_option
def command(**options: Any) -> int:
    """
    End a session: time its winner again, and sign the summary.

    After it, the session takes no evaluation, no try and no change of a file. The winner is the fastest of
    many evaluations, so its time is too low by chance: --retime runs it again in a series of its own, with
    the audits canary and held-out text where the profile has them. These runs are the host's, and are not
    charged to the session. With --interleave the score comes from times of this series alone, with an
    interval: all are of one machine. Repeat the command to time the winner of a session that has ended.

    All scripts run in the session's image. Before anything is written or run, a script of start, target or
    horizon that imports a module which that image lacks is refused.

    Exit 0: there is a winner. 1: no evaluation was valid. 2: --interleave with fewer than two runs, or
    --retime without it in a session whose start and horizon have no times. 3: a script cannot start in the
    image. 130: interrupted.

    \b
    Examples:
      speedrun session end my-session
      speedrun session end my-session --retime 10 --interleave
    """
    folder, retime = options["folder"], options["retime"]
    if options["interleave"] and retime < LEAST_INTERLEAVED:
        why = "an interleaved series needs two runs of each script for a score"
        raise UsageError(why, f"pass --retime {LEAST_INTERLEAVED} or more")
    require_score()
    from kit.agent.retiming import retimed_of
    from kit.session.opening import end_session, sign_session

    with cancellable() as cancelled:
        ready = machine_session(folder, options, cancelled)
        _require_score(ready, retime, options["interleave"])
        if retime and options["interleave"]:
            _require_arms(ready, retime)
        winner = end_session(folder, ready.parts)
        if retime and winner is not None and retimed_of(folder) is None:
            STDERR.stage(f"time evaluation {winner} again: {retime} runs with all audits")
            _retime(ready, options, cancelled)
        sign_session(folder, options["keys"])
        interrupted = cancelled()
    STDERR.close()
    if interrupted:
        again = f"--retime {retime}{' --interleave' if options['interleave'] else ''}{given_options()}"
        note(f"interrupted; to time the winner: speedrun session end {in_shell(folder)} {again}")
        return 130
    _tell(options, winner)
    return 0 if winner is not None else 1


def _require_score(ready: MachineSession, runs: int, interleave: bool) -> None:
    """Refuse a series that gives no score: a winner is timed again once."""
    from kit.agent.horizon import horizon_of

    if runs and not interleave and _has_no_times(ready) and horizon_of(ready.spec) is not None:
        raise UsageError(
            "this session has no times of start and horizon, so a series of the winner alone gives no score",
            f"run all three: speedrun session end {in_shell(ready.folder)} --retime {runs} --interleave"
            f"{given_options()}",
        )


def _has_no_times(ready: MachineSession) -> bool:
    return ready.spec.evaluation.start_ms is None


def _require_arms(ready: MachineSession, runs: int) -> None:
    """Refuse, before the session ends, scripts that cannot start in the session's image."""
    from kit.agent.horizon import horizon_of
    from kit.benchmark import records
    from kit.evaluate.image_fit import require_imports

    image, start, horizon = ready.spec.evaluation.image, str(ready.spec.task), horizon_of(ready.spec)
    target = horizon.record if horizon else records.load(ready.places.records, start).target
    again = "" if _has_no_times(ready) else f" --retime {runs}"
    hint = f"leave its script out: speedrun session end {in_shell(ready.folder)}{again}{given_options()}"
    for name in (start, *((target,) if target else ())):
        require_imports(name, image, ready.places, hint)


def _retime(ready: MachineSession, options: dict[str, Any], cancelled: Callable[[], bool]) -> None:
    from kit.agent.horizon import horizon_of
    from kit.agent.ledger import Interrupted
    from kit.agent.retiming import RetimedArms, retime_winner
    from kit.agent.session import RunHooks
    from kit.session.opening import session_run

    def listen(plan: RunPlan) -> Listener:
        return live.listener(plan, cancelled)

    run = session_run(ready.folder, ready.spec, ready.request, ready.places)
    horizon = horizon_of(ready.spec)
    arms = RetimedArms(options["interleave"], horizon.record if horizon and options["interleave"] else None)
    try:
        with ready.parts.turn(cancelled):
            again = retime_winner(run, options["retime"], RunHooks(cancelled), listen, arms=arms)
    except Interrupted:
        return
    if again is not None and again.event.mean_ms is None:
        warn("no run of the winner reached the target loss and passed its audits: its time does not count")


def _tell(options: dict[str, Any], winner: int | None) -> None:
    from kit.agent.recorded import BUNDLES
    from kit.agent.retiming import retimed_of
    from kit.core.facts import facts_root
    from kit.result.keys import Trusted, load_or_create
    from kit.session.recorded import score_of

    folder, retimed = options["folder"], retimed_of(options["folder"])
    trusted = Trusted((load_or_create(options["keys"]).public,))
    score = None if retimed is None else score_of(folder, retimed, trusted, facts_root() / "records")
    if retimed is not None and score is None and options["interleave"]:
        shown = f"speedrun series {in_shell(folder / BUNDLES / retimed.series)}"
        warn(f"the series has no score: each of its scripts needs two runs with a loss; see {shown}")
    if options["as_json"]:
        emit_json({"folder": str(folder), "winner": winner,
                   "retimed_series": None if retimed is None else retimed.series,
                   "retimed_ms": None if retimed is None else retimed.mean_ms,
                   "recovered": None if retimed is None else retimed.fsr,
                   "series": None if score is None else score_document(score)})  # fmt: skip
        return
    if winner is None:
        note("no evaluation reached the target loss")
    else:
        note(f"winner: evaluation {winner}")
    if (again := retimed_text(retimed, with_runs=True)) is not None:
        note(again)
    if score is not None:
        note(score_text(score))
    say_path(folder)
