"""Tiny packages and a tiny era, made on the spot."""

from __future__ import annotations

import base64
import hashlib
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from kit.core.digest import sha256_file
from kit.image.lock import Deb, Wheel, write_lock
from kit.image.spec import EraSpec, read_spec

IMAGE_TOML = """\
era = "tiny"
summary = "An image small enough for a test"
epoch = 2026-07-11T00:00:00Z
python = "3.11"
[wheels]
requirements = ["big==1.0", "small==2.0"]
own-layer = ["big"]
[debian]
suite = "bookworm"
packages = ["hello"]
[env]
PATH = "/usr/local/bin:/usr/bin"
LANG = "C.UTF-8"
[[fidelity]]
component = "torch"
version = "none"
level = "unknown"
why = "a test"
"""


def tar(members: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """Return an uncompressed tar of these members, as they are."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def member(
    name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, **fields: object
) -> tuple[tarfile.TarInfo, bytes]:
    """Return one tar member."""
    info = tarfile.TarInfo(name)
    info.type = kind
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def ar(members: dict[str, bytes]) -> bytes:
    """Return an ar archive as dpkg-deb writes it."""
    out = b"!<arch>\n"
    for name, data in members.items():
        out += (
            f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode()
            + data
            + b"\n" * (len(data) % 2)
        )
    return out


@dataclass(frozen=True)
class Kitchen:
    """Makes packages in a folder and says what a lock would say of them."""

    folder: Path

    def deb(
        self,
        members: list[tuple[tarfile.TarInfo, bytes]],
        package: str = "hello",
        version: str = "1.0-1",
        said: str | None = None,
        compress: Callable[[bytes], bytes] = lzma.compress,
        suffix: str = ".xz",
    ) -> Deb:
        control = (
            f"Package: {package}\nVersion: {said or version}\nArchitecture: all\nDescription: test\n".encode()
        )
        data = ar(
            {
                "debian-binary": b"2.0\n",
                "control.tar.xz": lzma.compress(tar([member("./control", control)])),
                f"data.tar{suffix}": compress(tar(members)),
            }
        )
        return self.raw_deb(data, package, version)

    def raw_deb(self, data: bytes, package: str = "hello", version: str = "1.0-1") -> Deb:
        path = self.folder / f"{package}_{version}_all.deb"
        path.write_bytes(data)
        sha1 = hashlib.sha1(data).hexdigest()
        return Deb(
            path.name,
            len(data),
            sha256_file(path),
            package,
            version,
            sha1,
            f"pool/main/h/{package}/{path.name}",
        )

    def wheel(
        self,
        files: dict[str, bytes],
        project: str = "small",
        version: str = "2.0",
        entry_points: str = "",
        wheel_version: str = "1.0",
        leave_out_of_record: tuple[str, ...] = (),
        extra: list[tuple[zipfile.ZipInfo, bytes]] | None = None,
        executable: tuple[str, ...] = (),
    ) -> Wheel:
        info = f"{project.replace('-', '_')}-{version}.dist-info"
        content = {
            **files,
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n".encode(),
            f"{info}/WHEEL": f"Wheel-Version: {wheel_version}\nGenerator: test\nRoot-Is-Purelib: true\n"
            "Tag: py3-none-any\n".encode(),
        }
        if entry_points:
            content[f"{info}/entry_points.txt"] = entry_points.encode()
        rows = "".join(
            f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}\n"
            for name, data in content.items()
            if name not in leave_out_of_record
        )
        content[f"{info}/RECORD"] = (rows + f"{info}/RECORD,,\n").encode()
        path = self.folder / f"{project.replace('-', '_')}-{version}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in content.items():
                item = zipfile.ZipInfo(name)
                item.external_attr = (0o100755 if name in executable else 0o100644) << 16
                archive.writestr(item, data, zipfile.ZIP_DEFLATED)
            for item, data in extra or []:
                archive.writestr(item, data, zipfile.ZIP_DEFLATED)
        return Wheel(path.name, path.stat().st_size, sha256_file(path), project, version)


@dataclass(frozen=True)
class Tiny:
    """An era with one deb and two wheels, locked but not yet promised."""

    images: Path
    mirror: Path
    spec: EraSpec = field(compare=False)


def era(root: Path) -> Tiny:
    """Write the tiny era's image.toml, packages and lock below `root`."""
    images, mirror = root / "images", root / "packages"
    (images / "tiny").mkdir(parents=True)
    mirror.mkdir(exist_ok=True)
    (images / "tiny" / "image.toml").write_text(IMAGE_TOML)
    kitchen = Kitchen(mirror)
    deb = kitchen.deb(
        [
            member("./", kind=tarfile.DIRTYPE),
            member("./bin", kind=tarfile.DIRTYPE),
            member("./bin/hello", b"#!/bin/sh\necho hello\n", mode=0o4755),
            member("./usr/share/doc/hello/copyright", b"free\n"),
            member("./usr/share/doc/hello/changelog", b"much\n"),
            member("./usr/lib/hello.so", kind=tarfile.SYMTYPE, linkname="/lib/hello.so.1"),
        ]
    )
    big = kitchen.wheel(
        {"big/__init__.py": b"x = 1\n", "big/weights.bin": bytes(range(256)) * 4096},
        project="big",
        version="1.0",
        entry_points="[console_scripts]\nbigrun = big.cli:main\n",
    )
    small = kitchen.wheel({"small.py": b"y = 2\n", "small/data/" + "n" * 120 + ".txt": b"long name\n"})
    spec = read_spec(images, "tiny")
    write_lock(spec, (deb,), (small, big))
    return Tiny(images, mirror, spec)
