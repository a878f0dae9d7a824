"""
Read the machine's settings for the links between its GPUs, from environment variables of NCCL and similar.

Some machines hang or fail if a library uses every link, for example virtual machines without NVLink
multicast. Their owners disable links with one of these variables. A guest gets no other variable of the
operator, but it needs these. The result records the setting and is not ranked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from kit.core.errors import UsageError
from kit.values.hardware import LINK_VARIABLES, LinkSettings

VALUE = re.compile(r"[0-9A-Za-z_]{1,16}", re.ASCII)


def settings_in(env: Mapping[str, str]) -> LinkSettings:
    """Return the `LINK_VARIABLES` in `env`. Raises `UsageError` for an invalid value."""
    settings = tuple((name, env[name]) for name in LINK_VARIABLES if name in env)
    for name, value in settings:
        if not VALUE.fullmatch(value):
            raise UsageError(f"invalid value: {name}={value[:64]!r}", f"unset {name}, or set {name}=0")
    return settings
