"""Ports for programs that cannot choose one themselves."""

from __future__ import annotations

import contextlib
import itertools
import random
import socket
from pathlib import Path


def free_ports(count: int) -> list[int]:
    """Return free ports that the kernel gives to nobody who does not ask for them: they stay free."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = random.SystemRandom().sample(range(first // 2, first), 100)
    return list(itertools.islice(filter(_is_free, ports), count))


def _is_free(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_server(("", port)):
        return True
    return False
