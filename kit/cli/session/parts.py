"""What the commands of a session share: options, its parts on this machine, and one call of a tool."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from kit.agent.tool_events import TryStatus
from kit.cli.extras import require_score
from kit.cli.interrupt import cancellable
from kit.cli.live import waiting_line
from kit.cli.options import keys_option, mirror_option, store_option
from kit.cli.places import places as places_of
from kit.cli.platforms import require_run_platform
from kit.cli.runtime import PODMAN, runtime_option, select_runtime
from kit.cli.terminal import emit_json, fail, note, say_document
from kit.core.errors import IntegrityError, UsageError
from kit.core.facts import facts_root
from kit.core.text import escape_json, in_shell
from kit.evaluate.request import Places, Request
from kit.sandbox.turn import turn_folder
from kit.values.profile import Profile
from kit.values.run_spec import RuntimeName
from kit.values.task_id import listed_as

if TYPE_CHECKING:
    from kit.agent.spec import AgentSpec
    from kit.session.opening import SessionParts
    from kit.session.session import AgentSession

CLIENT = "command line"
E = TypeVar("E", bound=StrEnum)
WAIT_S = 5.0
"""A command waits so long for another one of the same session."""
json_option = click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")


def session_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add the session's directory, and the options that open it on this machine."""
    command = keys_option(command)
    command = mirror_option(command)
    command = store_option(command)
    engine = "Runtime of the session; pass podman if it was started with podman."
    command = runtime_option(help=engine)(command)
    return click.argument("folder", type=click.Path(file_okay=False, path_type=Path))(command)


def given_options() -> str:
    """Return the options of this command that further commands of its session need, as a shell reads them."""
    ctx = click.get_current_context(silent=True)
    if ctx is None:
        return ""
    given = [name for name in ("store", "mirror", "keys")
             if ctx.get_parameter_source(name) not in (None, ParameterSource.DEFAULT)]  # fmt: skip
    words = [f" --{name} {in_shell(ctx.params[name])}" for name in given]
    if ctx.params.get("runtime") == PODMAN:
        words.append(f" --runtime {PODMAN}")
    return "".join(words)


@dataclass(frozen=True, slots=True)
class MachineSession:
    """A session with what runs its guests on this machine."""

    folder: Path
    spec: AgentSpec
    request: Request
    """The request of its evaluations, without a submission."""
    places: Places
    parts: SessionParts


def machine_session(
    folder: Path, options: Mapping[str, Any], cancelled: Callable[[], bool]
) -> MachineSession:
    """
    Return the session in a directory, as its spec says. Starts nothing.

    Raises `IntegrityError` for a spec that asks for what `session new` refuses, such as GPUs of a smoke task.
    """
    require_run_platform("session")
    require_score()
    from kit.agent.outcome import reference_of_spec
    from kit.agent.own_task import task_for
    from kit.agent.search import SPEC
    from kit.session.opening import AGAIN, SessionParts, read_session_spec
    from kit.session.trials import KitTrials
    from kit.session.turn import MachineTurn

    spec = read_session_spec(folder)
    store, keys = options["store"].absolute(), options["keys"].absolute()
    places = replace(places_of(store, options["mirror"], keys), turns=None)  # the session takes the turn
    try:
        request = _request(spec, options)
        task = task_for(request, places, spec.hints, lambda known: reference_of_spec(spec))
    except UsageError as e:
        raise IntegrityError(f"{folder / SPEC} is the spec of no session: {e.headline}", AGAIN) from e
    private = (store, keys, facts_root(), Path.home(), Path(sys.prefix))
    turn = MachineTurn(request, places, turn_folder(), lambda pid: note(waiting_line(pid)))
    parts = SessionParts(task, KitTrials(request, places), turn, cancelled, private=private)
    return MachineSession(folder, spec, request, places, parts)


def _request(spec: AgentSpec, options: Mapping[str, Any]) -> Request:
    """Return the request of a session. Raises `UsageError` for an unknown profile or runtime."""
    from kit.session.opening import stored_overrides

    settings, python = spec.evaluation, shutil.which("python3")
    runtime = _member(RuntimeName, settings.runtime)
    engine = PODMAN if options["runtime"] == PODMAN else settings.runtime
    return Request(
        record=listed_as(spec.task),
        profile=_member(Profile, settings.profile),
        runtime=runtime,
        image=settings.image,
        gpus=settings.gpus or None,
        overrides=stored_overrides(spec),
        python=Path(python) if python else None,
        engine=select_runtime(engine).engine,
    )


def _member(kind: type[E], name: str) -> E:
    try:
        return kind(name)
    except ValueError as e:
        raise UsageError(f"unknown {kind.__name__} {name!r}") from e


@contextmanager
def opened(folder: Path, options: Mapping[str, Any]) -> Iterator[AgentSession]:
    """Open a session for the calls of one command; Ctrl-C ends a guest that runs."""
    with cancellable() as cancelled:
        ready = machine_session(folder, options, cancelled)
        from kit.session.opening import open_session

        with open_session(folder, ready.parts, WAIT_S) as session:
            yield session


def call_tool(tool: str, arguments: Mapping[str, Any], options: Mapping[str, Any]) -> int:
    """
    Call a tool of a session, print the answer, and return the exit code: 0, or 1 if the answer is no.

    Raises `KitError` for a call that could not be made, and returns 130 after Ctrl-C.
    """
    with opened(options["folder"], options) as session:
        answer = session.call(tool, {k: v for k, v in arguments.items() if v is not None}, CLIENT)
        interrupted = session.ledger.cancelled()
    if answer.kind is not None and not interrupted:
        raise answer.kind(answer.text)
    if options["as_json"]:
        emit_json({"tool": tool, "is_error": answer.is_error, **answer.values})
    elif answer.is_error:
        for line in answer.text.splitlines():
            fail(line)
    else:
        say_document(escape_json(answer.text))
    if interrupted:
        return 130
    return 1 if answer.is_error or _is_no(tool, answer.values) else 0


def _is_no(tool: str, values: Mapping[str, Any]) -> bool:
    """Tell whether a call was made, and its answer is no."""
    match tool:
        case "check":
            return bool(values["faults"])
        case "try":
            return values["status"] not in (TryStatus.BOUND, TryStatus.COMPLETED)
        case "evaluate":
            return not values["valid"]
        case _:
            return False
