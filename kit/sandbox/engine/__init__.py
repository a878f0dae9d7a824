"""
Client for a container engine: Docker or Podman behind a unix socket, through Docker's API.

`kit.cli` finds the socket's address. An engine's answers are claims, not proof.
"""

from kit.sandbox.engine.api import (
    DEFAULT_ENGINE,
    PATIENCE_S,
    Container,
    Engine,
    EngineInfo,
    EngineName,
    SocketFinder,
    answers,
    default_engine,
)
from kit.sandbox.engine.wire import frames

__all__ = [
    "DEFAULT_ENGINE",
    "PATIENCE_S",
    "Container",
    "Engine",
    "EngineInfo",
    "EngineName",
    "SocketFinder",
    "answers",
    "default_engine",
    "frames",
]
