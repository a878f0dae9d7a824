"""Look up wheels on the machine's Python index with pip and uv. Downloads no wheel."""

from __future__ import annotations

import datetime
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.utils import canonicalize_name

from kit.core.errors import KitError, NetworkError, PrerequisiteError
from kit.core.extras import pip_install
from kit.core.proxy import missing_library, proxies
from kit.core.system import python_module
from kit.image.pip_settings import PipSettings, broken_connection, last_line, pip_settings

PLATFORMS = (
    *(f"manylinux_2_{minor}_x86_64" for minor in range(28, 16, -1)),
    "manylinux2014_x86_64",
    "manylinux_2_12_x86_64",
    "manylinux2010_x86_64",
    "manylinux_2_5_x86_64",
    "manylinux1_x86_64",
    "linux_x86_64",
)
"""Every tag that Debian 12 can run, best first: pip does not derive older tags from the newest."""

_LOGIN = re.compile(r"//[^/@\s]+@")
"""User name and password in a URL; they are neither shown nor kept."""


@dataclass(frozen=True, slots=True)
class IndexWheel:
    """A wheel on the index."""

    project: str
    version: str
    url: str
    """https or file; never written into a lock."""
    sha256: str

    @property
    def file(self) -> str:
        """The wheel's file name."""
        return unquote(urlsplit(self.url).path.rsplit("/", 1)[-1])


def offers(
    requirements: tuple[str, ...], python: str, *, closure: bool, platforms: tuple[str, ...] = PLATFORMS
) -> tuple[IndexWheel, ...]:
    """
    Return the wheels that pip would install for CPython `python` on x86-64 Linux, sorted by name.

    Of the user's settings of pip only those of `kit.image.pip_settings.HONOURED` apply.
    With `closure`, dependencies too; the running interpreter evaluates their markers, so its version must
    be the same. Raises `PrerequisiteError` with pip's error if pip fails, `NetworkError` if pip could not
    connect to an index, or without PySocks for a SOCKS proxy.
    """
    if importlib.util.find_spec("pip") is None:
        raise PrerequisiteError("pip is not installed in this Python", f"{sys.executable} -m ensurepip")
    settings = pip_settings()
    with tempfile.TemporaryDirectory(prefix="speedrun-pip-") as folder:
        report = Path(folder) / "report.json"
        argv = _pip_dry_run(report, Path(folder) / "target", python, closure, platforms)
        done = subprocess.run(
            [*argv, "--", *requirements],
            capture_output=True,
            text=True,
            check=False,
            env=settings.environment(os.environ),
        )
        if done.returncode != 0:
            raise _pip_failure(done.stderr, settings)
        installs = json.loads(report.read_bytes())["install"]
    return tuple(sorted((_offer(i) for i in installs), key=lambda o: o.project))


def _pip_dry_run(
    report: Path, target: Path, python: str, closure: bool, platforms: tuple[str, ...]
) -> list[str]:
    """Return the command, without requirements, by which pip writes what it would install to `report`."""
    argv = [
        *python_module("pip"), "install", "--dry-run", "--ignore-installed", "--quiet",
        "--no-input", "--disable-pip-version-check", "--retries", "2", "--only-binary", ":all:",
        "--report", str(report), "--target", str(target),
        "--implementation", "cp", "--python-version", python,
        "--abi", "cp" + python.replace(".", ""), "--abi", "abi3", "--abi", "none",
    ]  # fmt: skip
    argv += [part for platform in platforms for part in ("--platform", platform)]
    return argv if closure else [*argv, "--no-deps"]


def _pip_failure(stderr: str, settings: PipSettings) -> KitError:
    """Return the error for what pip wrote to stderr, without the logins in its URLs."""
    if "dependencies for SOCKS" in stderr:
        return missing_library("the Python index through a SOCKS proxy", "PySocks")
    if "check proxy URL" in stderr:
        shown = " or ".join(sorted(set(proxies().values()))) or "in pip's settings"
        return NetworkError(
            f"cannot reach the Python index: invalid proxy {_LOGIN.sub('//', shown)}",
            "set https_proxy and http_proxy to a URL such as socks5h://HOST:PORT or http://HOST:PORT",
        )
    if "check_hostname requires server_hostname" in stderr:  # pip 24.2 to 26.0
        return NetworkError(
            "this version of pip cannot use an HTTPS index at an IP address",
            "set PIP_USE_DEPRECATED=legacy-certs, name the index by its host, or update pip",
        )
    broken = broken_connection(stderr)
    if broken is not None:
        return NetworkError(
            f"cannot reach the Python index: {_LOGIN.sub('//', broken)}",
            "check the network, https_proxy and the index: pip config list; or pass --mirror DIR",
        )
    without = " (pip may use no index: PIP_NO_INDEX or no-index in pip.conf is set)"
    return PrerequisiteError(
        _LOGIN.sub("//", last_line(stderr)) + (without if settings.uses_no_index else ""),
        "check the index that pip is configured for: pip config list",
    )


def _offer(item: dict[str, dict[str, object]]) -> IndexWheel:
    archive = item["download_info"].get("archive_info")
    digest = archive.get("hashes", {}).get("sha256", "") if isinstance(archive, dict) else ""
    metadata = item["metadata"]
    return IndexWheel(
        canonicalize_name(str(metadata["name"])),
        str(metadata["version"]),
        _LOGIN.sub("//", str(item["download_info"]["url"])),
        digest,
    )


def pins_before(requirements: tuple[str, ...], python: str, day: datetime.date) -> tuple[str, ...]:
    """
    Return exact pins of `requirements` and their dependencies as of the end of `day` (UTC), from uv.

    Raises `PrerequisiteError` if uv is not installed or cannot resolve them.
    """
    if importlib.util.find_spec("uv") is not None:
        uv = python_module("uv")
    elif (uv_path := shutil.which("uv")) is not None:
        uv = [str(Path(uv_path).absolute())]
    else:
        raise PrerequisiteError(
            "uv is not installed: it resolves the wheels as of the date in image.toml",
            pip_install("uv"),
        )
    limit = f"{day + datetime.timedelta(days=1)}T00:00:00Z"
    argv = [
        *uv, "pip", "compile", "--quiet", "--no-config", "--no-header", "--no-annotate",
        "--only-binary", ":all:", "--python-version", python,
        "--python-platform", "x86_64-manylinux_2_28", "--exclude-newer", limit, "-",
    ]  # fmt: skip
    given = "\n".join(requirements) + "\n"
    # uv runs the interpreter of a .venv in the working directory, which may be an agent's
    done = subprocess.run(argv, cwd="/", input=given, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PrerequisiteError(
            f"uv cannot resolve the wheels: {_LOGIN.sub('//', done.stderr.strip())[-400:]}",
            "check [wheels] in image.toml",
        )
    return tuple(line.strip() for line in done.stdout.splitlines() if line.strip())
