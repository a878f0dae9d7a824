"""The launcher of quick trials starts ranks as torchrun does, and leaves none behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kit.core.facts import guest_file

RANKS = guest_file("ranks.py")
SAY = "import os, sys; sys.stdout.write(' '.join(os.environ[n] for n in sys.argv[1:]) + '\\n')"


def start(folder: Path, code: str, *args: str, count: int = 2) -> subprocess.Popen[str]:
    (folder / "script.py").write_text(code)
    argv = [sys.executable, "-S", str(RANKS), str(count), "29500", "script.py", *args]
    return subprocess.Popen(argv, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_each_rank_gets_the_variables_of_torchrun_and_the_arguments(tmp_path: Path) -> None:
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    with start(tmp_path, SAY, *names, count=3) as process:
        out, err = process.communicate(timeout=300)
    assert sorted(out.splitlines()) == [f"{n} {n} 3 3 127.0.0.1 29500" for n in range(3)], err
    assert process.returncode == 0


def test_modules_beside_the_script_are_found(tmp_path: Path) -> None:
    (tmp_path / "kernels.py").write_text("x = 7\n")
    with start(tmp_path, "import kernels; print(kernels.x)", count=1) as process:
        assert process.communicate(timeout=300)[0] == "7\n"


@pytest.mark.parametrize(
    ("failing", "code"), [("sys.exit(3)", 3), ("os.kill(os.getpid(), 9)", 137), ("raise ValueError", 1)]
)
def test_when_one_rank_fails_the_others_are_ended(tmp_path: Path, failing: str, code: int) -> None:
    script = f"import os, sys, time\nif os.environ['RANK'] == '1': {failing}\ntime.sleep(600)\n"
    with start(tmp_path, script) as process:
        process.communicate(timeout=300)
    assert process.returncode == code


def test_sigterm_ends_all_ranks(tmp_path: Path) -> None:
    script = (
        "import os, sys, time\nsys.stdout.write(f'{os.getpid()}\\n')\nsys.stdout.flush()\ntime.sleep(600)\n"
    )
    with start(tmp_path, script) as process:
        assert process.stdout is not None
        pids = [int(process.stdout.readline()) for _ in range(2)]
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=300) == 137
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
