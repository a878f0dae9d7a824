"""Every module of the kit can be the first one that a program imports: none needs another to come before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import kit

EACH = """
import importlib, os, sys
import asyncio, concurrent.futures, email.parser, http.client, sqlite3, statistics, tomllib, urllib.request
import click, cryptography.hazmat.primitives.asymmetric.ec, cryptography.hazmat.primitives.serialization
import installer, isal, jsonschema, numpy, rfc8785
for name in sys.argv[1:]:
    if os.fork() == 0:
        try:
            importlib.import_module(name)
        except BaseException as e:
            print(f"{name}: {type(e).__name__}: {e}", flush=True)
        os._exit(0)
    os.wait()
"""
ROOT = Path(kit.__file__).parent


def modules() -> list[str]:
    """All but the files that run inside an image."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[0] != "guest" and parts[-1] != "__main__":
            found.append(".".join(("kit", *(p for p in parts if p != "__init__"))))
    return found


def test_each_module_can_be_imported_first():
    names = modules()
    assert len(names) > 150
    done = subprocess.run(
        [sys.executable, "-c", EACH, *names], capture_output=True, text=True, check=False, timeout=300
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
