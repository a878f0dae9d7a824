"""
Bring compiled code out of a guest, or into one. Runs inside images; imports no kit.

    python3 -I -S compile_cache.py keep <token> torchrun ...    run a command, then print its caches
    python3 -I -S compile_cache.py use torchrun ...             copy the mounted cache, then exec the command

`keep` must be the first process of a container. When the command ends, or at SIGTERM, it kills every other
process and prints the files of both caches. Each line begins with the token: a path, a blank, and at most
`CHUNK` bytes as base64 of zlib. The last line is the token, `end` and the number of files.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import zlib
from collections.abc import Iterator

CACHES = {"inductor": "/tmp/inductor", "triton": "/tmp/triton"}
MOUNTED = "/input/compile-cache"
CHUNK = 1 << 20
"""Bytes of a file in one line."""
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=@-]{0,199}")
"""Names that are kept. Temporary files begin with a dot; their loss is a miss of the cache."""
LOCK = ".lock"
"""Suffix of Inductor's lock files, which are empty."""


class Terminated(Exception):
    """The host has seen enough."""


def kept_files(root: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the path of each file below a cache that is kept, in a fixed order."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if NAME.fullmatch(name))
        for name in sorted(names):
            path = os.path.join(folder, name)
            regular = stat.S_ISREG(os.lstat(path).st_mode)
            if regular and NAME.fullmatch(name) and not name.endswith(LOCK):
                yield os.path.relpath(path, root), path


def print_caches(token: str, caches: dict[str, str] = CACHES) -> None:
    """Print the files of the caches, and how many there are."""
    out, number = sys.stdout.buffer, 0
    out.write(b"\n")  # a process may have died within a line
    for cache, root in caches.items():
        for name, path in kept_files(root):
            number += 1
            with open(path, "rb") as file:
                chunk = file.read(CHUNK)
                while True:
                    data = base64.b64encode(zlib.compress(chunk, 1)).decode()
                    out.write(f"{token} {cache}/{name} {data}\n".encode())
                    if not (chunk := file.read(CHUNK)):
                        break
    out.write(f"{token} end {number}\n".encode())
    out.flush()


def keep(token: str, command: list[str]) -> int:
    """Run a command, end all that it left, and print the caches unless it failed. Return the exit code."""
    if os.getpid() != 1:
        sys.exit("compile_cache.py keep kills every process that it can: run it first in a container")

    def terminate(*_: object) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, terminate)
    try:
        code = subprocess.Popen(command).wait()
    except Terminated:
        code = 0
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while True:  # the first process inherits the children of all others
            os.wait()
    if code == 0:
        print_caches(token)
    return code if code >= 0 else 128 - code


def copy_caches(mounted: str = MOUNTED, caches: dict[str, str] = CACHES) -> None:
    """Copy each mounted cache to where the compiler looks for it; the copy can be written."""
    for cache, root in caches.items():
        if os.path.isdir(os.path.join(mounted, cache)):
            source = os.path.join(mounted, cache)
            shutil.copytree(source, root, copy_function=shutil.copyfile, dirs_exist_ok=True)


def main(argv: list[str]) -> int:
    """Keep the caches of a command, or become the command with the mounted caches."""
    if argv[0] == "keep":
        return keep(argv[1], argv[2:])
    copy_caches()
    os.execvp(argv[1], argv[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
