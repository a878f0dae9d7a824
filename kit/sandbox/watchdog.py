"""
The watchdog: a separate process that kills a run's guest if speedrun dies.

It reads a pipe from speedrun. A `.` means that the guest has ended normally. End of file without it means
that speedrun was killed: then the watchdog kills the guest, however long that takes.

    python -m kit.sandbox.watchdog RUNTIME STATE RUN_ID
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from kit.core.errors import RunError
from kit.values.run_spec import RuntimeName

ENDS_WITHIN_S = 20.0
"""Seconds that a watchdog may take to exit after the guest has ended."""
QUIET_ROUNDS = 3
PAUSE_S = 0.1


@contextlib.contextmanager
def watchdog(reaper: Sequence[str]) -> Iterator[None]:
    """Run a watchdog during the block; if this process dies in the block, the watchdog kills the guest."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "kit.sandbox.watchdog", *reaper],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdin and process.stdout  # noqa: S101 - set by PIPE
    try:
        if process.stdout.readline() != b"ready\n":
            raise RunError(
                "the watchdog process did not start",
                "check free memory (free -h) and this user's process limit (ulimit -u)",
            )
        yield
    finally:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(b".")
            process.stdin.close()
        process.stdout.close()
        try:
            process.wait(timeout=ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


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
