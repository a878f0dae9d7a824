"""
`--image host`: a read-only root file system made of selected directories of this machine, without copies.

Mounts the system's programs and libraries, a few files of /etc and the prefix of one Python interpreter.
Never mounts the whole of `/`, `/run`, `/var`, `/root`, `/home` or `/tmp`.
"""

from __future__ import annotations

import functools
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kit.core.errors import PrerequisiteError

SYSTEM = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32")
ETC = ("ld.so.cache", "alternatives", "nsswitch.conf", "localtime")
EMPTY = ("dev", "proc", "sys", "tmp", "input", "data", "workspace", "etc")
FILES = {
    "passwd": "root:x:0:0:root:/:/bin/sh\nguest:x:65532:65532:guest:/workspace:/bin/sh\n",
    "group": "root:x:0:\nguest:x:65532:\n",
    "hosts": "127.0.0.1 localhost\n",
}
FORBIDDEN = tuple(map(Path, ("/", "/run", "/var", "/root", "/home", "/tmp", "/etc", "/proc", "/sys", "/dev")))  # noqa: S108


def build(folder: Path, python: Path) -> tuple[Path, tuple[tuple[Path, PurePosixPath], ...]]:
    """
    Create the skeleton in `folder` and return it with the read-only binds that fill it.

    Raises `PrerequisiteError` if the interpreter's prefix is in `FORBIDDEN`.
    """
    # chmod: the guest has another uid, and the operator's umask may deny others access
    for made in (folder, *(folder / name for name in EMPTY)):
        made.mkdir()
        made.chmod(0o755)
    for name, text in FILES.items():
        (folder / "etc" / name).write_text(text)
        (folder / "etc" / name).chmod(0o644)
    binds: list[Path] = []
    for name in SYSTEM:
        source = Path("/") / name
        if source.is_symlink():
            (folder / name).symlink_to(source.readlink())
        elif source.is_dir():
            binds.append(source)
    binds += [Path("/etc") / name for name in ETC if (Path("/etc") / name).exists()]
    binds += [prefix for prefix in interpreter(python).prefixes if not prefix.is_relative_to("/usr")]
    for source in binds:
        _make_target(folder, source)
    (folder / "tmp").chmod(0o1777)  # runc gives a tmpfs the mode of the folder under it
    return folder, tuple((source, PurePosixPath(source)) for source in binds)


def _make_target(folder: Path, source: Path) -> None:
    target = folder / source.relative_to("/")
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
        target.chmod(0o644)
    for parent in (target, *target.parents):
        if parent == folder:
            break
        if not parent.is_file():
            parent.chmod(0o755)


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python interpreter of this machine."""

    executable: Path
    """The interpreter's binary; the program on the PATH may be a wrapper script."""
    prefixes: tuple[Path, ...]
    """The directories of its installation: of the virtual environment and of the base interpreter."""


@functools.cache
def interpreter(python: Path) -> Interpreter:
    """Return an interpreter's paths. Raises `PrerequisiteError` if it fails or its prefix is `FORBIDDEN`."""
    code = "import sys, json; print(json.dumps([sys.executable, sys.prefix, sys.base_prefix]))"
    try:
        said = subprocess.run(
            [str(python), "-I", "-c", code], capture_output=True, timeout=60, check=True
        ).stdout
        executable, *prefix_texts = json.loads(said)
    except (OSError, subprocess.SubprocessError, ValueError) as e:
        raise PrerequisiteError(
            f"{python} is not a working Python interpreter", "pass another one with --python"
        ) from e
    prefixes = tuple(sorted({Path(p).resolve() for p in prefix_texts}))
    for prefix in prefixes:
        if prefix in FORBIDDEN:
            raise PrerequisiteError(
                f"cannot use the interpreter {python}: its prefix {prefix} may not be mounted into a guest",
                "create a virtual environment in a new directory and use its interpreter",
            )
    return Interpreter(Path(executable), prefixes)


def require_torch(python: Path | None) -> None:
    """Raise `PrerequisiteError` unless the interpreter has torch, which is not imported."""
    if python is None:
        raise PrerequisiteError("found no Python interpreter", "pass one that has torch with --python")
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec('torch') is None)"
    executable = interpreter(python).executable
    # modules are searched in the working directory, which may be an agent's; -P is too new for any --python
    done = subprocess.run(
        [str(executable), "-c", code], cwd="/", capture_output=True, timeout=60, check=False
    )
    if done.returncode != 0:
        raise PrerequisiteError(f"{executable} has no torch", "pass another interpreter with --python")
