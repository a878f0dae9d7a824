"""`speedrun image`: lock, fetch, build, verify, load and export the images of the eras. Runs no guest."""

from __future__ import annotations

import click

from kit.cli.lazy import LazyGroup

SUMMARIES = {
    "build": "Build an era's image into the store, unless it is there; refuse anything but the promised one.",
    "diff": "Say in what two images differ: packages, layers, and the entries of layers that both have.",
    "disk": "Say what the built images take on this disk, beside what their distinct layers add up to.",
    "export": (
        "Write an era's image as one archive that docker, podman and OCI tools load; always the same bytes."
    ),
    "fetch": "Bring every file of an era's lock into the store; resumes what broke off.",
    "list": "List the eras: what they hold, and how much of it is in the store.",
    "load": (
        "Give an era's image to Docker or Podman, unless it is there, and see that it is the promised one."
    ),
    "lock": (
        "Resolve images/ERA/image.toml and write lock.json: every file by sha256, no address of a registry."
    ),
    "test": "Start an era's image as a run's would be started, and see that it can do what records need.",
    "verify": "Build an era anew from its files and compare every digest with images/ERA/digest.",
}


@click.group("image", cls=LazyGroup, package=__name__, summaries=SUMMARIES)
def command() -> None:
    """Pin, fetch, build, verify and load images: the same lock gives the same bytes on any machine.

    \b
    Examples:
      speedrun image list
      speedrun image build cpu
      speedrun image verify cpu
      speedrun image load cpu
      speedrun image test cpu
      speedrun image diff torch-2.5.0 torch-2.5.1
    """
