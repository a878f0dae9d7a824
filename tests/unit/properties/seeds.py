"""Good bytes of each kind, small, from which the bad ones are made."""

from __future__ import annotations

import base64
import hashlib
import io
import lzma
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType

from python_file import load_once

from kit.capsule import bag
from kit.capsule.write import part_of_bytes, write_capsule
from kit.core.digest import canonical_json, sha256_bytes
from kit.core.store import no_progress
from kit.image.entry import ArchiveEntry, EntryKind
from kit.image.oci import CONFIG_TYPE, LAYER_TYPE, MANIFEST_TYPE
from kit.image.tarball import header

ASSETS = Path(__file__).resolve().parents[2] / "assets" / "bundles"
EPOCH = 1_783_728_000


def press() -> ModuleType:
    """The module that prints run folders, signed with TEST-ONLY keys."""
    return load_once("bundle_press", ASSETS / "press.py")


def capsule_of(filled: bool = False, oxum: int | None = None, size: int | None = None) -> bytes:
    """A capsule, of which `oxum` changes the stated payload and `size` the stated size of the last file."""
    files = {"data/run/a.txt": b"first\n", "data/run/b/c.bin": bytes(range(256)) * 9, "data/z": b"x"}
    if filled:
        files = {
            f"data/run/{name}": (ASSETS / name).read_bytes() for name in ("guest.log", "stamps", "signer.pem")
        }
        files["data/run/result.json"] = (ASSETS / "good.json").read_bytes()
        files["data/run/submission/train_gpt2.py"] = (ASSETS / "submission" / "train_gpt2.py").read_bytes()
        manifest = manifest_of()
        files[f"data/image/blobs/sha256/{sha256_bytes(manifest)}"] = manifest
    parts = {path: part_of_bytes(data) for path, data in files.items()}
    total = bag.Oxum(sum(p.size for p in parts.values()) if oxum is None else oxum, len(parts))
    given = {bag.INFO: bag.info(total, "r03", "2026-01-01", "0"), bag.RUN_MD: b"# run\n"}
    sink = io.BytesIO()
    write_capsule(parts, given, EPOCH, sink, no_progress, "pack")
    if size is None:
        return sink.getvalue()
    honest = header(ArchiveEntry("capsule/data/z", EntryKind.FILE, 0o644, "", 1), EPOCH)
    return sink.getvalue().replace(
        honest, header(ArchiveEntry("capsule/data/z", EntryKind.FILE, 0o644, "", size), EPOCH)
    )


def manifest_of() -> bytes:
    """An OCI image manifest."""

    def blob(kind: str, text: str) -> dict[str, object]:
        return {"mediaType": kind, "digest": f"sha256:{sha256_bytes(text.encode())}", "size": 7}

    layers = [blob(LAYER_TYPE, "one"), blob(LAYER_TYPE, "two")]
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": blob(CONFIG_TYPE, "c"),
        "layers": layers,
    }
    return canonical_json(document)


def _tar(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def deb_of(data: bytes | None = None, pack=lzma.compress, suffix: str = ".xz") -> bytes:
    """A Debian package called hello."""
    control = b"Package: hello\nVersion: 1.0-1\nArchitecture: all\nDescription: test\n"
    inner = (
        _tar({"./usr/bin/hello": b"#!/bin/sh\n", "./usr/lib/" + "n" * 120: b"x"}) if data is None else data
    )
    out = b"!<arch>\n"
    for name, body in {
        "debian-binary": b"2.0\n",
        "control.tar.xz": lzma.compress(_tar({"./control": control})),
        f"data.tar{suffix}": pack(inner),
    }.items():
        out += (
            f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(body):<10}`\n".encode()
            + body
            + b"\n" * (len(body) % 2)
        )
    return out


def wheel_of(changed: dict[str, bytes] | None = None) -> bytes:
    """A wheel called small, with some of its files replaced."""
    info = "small-2.0.dist-info"
    files = {
        "small.py": b"y = 2\n" * 50,
        "small-2.0.data/scripts/tool": b"#!python\nprint(1)\n",
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: small\nVersion: 2.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": b"[console_scripts]\nrun = small:main\n",
    }
    rows = "".join(
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}\n"
        for name, data in files.items()
    )
    files[f"{info}/RECORD"] = (rows + f"{info}/RECORD,,\n").encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {**files, **(changed or {})}.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()
