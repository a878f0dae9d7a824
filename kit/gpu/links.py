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
from kit.values.hardware import LINK_VARIABLES, LinkSettings

VALUE = re.compile(r"[0-9A-Za-z_]{1,16}", re.ASCII)


def settings_in(env: Mapping[str, str]) -> LinkSettings:
    """Return the `LINK_VARIABLES` in `env`. Raises `UsageError` for a value that none of them can have."""
    settings = tuple((name, env[name]) for name in LINK_VARIABLES if name in env)
    for name, value in settings:
        if not VALUE.fullmatch(value):
            raise UsageError(f"{name}={value[:64]!r} is no setting of a link", f"unset {name}, or: {name}=0")
    return settings
