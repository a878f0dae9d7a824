"""
The engine: Docker or Podman behind a unix socket, asked through Docker's API. Starts no run, judges no image.

The socket's address is a value that `kit.cli` finds out. What an engine answers is its word, not proof.
"""

from kit.sandbox.engine.api import (
    DEFAULT_ENGINE,
    PATIENCE_S,
    Container,
    Engine,
    EngineInfo,
    EngineName,
    answers,
)
from kit.sandbox.engine.wire import frames

__all__ = [
    "DEFAULT_ENGINE",
    "PATIENCE_S",
    "Container",
    "Engine",
    "EngineInfo",
    "EngineName",
    "answers",
    "frames",
]
