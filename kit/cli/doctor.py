"""`speedrun doctor`: check that this machine can run evaluations."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import click

from kit.cli.machine import docker_socket, gpu_sources
from kit.cli.options import keys_if_any_option, store_if_any_option
from kit.cli.platforms import require_run_platform
from kit.cli.recovery import recover_series
from kit.cli.runtime import find_podman
from kit.cli.terminal import emit_json, say
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.diagnose.doctor import DoctorConfig, examine, usable
from kit.gpu import toolkit

MARKS = {"ok": "ok     ", "missing": "missing", "broken": "BROKEN "}


@click.command(name="doctor")
@click.option("--fix", is_flag=True, help="Remove the leftovers of interrupted runs and close their records.")
@click.option(
    "--container-toolkit",
    is_flag=True,
    help="Also check NVIDIA Container Toolkit for known container escapes. speedrun does not use it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Directory of runs.",
)
@store_if_any_option
@keys_if_any_option
def command(
    fix: bool, container_toolkit: bool, as_json: bool, out: Path, store: Path | None, keys: Path | None
) -> int:
    """
    Check that this machine can run evaluations.

    Starts a small program in every runtime and tests its isolation; then checks GPUs, disk space and
    interrupted runs. Exit 0: a container runtime works and nothing is broken. 3: otherwise.

    \b
    Examples:
      speedrun doctor
      speedrun doctor --fix
    """
    require_run_platform("doctor")
    config = DoctorConfig(
        store=None if store is None else Store(store),
        images=facts_root() / "images",
        out=out,
        keys=keys,
        python=Path(shutil.which("python3") or sys.executable),
        engine=docker_socket,
        podman=find_podman,
        gpus=gpu_sources(),
        toolkit=toolkit.installed if container_toolkit else None,
    )
    diagnoses = []
    for diagnosis in examine(config, fix):
        diagnoses.append(diagnosis)
        if not as_json:
            say(f"{MARKS[diagnosis.health]}  {diagnosis.id:<14} {diagnosis.detail}")
            if diagnosis.fix:
                say(f"                         hint: {diagnosis.fix}")
    ready = usable(diagnoses)
    if as_json:
        checks = [{"id": d.id, "health": d.health, "detail": d.detail, "fix": d.fix} for d in diagnoses]
        emit_json({"usable": ready, "checks": checks})
    if fix and keys is not None:
        recover_series(out, keys)
    return 0 if ready else 3
