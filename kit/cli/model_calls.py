"""Calls of a model by a command: its profile and key, its answers on disk, and what they may cost."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import click

from kit.agent.llm.client import LiveTransport
from kit.agent.llm.key import NO_KEY, ApiKey
from kit.agent.llm.profile import ModelProfile, load_profile
from kit.agent.llm.record import CallRecord, read_record, record_path, write_record
from kit.agent.llm.retry import RetryLoop
from kit.agent.llm.scripted import SCRIPTED, AnswerScript, ScriptedTransport, load_script
from kit.agent.llm.wire import CallKey, Transport
from kit.cli.options import Number, with_options
from kit.cli.terminal import note
from kit.core.errors import PrerequisiteError, UsageError


def model_call_options(samples: int, text: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """
    Return the options of a command that asks a model: `--answers`, `--samples` and `--usd`.

    `samples` is how often it asks by default, and `text` says what for.
    """
    options = (
        click.option(
            "--answers",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="Answers for --model scripted.",
        ),
        click.option("--samples", type=click.IntRange(1, 100), default=samples, show_default=True, help=text),
        click.option(
            "--usd",
            type=Number(min=0),
            help="Most that the calls may cost in USD; needs prices in the profile.",
        ),
    )
    return lambda command: with_options(command, options)


def profile_of(model: str, answers: Path | None) -> tuple[ModelProfile, AnswerScript | None]:
    """Return the profile that `--model` names, and the answers of a file if it is `SCRIPTED`."""
    if model != SCRIPTED or answers is None:
        return load_profile(Path(model)), None
    script = load_script(answers)
    return script.profile(), script


def api_key(profile: ModelProfile) -> ApiKey:
    """Return the endpoint's key from the variable that the profile names."""
    if profile.api_key_env is None:
        return NO_KEY
    value = os.environ.get(profile.api_key_env, "")
    if not value:
        raise PrerequisiteError(
            f"the environment variable {profile.api_key_env} is not set",
            f"set it to the key of the endpoint {profile.base_url}",
        )
    return ApiKey(value, profile.api_key_env)


def live_transport(profile: ModelProfile) -> LiveTransport:
    """Return what calls the profile's endpoint. Raises `PrerequisiteError` if its key is not set."""
    return LiveTransport(profile, api_key(profile), RetryLoop(random.Random()))  # noqa: S311 - for waits


def transport_of(profile: ModelProfile, script: AnswerScript | None, task: str) -> Transport:
    """Return what answers: the file of answers or the endpoint. Raises as `live_transport` does."""
    return live_transport(profile) if script is None else ScriptedTransport(script, task)


def recorder(folder: Path, prefix: str = "") -> Callable[[CallRecord], None]:
    """Return what writes each call into a directory and names its file, after `prefix`."""

    def record(call: CallRecord) -> None:
        path = write_record(folder, call)
        note(f"{prefix}{path.name}: {call.outcome.fault or 'answered'}")

    return record


def recorded(folder: Path) -> Callable[[CallKey], CallRecord | None]:
    """Return what reads a recorded call from a directory; None if there is none."""

    def known(place: CallKey) -> CallRecord | None:
        path = record_path(folder, place)
        return read_record(path) if path.is_file() else None

    return known


def check_cost(most: float | None, limit: float | None) -> None:
    """Raise `UsageError` if calls may cost more than `--usd`, or have no prices."""
    if limit is None:
        return
    if most is None:
        raise UsageError("--usd needs prices in the profile", "add prices to the profile, or omit --usd")
    if most > limit:
        raise UsageError(
            f"the calls may cost {most:.2f} USD, more than --usd {limit:g}",
            "raise --usd, or lower --samples or max_output_tokens",
        )
