"""`speedrun image`: lock, fetch, build, verify, load and export the images of the eras. Runs no guest."""

from __future__ import annotations

from pathlib import Path

import click

from kit.cli.imagediff import changes, diff, disk
from kit.cli.imagetest import test
from kit.cli.options import mirror_option, store_option

json_option = click.option("--json", "as_json", is_flag=True, help="Outcome as JSON on stdout.")


@click.group()
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


for other in (diff, disk, test):
    command.add_command(other)


@command.command("list")
@store_option
@json_option
def list_images(store: Path, as_json: bool) -> None:
    """List the eras: what they hold, and how much of it is in the store.

    \b
    Examples:
      speedrun image list
      speedrun image list --json
    """
    from kit.cli.terminal import emit_json, megabytes, table
    from kit.core.facts import facts_root
    from kit.core.store import Store
    from kit.image.build import survey
    from kit.image.spec import eras

    images = facts_root() / "images"
    found = [survey(era, images, Store(store)) for era in eras(images)]
    if as_json:
        emit_json({"eras": [s.document() for s in found]})
        return
    rows = [
        (
            s.era,
            megabytes(s.size),
            megabytes(s.size - s.present),
            "yes" if s.built else "no",
            s.state,
            s.summary,
        )
        for s in found
    ]
    click.echo(table(("era", "download", "to fetch", "built", "lock", "what it is"), rows))


@command.command()
@click.argument("era")
@click.option("--check", is_flag=True, help="Only see that lock.json and digest are not stale; no network.")
@store_option
@mirror_option
@json_option
def lock(era: str, check: bool, store: Path, mirror: Path | None, as_json: bool) -> None:
    """Resolve images/ERA/image.toml and write lock.json: every file by sha256, no address of a registry.

    \b
    Examples:
      speedrun image lock cpu --check
      speedrun image lock cpu
    """
    from kit.cli.terminal import Meter, emit_json, megabytes, note
    from kit.core.facts import facts_root
    from kit.core.store import Store
    from kit.image.digest import read_identity
    from kit.image.fetch import default_fetchers
    from kit.image.lock import lock_path, read_lock, write_lock
    from kit.image.resolve import resolve
    from kit.image.spec import read_spec

    spec = read_spec(facts_root() / "images", era)
    if check:
        found = read_lock(spec)
        read_identity(spec, found)
        note(f"{lock_path(spec)} belongs to {spec.source.name}, and digest to it")
    else:
        resolved = resolve(spec, Store(store), default_fetchers(mirror), Meter())
        found = write_lock(spec, resolved.debs, resolved.wheels)
        note(f"wrote {lock_path(spec)}: {len(found.artifacts)} files, {megabytes(found.size)}")
    if as_json:
        emit_json({"era": era, "sha256": found.sha256, "files": len(found.artifacts), "bytes": found.size})


@command.command()
@click.argument("era")
@store_option
@mirror_option
@json_option
def fetch(era: str, store: Path, mirror: Path | None, as_json: bool) -> None:
    """Bring every file of an era's lock into the store; resumes what broke off.

    \b
    Examples:
      speedrun image fetch cpu
      speedrun image fetch torch-2.6.0 --mirror /mnt/wheels
    """
    from kit.cli.terminal import Meter, emit_json, megabytes, note
    from kit.core.facts import facts_root
    from kit.core.store import Store
    from kit.image import acquire
    from kit.image.fetch import default_fetchers
    from kit.image.lock import read_lock
    from kit.image.spec import read_spec

    wanted = read_lock(read_spec(facts_root() / "images", era))
    fetched = acquire.fetch(wanted, Store(store), default_fetchers(mirror), Meter())
    note(f"{era}: {len(wanted.artifacts)} files are in {store}, {megabytes(fetched)} of them new")
    if as_json:
        emit_json(
            {"era": era, "files": len(wanted.artifacts), "bytes": wanted.size, "fetched_bytes": fetched}
        )


@command.command()
@click.argument("era")
@click.option("--accept", is_flag=True, help="Write the outcome to images/ERA/digest: a new promise.")
@store_option
@mirror_option
@json_option
def build(era: str, accept: bool, store: Path, mirror: Path | None, as_json: bool) -> None:
    """Build an era's image into the store, unless it is there; refuse anything but the promised one.

    \b
    Examples:
      speedrun image build cpu
      speedrun image build cpu --json
    """
    from kit.cli.terminal import Meter, emit_json, note
    from kit.core.facts import facts_root
    from kit.core.store import Store
    from kit.image import build as room
    from kit.image.fetch import default_fetchers

    make = room.accept if accept else room.ensure_layout
    layout = make(era, facts_root() / "images", Store(store), default_fetchers(mirror), Meter())
    if as_json:
        emit_json(layout.document())
    else:
        click.echo(f"config   sha256:{layout.config_digest}\nmanifest sha256:{layout.manifest_digest}")
        note(f"layout   {layout.path}")


@command.command()
@click.argument("era")
@store_option
@mirror_option
@json_option
def verify(era: str, store: Path, mirror: Path | None, as_json: bool) -> None:
    """Build an era anew from its files and compare every digest with images/ERA/digest.

    Nothing that an earlier build made is read. Exits with 0 if all are the same, with 4 if one differs; if
    the store has the promised layers, it says which entries of them differ.

    \b
    Examples:
      speedrun image verify cpu
      speedrun image verify cpu --json
    """
    from kit.cli.terminal import Meter, emit_json, note
    from kit.core.errors import DigestMismatch
    from kit.core.facts import facts_root
    from kit.core.store import Store
    from kit.image import build as room
    from kit.image.fetch import default_fetchers

    done = room.verify(era, facts_root() / "images", Store(store), default_fetchers(mirror), Meter())
    differences = done.differences
    if as_json:
        entries = [change.document() for change in done.entries]
        pair = {"promised": done.promised.document(), "found": done.built.document()}
        emit_json({"era": era, "same": not differences, **pair, "entries": entries})
    if differences:
        lines = [*differences, *changes(done.entries, "promised", "built")]
        raise DigestMismatch(
            f"era {era} did not build into what images/{era}/digest promises:\n  " + "\n  ".join(lines),
            "report it with the output of: speedrun doctor --json",
        )
    note(f"{era}: config, manifest and {len(done.built.layers)} layers are the promised ones")


@command.command()
@click.argument("era")
@click.option(
    "--engine", type=click.Choice(["docker", "podman"]), default="docker", show_default=True,
    help="Who is given the image: at $DOCKER_HOST or the current docker context, or at $CONTAINER_HOST.",
)  # fmt: skip
@store_option
@mirror_option
@json_option
def load(era: str, engine: str, store: Path, mirror: Path | None, as_json: bool) -> None:
    """Give an era's image to Docker or Podman, unless it is there, and see that it is the promised one.

    Docker's classic store is sent only the layers that it lacks. Prints the engine's id of the image, which
    is the config's digest or the manifest's; exits with 4 if the engine ends up with another one.

    \b
    Examples:
      speedrun image load cpu
      speedrun image load torch-2.4.1 --engine podman
    """
    from kit.cli.options import docker_socket, podman_socket
    from kit.cli.terminal import Meter, emit_json, megabytes, note
    from kit.core.facts import facts_root
    from kit.core.store import Store
    from kit.image import engine as room
    from kit.image.build import ensure_layout
    from kit.image.fetch import default_fetchers

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
        click.echo(loaded.id)


@command.command()
@click.argument("era")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="File to write.")
@store_option
@mirror_option
@json_option
def export(era: str, out: Path, store: Path, mirror: Path | None, as_json: bool) -> None:
    """Write an era's image as one archive that docker, podman and OCI tools load; always the same bytes.

    Prints its sha256 as sha256sum does.

    \b
    Examples:
      speedrun image export cpu --out cpu.tar && docker load -i cpu.tar
    """
    from kit.cli.terminal import Meter, emit_json
    from kit.core.facts import facts_root
    from kit.core.store import Store
    from kit.image import archive
    from kit.image.build import ensure_layout
    from kit.image.fetch import default_fetchers

    meter = Meter()
    layout = ensure_layout(era, facts_root() / "images", Store(store), default_fetchers(mirror), meter)
    sha256 = archive.export(layout, out, meter)
    if as_json:
        emit_json({"era": era, "file": str(out), "bytes": out.stat().st_size, "sha256": sha256})
    else:
        click.echo(f"{sha256}  {out}")
