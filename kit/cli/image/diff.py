"""`speedrun image diff`: compare two images."""

from __future__ import annotations

from pathlib import Path

import click

from kit.cli.image.changes import format_changes
from kit.cli.options import store_option
from kit.cli.terminal import emit_json, say, table
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.core.store_use import using
from kit.image.diff import compare_images, read_pair


@click.command("diff")
@click.argument("a")
@click.argument("b")
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print every difference as JSON.")
@click.pass_context
def command(context: click.Context, a: str, b: str, store: Path, as_json: bool) -> None:
    """Compare two images: packages, layers and files.

    A and B are eras, or directories with an OCI layout; DIR:TAG names one of several images in a layout.
    Files are compared in layers that are on this disk. Layers may be plain, gzip or Zstandard.

    Exit 0: the same image, because the manifests are equal. 1: they differ; for copies whose layers are only
    compressed in another way, the output says `same contents`.

    \b
    Examples:
      speedrun image diff torch-2.5.0 torch-2.5.1
      speedrun image diff cpu ./result
    """
    images = facts_root() / "images"
    with using(Store(store)):
        one, other = read_pair(a, b, images, Store(store))
        difference = compare_images(one, other)
    if as_json:
        emit_json({"a": a, "b": b, **difference.document()})
    elif difference.same:
        say(f"the same image: manifest sha256:{one.manifest}")
    else:
        rows = [(c.kind, c.name, c.before or "-", c.after or "-") for c in difference.packages]
        rows += [
            ("layer", c.name, (c.before or "-")[:12], (c.after or "-")[:12]) if c.layer
            else (c.kind, c.name, c.before or "-", c.after or "-")
            for c in difference.layers
        ]  # fmt: skip
        say(*table(("what", "name", a, b), rows))
        say(*format_changes(difference.entries, a, b))
        if difference.same_contents:
            say("same contents: every layer unpacks to the same bytes, so all files are the same")
        elif one.config == other.config:
            say(f"both have the config sha256:{one.config}: only the compression of layers differs")
        if difference.unread:
            say(f"layers not on this disk, files not compared: {', '.join(difference.unread)}")
    context.exit(0 if difference.same else 1)
