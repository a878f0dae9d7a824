"""
Carry images and records' scripts to a machine without a network, and see what is missing there.

    python benchmarks/gpu/carry.py tools DIR --python 3.12
    python benchmarks/gpu/carry.py pack STORE DIR torch-2.10.0 torch-2.9.1 --record 62 --record 29
    python DIR/tools/gpu/carry.py unpack DIR STORE [--wait 600] [--remove]
    python DIR/tools/gpu/carry.py check STORE --record 62 --record 29 --gpus 2 [--pieces DIR]

`tools` and `pack` run where there is a network. `tools` writes DIR/tools: the kit with its dependencies as
wheels, runc, libzstd and these scripts; `sh DIR/tools/setup.sh VENV` installs them there. `pack` writes the
layers of built images, each once, and the files that the records' scripts are taken from, as DIR/p000,
DIR/p001, ... of at most 58 MB. `unpack` takes the pieces in any order and may be repeated; with `--wait` it
takes them while they arrive. It names pieces that are missing or cut, and makes each image ready once all of
its bytes match the committed digests. `check` exits with 3 if anything is missing for the runs of these
records. CONTRIBUTING.md has the whole sequence.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from offline import check, write_tools
from pieces import PIECE, Blob, EraImage, State, Unpacker, pack
from refusal import refused

from kit.benchmark import records
from kit.core.errors import DigestMismatch, KitError, PrerequisiteError
from kit.core.facts import facts_root
from kit.core.store import Artifact, Store
from kit.image.build import adopt, ensure_layout
from kit.image.digest import ImageIdentity, read_identity
from kit.image.lock import read_lock
from kit.image.oci import blob_path
from kit.image.rootfs import ensure_rootfs
from kit.image.spec import read_spec

POLL_S = 1.0


def identity_of(era: str) -> ImageIdentity:
    """Return the committed digests of an era."""
    spec = read_spec(facts_root() / "images", era)
    return read_identity(spec, read_lock(spec))


def image_blobs(era: str, store: Store) -> list[Blob]:
    """Return manifest, config and layers of an era; builds an image whose packages are all in the store."""
    try:
        layout = ensure_layout(era, facts_root() / "images", store, ())
    except PrerequisiteError as e:
        raise PrerequisiteError(e.message, f"speedrun image build {era} --store {store.root}") from e
    titles = dict.fromkeys((layout.manifest_digest, layout.config_digest), f"document of {era}")
    titles |= {digest: f"{title} of {era}" for title, digest in identity_of(era).layers}
    return [Blob(name, blob_path(layout.path, d).stat().st_size, d) for d, name in titles.items()]


def script_blobs(number: str, store: Store) -> list[Blob]:
    """Return the files that a record's script is taken from. Raises `PrerequisiteError` if one is missing."""
    origins = records.load(facts_root() / "records", number).script.origins
    blobs = [Blob(f"{o.path.rsplit('/', 1)[-1]} of record {number}", o.size, o.sha256) for o in origins]
    for blob in blobs:
        if not store.has(Artifact(blob.name, blob.size, blob.sha256)):
            hint = f"speedrun record fetch {number} --store {store.root}"
            raise PrerequisiteError(f"{blob.name} is not in {store.root}", hint)
    return blobs


def pack_eras(a: argparse.Namespace) -> int:
    """Write pieces; layers that two eras share, and those of `--without`, are written once or not at all."""
    store, wanted = Store(a.store), {}
    for number in a.record:
        wanted |= {blob.sha256: blob for blob in script_blobs(number, store)}
    for era in a.eras:
        wanted |= {b.sha256: b for b in image_blobs(era, store) if b.sha256 not in wanted}
    for era in a.without:
        identity = identity_of(era)
        for digest in (identity.manifest, identity.config, *identity.diff_ids):
            wanted.pop(digest, None)
    eras = [EraImage(era, identity_of(era).manifest) for era in a.eras]
    began = time.monotonic()
    listed = pack(list(wanted.values()), store, a.folder, eras, limit=a.piece_bytes)
    size, stored = sum(b.size for b in listed.blobs), sum(p.size for p in listed.pieces)
    print(
        f"{len(listed.blobs)} files, {size:,} bytes, in {len(listed.pieces)} pieces, {stored:,} bytes "
        f"({listed.codec}), in {time.monotonic() - began:.1f} s"
    )
    return 0


def unpack_eras(a: argparse.Namespace) -> int:
    """Unpack what has arrived; then make the images that are whole ready."""
    began, store, list_file = time.monotonic(), Store(a.store), a.folder / "pieces.json"
    while not list_file.exists() and time.monotonic() - began < a.wait:
        time.sleep(POLL_S)
    unpacker = Unpacker(a.folder, store, a.remove)
    for image in unpacker.listed.eras:
        if identity_of(image.era).manifest != image.manifest:
            raise DigestMismatch(
                f"the pieces hold image {image.manifest[:12]} of {image.era}; this kit has "
                f"{identity_of(image.era).manifest[:12]}",
                "install the kit of the same commit on both machines",
            )
    while True:
        if unpacker.take():
            print(f"{time.monotonic() - began:6.1f} s  {summary(unpacker)}", flush=True)
        if unpacker.is_done or time.monotonic() - began >= a.wait:
            break
        time.sleep(POLL_S)
    if not unpacker.is_done:
        print(f"error: {summary(unpacker)}\nhint: copy these pieces, then run the command again; what was "
              "unpacked stays", file=sys.stderr)  # fmt: skip
        return 4 if State.DAMAGED in unpacker.states().values() else 3
    for image in unpacker.listed.eras:
        ready(image.era, store)
    print(f"all is in {store.root} after {time.monotonic() - began:.1f} s")
    return 0


def ready(era: str, store: Store) -> None:
    """Lay out and unpack an era's image, whose blobs are in the store already."""
    identity = identity_of(era)
    lacking = sum(
        not store.blob(d).exists() for d in (identity.manifest, identity.config, *identity.diff_ids)
    )
    if lacking:
        raise PrerequisiteError(
            f"{lacking} files of {era} are neither in {store.root} nor in the pieces",
            "unpack the pieces of the eras that were left out first, or pack again without --without",
        )
    began = time.monotonic()
    layout = adopt(era, facts_root() / "images", store, store.root)
    adopted = time.monotonic() - began
    ensure_rootfs(layout, store)
    unpacked = time.monotonic() - began - adopted
    print(
        f"{era}: manifest {layout.manifest_digest[:12]}, {len(layout.diff_ids)} layers match the committed "
        f"digests; adopted in {adopted:.1f} s, unpacked in {unpacked:.1f} s",
        flush=True,
    )


def summary(unpacker: Unpacker) -> str:
    """Return how many pieces are unpacked, and which ones are not."""
    states = unpacker.states()
    named = {state: [n for n, s in states.items() if s is state] for state in State}
    parts = [f"{len(named[State.DONE])} of {len(states)} pieces are unpacked"]
    parts += [f"{s}: {ranges(named[s])}" for s in (State.MISSING, State.DAMAGED) if named[s]]
    if cut := named[State.CUT]:
        sizes = ("{} ({:,} of {:,} bytes)".format(name, *unpacker.cut_bytes(name)) for name in cut[:8])
        parts.append(f"cut: {', '.join(sizes)}" + (f" and {len(cut) - 8} more" if len(cut) > 8 else ""))
    return "; ".join(parts)


def ranges(names: Sequence[str]) -> str:
    """Return names such as p003 in order, with neighbours as `p003 to p007`."""
    runs: list[list[int]] = []
    for number in sorted(int(name[1:]) for name in names):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"p{r[0]:03d}" + (f" to p{r[-1]:03d}" if len(r) > 1 else "") for r in runs)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the four commands."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = p.add_subparsers(dest="command", required=True)

    def add(name: str, run: Callable[[argparse.Namespace], int], *places: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        for place in places:
            command.add_argument(place, type=Path)
        return command

    tools = add("tools", write_tools, "folder")
    tools.add_argument("--python", default="3.12", help="Version of the machine's Python.")
    tools.add_argument("--extras", default="gpu,docker", help="Extras of the kit to carry.")
    packing = add("pack", pack_eras, "store", "folder")
    packing.add_argument("eras", nargs="*")
    packing.add_argument("--record", action="append", default=[], help="Carry this record's script.")
    packing.add_argument("--without", action="append", default=[], metavar="ERA", help="It is there already.")
    packing.add_argument("--piece-bytes", type=int, default=PIECE)
    unpacking = add("unpack", unpack_eras, "folder", "store")
    unpacking.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help="For pieces to arrive.")
    unpacking.add_argument("--remove", action="store_true", help="Remove each piece once it is unpacked.")
    checking = add("check", check, "store")
    checking.add_argument("--record", action="append", default=[], help="A record that will be run.")
    checking.add_argument("--era", action="append", default=[], help="An image that will be tested.")
    checking.add_argument("--profile", default="full")
    checking.add_argument("--gpus", type=int, default=2)
    checking.add_argument("--runtime", default="runc")
    checking.add_argument("--pieces", type=Path, metavar="DIR", help="Name the pieces that are missing, too.")
    return p


def main() -> int:
    """Run one of the commands."""
    a = parser().parse_args()
    try:
        return int(a.run(a))
    except KitError as e:
        return refused(e)


if __name__ == "__main__":
    raise SystemExit(main())
