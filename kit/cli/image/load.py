"""`speedrun image load`: give an era's image to Docker or Podman."""

from __future__ import annotations

from pathlib import Path

import click

from kit.cli.image.options import json_option
from kit.cli.machine import docker_socket, podman_socket
from kit.cli.options import mirror_option, store_option
from kit.cli.terminal import Meter, emit_json, megabytes, note, say
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.image import engine as room
from kit.image.build import ensure_layout
from kit.image.fetch import default_fetchers


@click.command("load")
@click.argument("era")
@click.option(
    "--engine", type=click.Choice(["docker", "podman"]), default="docker", show_default=True,
    help="Who is given the image: at $DOCKER_HOST or the current docker context, or at $CONTAINER_HOST.",
)  # fmt: skip
@store_option
@mirror_option
@json_option
def command(era: str, engine: str, store: Path, mirror: Path | None, as_json: bool) -> None:
    """Give an era's image to Docker or Podman, unless it is there, and see that it is the promised one.

    Docker's classic store is sent only the layers that it lacks. Prints the engine's id of the image, which
    is the config's digest or the manifest's; exits with 4 if the engine ends up with another one.

    \b
    Examples:
      speedrun image load cpu
      speedrun image load torch-2.4.1 --engine podman
    """
    meter = Meter()
    layout = ensure_layout(era, facts_root() / "images", Store(store), default_fetchers(mirror), meter)
    if engine == "docker":
        loaded = room.ensure_loaded(layout, docker_socket(), meter)
    else:
        loaded = room.load_podman(layout, podman_socket(), meter)
    there = f"{loaded.layers_left_out} of {len(layout.diff_ids)} layers were there"
    note(f"{loaded.engine} has {era}: {megabytes(loaded.sent)} sent, {there}")
    if as_json:
        emit_json(
            {
                "era": era, "engine": loaded.engine, "id": loaded.id, "sent_bytes": loaded.sent,
                "layers_left_out": loaded.layers_left_out,
            }
        )  # fmt: skip
    else:
        say(loaded.id)
