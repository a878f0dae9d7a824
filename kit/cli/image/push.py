"""`speedrun image push`: push an image to a registry, with its signed digest."""

from __future__ import annotations

from pathlib import Path

import click

from kit.cli.image.options import json_option
from kit.cli.options import mirror_option, store_option
from kit.cli.terminal import Meter, emit_json, megabytes, note, say
from kit.core.errors import UsageError
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.core.text import counted
from kit.evaluate.provenance import source_url, this_kit
from kit.image.annotations import ImageSource
from kit.image.build import ensure_layout
from kit.image.fetch import default_fetchers
from kit.image.registry.login import find_login
from kit.image.registry.push import push
from kit.image.registry.reference import parse_reference, parse_repository


@click.command("push")
@click.argument("era")
@click.argument("reference", metavar="REGISTRY/REPOSITORY:TAG")
@click.option("--insecure", is_flag=True, help="Use plain HTTP; only for a registry on this machine.")
@click.option(
    "--mount-from",
    metavar="REPOSITORY",
    help="Repository of the same registry; layers that it has are not sent again.",
)
@store_option
@mirror_option
@json_option
def command(
    era: str,
    reference: str,
    insecure: bool,
    mount_from: str | None,
    store: Path,
    mirror: Path | None,
    as_json: bool,
) -> None:
    """Push an image to a registry, with its signed digest.

    Sends the image byte for byte, without compression: other tools compress layers, and the registry then has
    another manifest digest than the signed results. Layers that the repository has are not sent again. Then
    reads the manifest back, and prints its address by digest. Exit 4: the registry returns another manifest.

    The tag names an index, which lists this manifest and says in annotations what the image is.

    The login is that of `docker login`, `podman login` or `skopeo login`.

    \b
    Examples:
      speedrun image push cpu registry.example/me/speedrun-kit:cpu
      speedrun image push cpu localhost:5000/speedrun-kit:cpu --insecure
    """
    target = parse_reference(reference)
    other = parse_repository(mount_from) if mount_from else None
    if insecure and not target.is_loopback:
        raise UsageError(
            f"--insecure is only for a registry on this machine, not {target.registry}",
            "use a registry with TLS, or connect through a tunnel: ssh -L 5000:localhost:5000 HOST",
        )
    login = find_login(target)
    meter = Meter()
    layout = ensure_layout(era, facts_root() / "images", Store(store), default_fetchers(mirror), meter)
    source = ImageSource(source_url(), this_kit().commit)
    pushed = push(layout, target, login, source=source, insecure=insecure, mount_from=other, progress=meter)
    there = f"{counted(pushed.present, 'blob')} already present"
    taken = f", {pushed.mounted} from {other}" if other else ""
    note(f"{target} has {era} with its signed digest: {megabytes(pushed.sent)} sent, {there}{taken}")
    if as_json:
        emit_json(
            {
                "era": era, "reference": str(target), "digest": f"sha256:{pushed.digest}",
                "index": f"sha256:{pushed.index}", "pinned": pushed.pinned, "sent_bytes": pushed.sent,
                "blobs_present": pushed.present, "blobs_mounted": pushed.mounted,
            }
        )  # fmt: skip
    else:
        say(pushed.pinned)
