"""Parse REGISTRY/REPOSITORY:TAG, the place of an image in a registry."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from kit.core.errors import UsageError

EXAMPLE = "for example: registry.example/me/speedrun-kit:cpu"
DOCKER_HUB = "docker.io"
DOCKER_HUB_API = "registry-1.docker.io"
"""The host that serves Docker Hub's API."""

_HOST = re.compile(
    r"(?:localhost|[A-Za-z0-9.-]*[.][A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+(?=:))(?::[0-9]{1,5})?"
)
_NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
MAX_NAME = 255


@dataclass(frozen=True, slots=True)
class RegistryReference:
    """The place of an image in a registry."""

    registry: str
    """Host, with the port if one is given."""
    repository: str
    tag: str

    def __str__(self) -> str:
        return f"{self.registry}/{self.repository}:{self.tag}"

    @property
    def api_host(self) -> str:
        """The host, and port, that serve the registry's API."""
        return DOCKER_HUB_API if self.registry == DOCKER_HUB else self.registry

    @property
    def is_loopback(self) -> bool:
        """Whether the registry is on this machine."""
        host = re.sub(r":[0-9]+$", "", self.registry).strip("[]")
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


def parse_reference(text: str) -> RegistryReference:
    """
    Return the parts of REGISTRY/REPOSITORY:TAG. Raises `UsageError` that names the invalid part.

    See: https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#pulling-manifests
    """
    plain = text.removeprefix("docker://")
    registry, slash, rest = plain.partition("/")
    if not slash or not _HOST.fullmatch(registry):
        raise UsageError(f"{text!r} names no registry", EXAMPLE)
    if "@" in rest:
        raise UsageError(f"{text!r} has a digest: the digest follows from the image", EXAMPLE)
    repository, _, tag = rest.partition(":")
    if not tag:
        raise UsageError(f"{text!r} has no tag", EXAMPLE)
    if not _TAG.fullmatch(tag):
        raise UsageError(f"invalid tag {tag!r}: use letters, digits, '_', '.' and '-', at most 128", EXAMPLE)
    return RegistryReference(registry, parse_repository(repository), tag)


def parse_repository(name: str) -> str:
    """Return `name` if it is the name of a repository. Raises `UsageError` otherwise."""
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise UsageError(
            f"invalid repository {name!r}: use lower-case letters, digits and '/', '.', '_', '-'", EXAMPLE
        )
    return name
