"""Collect wheels of the running kit and its dependencies, to install it without a network."""

from __future__ import annotations

import base64
import contextlib
import csv
import hashlib
import importlib.metadata
import importlib.util
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from packaging.utils import canonicalize_name

from kit.capsule.guide import EXTRAS, KIT_PROJECT
from kit.core.download import repeated
from kit.core.errors import PrerequisiteError
from kit.core.extras import pip_install, reinstall_command
from kit.core.facts import PACKAGE
from kit.core.store import Progress, no_progress
from kit.core.system import python_module

EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time of every file in a wheel that is made here: the earliest that zip supports."""
_ABOUT_THIS_PLACE = ("INSTALLER", "REQUESTED", "RECORD", "direct_url.json", "uv_cache.json")
"""Files that an installer adds to .dist-info."""


@contextlib.contextmanager
def kit_wheels(progress: Progress = no_progress) -> Iterator[tuple[Path, ...]]:
    """
    Provide the wheels of the running kit and its dependencies, in the installed versions.

    Dependencies come from the index of this machine's pip; those of the extras `docker` and `gpu` are
    included if they are installed. Raises `PrerequisiteError` with pip's error if one is not found.
    """
    if importlib.util.find_spec("pip") is None:
        raise PrerequisiteError("pip is not installed in this Python", f"{sys.executable} -m ensurepip")
    with tempfile.TemporaryDirectory(prefix="speedrun-wheels-") as name:
        folder = Path(name)
        own, every = folder / "own", folder / "every"
        own.mkdir()
        wheel = build_wheel(PACKAGE.parent, own) if _is_checkout() else repack_installed(KIT_PROJECT, own)
        with repeated(progress, "download the wheels of speedrun-kit"):
            _download(wheel, folder / "constraints.txt", every)
        yield tuple(sorted(every.glob("*.whl")))


def _is_checkout() -> bool:
    return (PACKAGE.parent / "pyproject.toml").is_file()


def build_wheel(source: Path, folder: Path) -> Path:
    """Build the wheel of a source tree into a directory. Raises `PrerequisiteError` with pip's error."""
    _pip("wheel", "--no-deps", "--wheel-dir", str(folder), str(source))
    (wheel,) = folder.glob("*.whl")
    return wheel


def repack_installed(project: str, folder: Path) -> Path:
    """
    Write the wheel of an installed project into a directory, from its installed files.

    Raises `PrerequisiteError` if the project was not installed from a wheel, or if a file is missing or
    changed.
    """
    try:
        distribution = importlib.metadata.distribution(project)
    except importlib.metadata.PackageNotFoundError as e:
        raise PrerequisiteError(
            f"{project} is not installed in this Python", "run the speedrun command of an installation"
        ) from e
    info = f"{project.replace('-', '_')}-{distribution.version}.dist-info"
    contents: dict[str, bytes] = {}
    for file in _recorded(distribution):
        path = PurePosixPath(file)
        about_this_place = path.parent.name.endswith(".dist-info") and path.name in _ABOUT_THIS_PLACE
        if ".." in path.parts or path.suffix == ".pyc" or about_this_place:
            continue
        contents[str(path)] = _installed_bytes(distribution, file, project)
    metadata = contents.get(f"{info}/WHEEL")
    if metadata is None or f"{info}/METADATA" not in contents:
        raise PrerequisiteError(f"{project} was not installed from a wheel", _reinstall(project))
    tags = [line.split(": ", 1)[1] for line in metadata.decode().splitlines() if line.startswith("Tag: ")]
    rows = [f"{name},sha256={_urlsafe(data)},{len(data)}" for name, data in sorted(contents.items())]
    contents[f"{info}/RECORD"] = "".join(f"{row}\n" for row in (*rows, f"{info}/RECORD,,")).encode()
    wheel = folder / f"{project.replace('-', '_')}-{distribution.version}-{tags[0]}.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(contents.items(), key=lambda item: (".dist-info/" in item[0], item[0])):
            member = zipfile.ZipInfo(name, EPOCH)
            member.external_attr = 0o100644 << 16
            archive.writestr(member, data, zipfile.ZIP_DEFLATED)
    return wheel


def _reinstall(project: str) -> str:
    return reinstall_command() if project == KIT_PROJECT else pip_install("--force-reinstall", project)


def _recorded(distribution: importlib.metadata.Distribution) -> list[importlib.metadata.PackagePath]:
    """Return the files of RECORD; from Python 3.12 on, `distribution.files` leaves out missing ones."""
    present = list(distribution.files or ())
    names = {str(file) for file in present}
    lines = (distribution.read_text("RECORD") or "").splitlines()
    gone = sorted(row[0] for row in csv.reader(lines) if row and row[0] not in names)
    return present + [importlib.metadata.PackagePath(name) for name in gone]


def _installed_bytes(
    distribution: importlib.metadata.Distribution, file: importlib.metadata.PackagePath, project: str
) -> bytes:
    try:
        data = Path(str(distribution.locate_file(file))).read_bytes()
    except OSError as e:
        raise PrerequisiteError(f"cannot read {file} of {project}: {e.strerror}", _reinstall(project)) from e
    if file.hash is not None and (file.hash.mode, file.hash.value) != ("sha256", _urlsafe(data)):
        raise PrerequisiteError(
            f"checksum mismatch: {file} of {project} was changed after installation",
            _reinstall(project),
        )
    return data


def _urlsafe(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _download(wheel: Path, constraints: Path, folder: Path) -> None:
    """Download the wheel's dependencies with pip, in the installed versions, into a directory."""
    versions = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}
    lines = [f"{name}=={version}\n" for name, version in sorted(versions.items()) if name != KIT_PROJECT]
    constraints.write_text("".join(lines), encoding="utf-8")
    known = {canonicalize_name(name) for name in versions}
    extras = ",".join(sorted(extra for project, extra in EXTRAS.items() if project in known))
    requirement = f"{KIT_PROJECT}[{extras}] @ {wheel.as_uri()}" if extras else str(wheel)
    _pip(
        "download", "--only-binary", ":all:", "--dest", str(folder), "--constraint", str(constraints),
        requirement,
    )  # fmt: skip


def _pip(command: str, *arguments: str) -> None:
    options = ("--quiet", "--no-input", "--disable-pip-version-check", "--retries", "2")
    argv = [*python_module("pip"), command, *options, *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")] or [
            "ERROR: no error message"
        ]
        raise PrerequisiteError(
            f"pip {command} failed: {errors[-1].removeprefix('ERROR: ')[:300]}",
            "check the index that pip is configured for: pip config list",
        )
