"""
Start the ranks of a script on one machine, with the variables that torchrun sets.

Imports no torch, so it is ready seconds earlier. Runs inside images; imports no kit.

    python3 ranks.py 2 29500 train_gpt2.py --lr 0.1
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

POLL_S = 0.02


def variables(rank: int, count: int, port: str) -> dict[str, str]:
    """Return the environment variables of one rank."""
    return {
        "GROUP_RANK": "0",
        "LOCAL_RANK": str(rank),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "RANK": str(rank),
        "ROLE_RANK": str(rank),
        "WORLD_SIZE": str(count),
    }


def main(argv: list[str]) -> int:
    """Run the ranks; end all when one fails. Return 0, or the code of the first that failed."""
    count, port, command = int(argv[0]), argv[1], argv[2:]
    ranks: list[subprocess.Popen[bytes]] = []

    def stop(*_: object) -> None:
        for process in ranks:
            process.kill()

    signal.signal(signal.SIGTERM, stop)
    for rank in range(count):
        env = {**os.environ, **variables(rank, count, port)}
        ranks.append(subprocess.Popen([sys.executable, *command], env=env))
    codes = [process.poll() for process in ranks]
    while None in codes and not any(codes):
        time.sleep(POLL_S)
        codes = [process.poll() for process in ranks]
    stop()
    failed = next((code for code in codes if code), 0)
    for process in ranks:
        process.wait()
    return failed if failed >= 0 else 128 - failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
