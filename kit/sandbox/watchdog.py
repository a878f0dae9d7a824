"""
The watchdog: a separate process that kills a run's guest if speedrun dies.

It reads a pipe from speedrun. A `.` means that the guest has ended normally. End of file without it means
that speedrun was killed: then the watchdog kills the guest, however long that takes.

    python -m kit.sandbox.watchdog RUNTIME STATE RUN_ID
"""

from __future__ import annotations

import kit.core.search_path  # noqa: F401 - before every other module

# isort: split
import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from kit.core.errors import RunError
from kit.core.extras import reinstall_command
from kit.core.system import python_module
from kit.values.run_spec import RuntimeName

ENDS_WITHIN_S = 20.0
"""Seconds that a watchdog may take to exit after the guest has ended."""
READY_WITHIN_S = 120.0
"""Seconds until a watchdog must be ready; a busy machine with a slow disk needs several."""
MOST_STDERR = 1 << 16
QUIET_ROUNDS = 3
PAUSE_S = 0.1


@contextlib.contextmanager
def watchdog(reaper: Sequence[str]) -> Iterator[None]:
    """
    Run a watchdog during the block; if this process dies in the block, the watchdog kills the guest.

    Raises `RunError` with the reason if the watchdog does not start.
    """
    process = _start(reaper)
    assert process.stdin and process.stdout and process.stderr  # noqa: S101 - set by PIPE
    try:
        answer = select.poll()
        answer.register(process.stdout, select.POLLIN)
        if not answer.poll(READY_WITHIN_S * 1000):
            raise _not_started(f"no answer within {READY_WITHIN_S:.0f} s")
        if process.stdout.readline() != b"ready\n":
            raise _not_started(_last_words(process))
        yield
    finally:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(b".")
            process.stdin.close()
        process.stdout.close()
        process.stderr.close()
        try:
            process.wait(timeout=ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _start(reaper: Sequence[str]) -> subprocess.Popen[bytes]:
    command = [*python_module("kit.sandbox.watchdog"), *reaper]
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as e:
        raise _not_started(f"{e.filename or 'cannot start a process'}: {e.strerror or e}") from e


def _not_started(reason: str) -> RunError:
    hint = "check free memory (free -h) and this user's process limit (ulimit -u)"
    if "No module named" in reason or "ImportError" in reason:
        hint = reinstall_command()
    return RunError(f"the watchdog process did not start: {reason}", hint)


def _last_words(process: subprocess.Popen[bytes]) -> str:
    """Return why a watchdog that closed its output ended: its last line on stderr, or its exit code."""
    assert process.stderr  # noqa: S101 - set by PIPE
    try:
        code = process.wait(timeout=ENDS_WITHIN_S)
    except subprocess.TimeoutExpired:
        return "it closed its output"
    os.set_blocking(process.stderr.fileno(), False)  # another process may hold the other end
    lines = (process.stderr.read(MOST_STDERR) or b"").decode(errors="replace").strip().splitlines()
    return lines[-1][:500] if lines else f"killed by signal {-code}" if code < 0 else f"exit code {code}"


def reap(runtime: RuntimeName, state: str, run_id: str) -> bool:
    """Kill and remove a run's guest in one attempt; return True if nothing of it is left."""
    match runtime:
        case RuntimeName.RUNC:
            from kit.sandbox.runtime import runc

            return runc.reap(Path(state), run_id)
        case RuntimeName.HOST:
            from kit.sandbox.runtime import host

            return host.reap(run_id)
        case RuntimeName.DOCKER:
            from kit.sandbox.runtime import docker

            return docker.reap(Path(state), run_id)


def main(argv: Sequence[str]) -> int:
    """Wait for speedrun to exit; return 0 once nothing of the guest is left."""
    runtime, state, run_id = RuntimeName(argv[0]), argv[1], argv[2]
    with Path(os.devnull).open("wb") as null:
        os.dup2(null.fileno(), sys.stderr.fileno())  # nobody reads the pipe if speedrun dies
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    if sys.stdin.buffer.read(1):
        return 0
    quiet = 0
    while quiet < QUIET_ROUNDS:
        # the guest may still be starting: repeat until several rounds in a row find nothing
        quiet = quiet + 1 if reap(runtime, state, run_id) else 0
        time.sleep(PAUSE_S)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
