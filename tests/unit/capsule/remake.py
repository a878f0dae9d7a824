"""Takes a capsule apart and writes it again with other content, manifests made anew, as an attacker would."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kit.capsule import bag
from kit.capsule.statement import CapsuleClaims, read_signed, sign_capsule
from kit.capsule.write import part_of_bytes, write_capsule
from kit.core.digest import sha256_bytes
from kit.core.store import no_progress
from kit.result.keys import Signer, Trusted


@dataclass
class Opened:
    """A capsule's files."""

    tags: dict[str, bytes]
    payload: dict[str, bytes]
    epoch: int
    claims: CapsuleClaims | None
    """What its packer said, before anything was changed."""

    def __getitem__(self, path: str) -> bytes:
        return (self.payload if path.startswith("data/") else self.tags)[path]

    def __setitem__(self, path: str, data: bytes) -> None:
        (self.payload if path.startswith("data/") else self.tags)[path] = data


def opened(file: Path) -> Opened:
    tags, payload, epoch = {}, {}, 0
    with tarfile.open(file) as tar:
        for member in tar:
            if member.isfile():
                name, epoch = member.name.removeprefix("capsule/"), int(member.mtime)
                data = tar.extractfile(member).read()
                (payload if name.startswith("data/") else tags)[name] = data
    claims = read_signed(tags, Trusted(())).claims if bag.STATEMENT in tags else None
    return Opened(tags, payload, epoch, claims)


def manifests_anew(capsule: Opened) -> None:
    """Make size and manifest fit the files; what else bag-info.txt says stays."""
    size = sum(map(len, capsule.payload.values()))
    lines = capsule.tags[bag.INFO].decode().splitlines()
    lines[-1] = f"Payload-Oxum: {size}.{len(capsule.payload)}"
    capsule.tags[bag.INFO] = "".join(f"{line}\n" for line in lines).encode()
    capsule.tags[bag.MANIFEST] = bag.manifest({p: sha256_bytes(d) for p, d in capsule.payload.items()})


def unsigned(capsule: Opened) -> None:
    """Drop the packer's statement."""
    for name in bag.SIGNED:
        capsule.tags.pop(name, None)


def signed_by(
    signer: Signer, change: Callable[[CapsuleClaims], CapsuleClaims] = lambda claims: claims
) -> Callable[[Opened], None]:
    """Sign with another key what the packer said, or something else."""

    def sign(capsule: Opened) -> None:
        capsule.tags |= sign_capsule(change(capsule.claims), capsule.tags, signer)

    return sign


def written(capsule: Opened, file: Path) -> Path:
    parts = {path: part_of_bytes(data) for path, data in capsule.payload.items()}
    tags = {n: d for n, d in capsule.tags.items() if n in (bag.RUN_MD, bag.INFO, *bag.SIGNED)}
    with file.open("wb") as sink:
        write_capsule(parts, tags, capsule.epoch, sink, no_progress, "pack")
    return file
