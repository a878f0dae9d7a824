"""
What a machine's owner switched off between its GPUs, by variables that NCCL and its like read. Sets nothing.

Some machines hang or fail where a library uses every link that it finds: virtual ones without the switch's
multicast, say. Their owners set one of these variables, and a guest, who gets no other of the operator's
environment, has to have it, too. A result says so, and is not ranked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from kit.core.errors import UsageError

SETTINGS = (
    "NCCL_NVLS_ENABLE",
    "NCCL_P2P_DISABLE",
    "NCCL_SHM_DISABLE",
    "NVSHMEM_DISABLE_NVLS",
    "TORCH_SYMM_MEM_DISABLE_MULTICAST",
)
"""
Those alone: each can only take a link away. See:
https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/env.html
"""
VALUE = re.compile(r"[0-9A-Za-z_]{1,16}", re.ASCII)

Settings = tuple[tuple[str, str], ...]
"""(name, value), sorted by name."""


def settings_in(env: Mapping[str, str]) -> Settings:
    """Return those of `SETTINGS` that are in `env`. Raises `UsageError` for a value that none of them has."""
    found = tuple((name, env[name]) for name in SETTINGS if name in env)
    for name, value in found:
        if not VALUE.fullmatch(value):
            raise UsageError(f"{name}={value[:64]!r} is no setting of a link", f"unset {name}, or: {name}=0")
    return found


def format_settings(settings: Settings) -> str:
    """Say them as a shell would."""
    return " ".join(f"{name}={value}" for name, value in settings)
