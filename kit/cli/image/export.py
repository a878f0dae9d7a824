"""`speedrun image export`: write an image as one archive."""

from __future__ import annotations

from pathlib import Path

import click

from kit.cli.image.options import json_option
from kit.cli.options import mirror_option, store_option
from kit.cli.terminal import Meter, emit_json, say_path
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.core.store_use import using
from kit.image import archive
from kit.image.build import ensure_layout
from kit.image.fetch import default_fetchers


@click.command("export")
@click.argument("era")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="File to write.")
@store_option
@mirror_option
@json_option
def command(era: str, out: Path, store: Path, mirror: Path | None, as_json: bool) -> None:
    """Write an image as one archive for docker or podman.

    The archive always has the same bytes. Prints its sha256 as sha256sum does.

    \b
    Examples:
      speedrun image export cpu --out cpu.tar && docker load -i cpu.tar
    """
    meter = Meter()
    with using(Store(store)):
        layout = ensure_layout(era, facts_root() / "images", Store(store), default_fetchers(mirror), meter)
        sha256 = archive.export(layout, out, meter)
    if as_json:
        emit_json({"era": era, "file": str(out), "bytes": out.stat().st_size, "sha256": sha256})
    else:
        say_path(f"{sha256}  {out}")
