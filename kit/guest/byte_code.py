"""
Compile the image's Python files that these modules import, and print them. Imports no kit.

Runs inside an image, in a container that has no submission. Each line of stdout is one compiled file: its
path below `sys.pycache_prefix`, a blank, and its bytes as base64 of zlib.

    python3 -I -X pycache_prefix=/tmp/pycache byte_code.py torch torch.distributed.run
"""

from __future__ import annotations

import base64
import importlib
import os
import sys
import zlib


def loaded_files() -> list[str]:
    """Return the compiled files of the modules that are loaded, sorted."""
    named = (getattr(module, "__cached__", None) for module in list(sys.modules.values()))
    return sorted({path for path in named if isinstance(path, str) and os.path.exists(path)})


def main(modules: list[str]) -> None:
    """Import the modules, and print the compiled files of all that were loaded."""
    for name in modules:
        importlib.import_module(name)
    for path in loaded_files():
        with open(path, "rb") as file:
            data = base64.b64encode(zlib.compress(file.read(), 1)).decode()
        print(os.path.relpath(path, sys.pycache_prefix), data)


if __name__ == "__main__":
    main(sys.argv[1:])
