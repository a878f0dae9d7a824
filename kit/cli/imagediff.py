"""`speedrun image diff` and `disk`: in what two images differ, and what all of them take. Builds nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kit.cli.options import store_option

if TYPE_CHECKING:
    from kit.image.diff import ImageChange

SHOWN = 12
"""Entries of a layer that are listed for a person; `--json` has all."""


def changes(found: Sequence[ImageChange], before: str, after: str) -> list[str]:
    """Spell changes of entries for a person, by layer, the first `SHOWN` of each."""
    lines: list[str] = []
    for layer in dict.fromkeys(c.layer for c in found):
        mine = [c for c in found if c.layer == layer]
        mine.sort(key=lambda c: None in (c.before, c.after))
        only = [sum(c.after is None for c in mine), sum(c.before is None for c in mine)]
        lines.append(
            f"entries of layer {layer}: {len(mine) - sum(only)} changed,"
            f" {only[0]} only in {before}, {only[1]} only in {after}"
        )
        lines += [f"  {c.name}: {c.before or 'absent'} -> {c.after or 'absent'}" for c in mine[:SHOWN]]
        if len(mine) > SHOWN:
            lines.append(f"  and {len(mine) - SHOWN} more: --json lists all")
    return lines


@click.command()
@click.argument("a")
@click.argument("b")
@store_option
@click.option("--json", "as_json", is_flag=True, help="Every difference as JSON on stdout.")
@click.pass_context
def diff(context: click.Context, a: str, b: str, store: Path, as_json: bool) -> None:
    """Say in what two images differ: packages, layers, and the entries of layers that both have.

    A and B are eras, or folders with an OCI layout that anybody built. Entries are compared where the
    layers' bytes are on this disk. Exits with 0 if the images are the same, with 1 if not.

    \b
    Examples:
      speedrun image diff torch-2.5.0 torch-2.5.1
      speedrun image diff cpu ./result
    """
    from kit.cli.terminal import emit_json, printable, table
    from kit.core.facts import facts_root
    from kit.core.store import Store
    from kit.image.compared import read_image
    from kit.image.diff import compare_images

    images = facts_root() / "images"
    one, other = (read_image(name, images, Store(store)) for name in (a, b))
    found = compare_images(one, other)
    if as_json:
        emit_json({"a": a, "b": b, **found.document()})
    elif found.same:
        click.echo(f"the same image: manifest sha256:{one.manifest}")
    else:
        rows = [(c.kind, c.name, c.before or "-", c.after or "-") for c in found.packages]
        rows += [
            ("layer", c.name, (c.before or "-")[:12], (c.after or "-")[:12]) if c.layer
            else (c.kind, c.name, c.before or "-", c.after or "-")
            for c in found.layers
        ]  # fmt: skip
        click.echo(table(("what", "name", a, b), rows))
        click.echo(printable("\n".join(changes(found.entries, a, b))), nl=bool(found.entries))
        if found.unread:
            click.echo(f"not on this disk, so not compared entry by entry: {', '.join(found.unread)}")
    context.exit(0 if found.same else 1)


@click.command()
@store_option
@click.option("--json", "as_json", is_flag=True, help="Outcome as JSON on stdout.")
def disk(store: Path, as_json: bool) -> None:
    """Say what the built images take on this disk, beside what their distinct layers add up to.

    Downloads, which `fetch` brings, and file systems that runc unpacked are not counted.

    \b
    Examples:
      speedrun image disk
      speedrun image disk --json
    """
    from kit.cli.terminal import emit_json, megabytes
    from kit.core.facts import facts_root
    from kit.core.store import Store
    from kit.image.disk import disk_usage

    found = disk_usage(facts_root() / "images", Store(store))
    if as_json:
        emit_json(found.document())
        return
    click.echo(
        f"{len(found.eras)} images, {megabytes(found.summed)} of layers; distinct: {found.layers} layers,"
        f" {megabytes(found.distinct)}; on disk {megabytes(found.on_disk)}, {found.ratio:.4f} times that"
    )
