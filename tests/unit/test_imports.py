"""Every module of the kit can be the first that is imported: none needs another to have been there before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
EACH_FIRST = """\
import importlib, sys
for name in sys.argv[1:]:
    for known in [m for m in sys.modules if m.split(".")[0] == "kit"]:
        del sys.modules[known]
    try:
        importlib.import_module(name)
    except ImportError as e:
        print(f"{name}: {e}")
"""


def modules() -> list[str]:
    files = [p.relative_to(REPOSITORY) for p in sorted((REPOSITORY / "kit").rglob("*.py"))]
    return [".".join(p.with_suffix("").parts).removesuffix(".__init__") for p in files
            if p.parts[1] != "guest" and p.name != "__main__.py"]  # fmt: skip


def test_every_module_can_be_imported_first(tmp_path):
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-X", f"pycache_prefix={tmp_path}", "-c", EACH_FIRST, *modules()]
    done = subprocess.run(command, env=env, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(modules()) > 100
