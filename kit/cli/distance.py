"""`speedrun distance`: how much of the distance to a task's target a script has covered."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from kit.agent.llm.profile import ModelProfile, load_profile
from kit.cli.interrupt import cancellable
from kit.cli.model_calls import live_transport
from kit.cli.options import TASK_NAME, store_option, upstream_option
from kit.cli.terminal import emit_json, say
from kit.core.digest import files_under, sha256_file, tree_digest
from kit.core.errors import UsageError
from kit.core.facts import facts_root
from kit.core.text import one_line
from kit.judge.distance import TokenDistance, token_distance
from kit.judge.embedding_distance import embedding_distance
from kit.judge.scripts import read_judged, require_whole, task_pair, task_texts


@click.command("distance")
@click.argument("script", type=click.Path(path_type=Path))
@click.option(
    "--task", type=TASK_NAME, required=True, metavar="N", help="Task, named by its start record: 3."
)
@click.option(
    "--embeddings",
    "profile_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Profile of an endpoint with /v1/embeddings (TOML): also measure the paper's distance.",
)
@click.option(
    "--weights",
    type=click.Path(exists=True, path_type=Path),
    help="The embedding model's file or directory, whose digest labels the figure.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@store_option
@upstream_option
def command(
    script: Path,
    task: int | str,
    profile_file: Path | None,
    weights: Path | None,
    as_json: bool,
    store: Path,
    upstream: Path | None,
) -> None:
    """Measure how far a script is from a task's target, in tokens.

    SCRIPT is a submission, the directory of a run, or a Python file if the task's scripts are single files
    without arguments. "Distance recovered" is 1 - d(script, target) / d(start, target), where d is the least
    number of tokens to insert, delete or replace. Comments, docstrings, annotations and unused definitions
    are removed first. It is exact, and no model is asked. 0 is the start script, 1 the target; a script that
    is farther away than the start is below 0.

    The paper computes the same ratio from the L2 distance of embeddings of whole files
    (SFR-Embedding-Code-2B_R), with comments and names. With --embeddings it is measured too, by the profile's
    model: one request with the three scripts. The figure is labelled with the model that answered, the
    profile's digest, and with --weights the digest of the model's files; nothing shows that the endpoint
    serves them. Figures of different models cannot be compared, nor with the distance in tokens.

    The paper's analysis sets distances over 4 and under 0.1 to 1, so that an almost exact reproduction is
    drawn at 0; `drawn in the paper` is the figure after that rule.

    Neither tells whether the idea was implemented: a renamed target is far away, and an unrelated edit can be
    near. See `speedrun judge`.

    \b
    Examples:
      speedrun distance my-task --task 3
      speedrun distance runs/<run_id> --task 12 --json
      speedrun distance my-task --task 3 --embeddings embedder.toml --weights model.safetensors
    """
    if weights is not None and profile_file is None:
        raise UsageError("--weights needs --embeddings", "omit --weights")
    judged = read_judged(script)
    require_whole(judged, facts_root(), task)
    pair = task_pair(facts_root(), task, store, upstream)
    distance = token_distance(judged.source, pair.start, pair.target)
    embedded = None
    if profile_file is not None:
        texts = (judged.text, *task_texts(facts_root(), task, store, upstream))
        embedded = _embedded(load_profile(profile_file), texts, weights)
    if as_json:
        labels = {"task": str(task), "submission_sha256": judged.sha256, "unit": "tokens"}
        figures = {**asdict(distance), "recovered": distance.recovered}
        emit_json({**labels, **figures, "embeddings": embedded})
    else:
        say(*_token_lines(distance), *([] if embedded is None else _embedded_lines(embedded)))


def _embedded(profile: ModelProfile, texts: tuple[str, str, str], weights: Path | None) -> dict[str, Any]:
    """Return the distance by embeddings, with the labels of its model."""
    if profile.is_scripted:
        raise UsageError("a file of answers gives no embeddings", "pass the profile of an endpoint")
    digest = None if weights is None else _digest(weights)
    with cancellable() as cancelled:
        found = embedding_distance(profile, live_transport(profile), texts, cancelled)
    figures = {"recovered": found.recovered, "drawn_in_paper": found.drawn_in_paper}
    labels = {"model": profile.model, "profile_sha256": profile.sha256(), "weights_sha256": digest}
    return {"unit": "L2", **asdict(found), **figures, **labels}


def _digest(weights: Path) -> str:
    """Return the sha256 of a file, or the tree digest of a directory's files."""
    if weights.is_file():
        return sha256_file(weights)
    return tree_digest({name: sha256_file(weights / name) for name in files_under(weights)})


def _token_lines(distance: TokenDistance) -> list[str]:
    share = distance.recovered
    recovered = "undefined: start and target are the same" if share is None else f"{share:.3f}"
    return [
        f"distance recovered: {recovered}",
        f"  to the target: {distance.to_target} tokens",
        f"  to the start: {distance.to_start} tokens",
        f"  from start to target: {distance.start_to_target} tokens",
    ]


def _embedded_lines(found: dict[str, Any]) -> list[str]:
    def number(value: float | None) -> str:
        return "undefined" if value is None else f"{value:.3f}"

    weights = found["weights_sha256"]
    return [
        f"distance recovered, by embeddings: {number(found['recovered'])} "
        f"(drawn in the paper: {number(found['drawn_in_paper'])})",
        f"  to the target: {number(found['to_target'])}, to the start: {number(found['to_start'])}, "
        f"from start to target: {number(found['start_to_target'])} (L2, {found['dimensions']} dimensions)",
        f"  model: {one_line(found['answered_model'] or found['model'])}, "
        f"profile {found['profile_sha256'][:12]}, "
        f"weights {'unknown: pass --weights' if weights is None else weights[:12]}",
    ]
