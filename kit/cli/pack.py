"""`speedrun pack`: pack a run into one archive for an offline rerun."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from kit.capsule.pack import pack
from kit.capsule.wheels import kit_wheels
from kit.cli.options import keys_option, mirror_option, store_option
from kit.cli.places import places
from kit.cli.terminal import emit_json, megabytes, note, say_path
from kit.core.store_use import using
from kit.result.folder import locate
from kit.result.keys import trusted


@click.command(name="pack")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--out",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Archive to write.  [default: <run_id>.capsule.tar]",
)
@click.option(
    "--with-data", is_flag=True, help="Include the training data; synthetic data is always included."
)
@click.option(
    "--with-kit", is_flag=True, help="Include wheels of this kit and of its dependencies, from pip's index."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the file's path.")
@store_option
@mirror_option
@keys_option
def command(
    bundle: Path,
    file: Path | None,
    with_data: bool,
    with_kit: bool,
    as_json: bool,
    store: Path,
    mirror: Path | None,
    keys: Path,
) -> None:
    """Pack a run into one archive for an offline rerun.

    The archive (a capsule) contains the bundle, submission, image, lock file, public key and RUN.md. Your key
    signs the list of its files. It can be checked with tar, sha256sum and openssl alone; RUN.md says how. The
    same run packed with the same key gives the same bytes. The archive is about as large as the image: 1 GB
    for cpu, 5 GB for CUDA. --with-kit adds about 10 MB, so that the receiver can install this kit offline.

    \b
    Examples:
      speedrun pack runs/<run_id>
      speedrun pack runs/<run_id> --out result.capsule.tar --with-data --with-kit
    """
    if file is None:
        file = Path(f"{locate(bundle).resolve().parent.name}.capsule.tar")
    here = places(store, mirror, keys)
    with using(here.store), kit_wheels(here.progress) if with_kit else contextlib.nullcontext(()) as wheels:
        packed = pack(bundle, file, trusted(keys), here, with_data, wheels)
    if not packed.trusted:
        note("warning: the bundle is signed by an untrusted key")
    note(f"{megabytes(packed.size)}, data {'included' if packed.with_data else 'not included (--with-data)'}")
    note(f"file list signed by your key {packed.key_id[:12]}")
    if as_json:
        emit_json(
            {
                "file": str(packed.file),
                "size": packed.size,
                "manifest_sha256": packed.sha256_of_manifest,
                "with_data": packed.with_data,
                "with_kit": with_kit,
                "packer": packed.key_id,
                "trusted": packed.trusted,
            }
        )
    else:
        say_path(packed.file)
