"""Find the login for a registry where docker, podman and skopeo keep it. Sends nothing."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kit.core.access import Login
from kit.core.errors import PrerequisiteError
from kit.image.registry.reference import DOCKER_HUB, RegistryReference

_HELPER = re.compile(r"[A-Za-z0-9._-]+")
HELPER_TIMEOUT_S = 30.0
IDENTITY_USER = "<token>"
"""The user name by which a helper marks an identity token."""
_HUB = ("index.docker.io", "registry-1.docker.io")
"""Other names of Docker Hub."""


@dataclass(frozen=True, slots=True)
class RegistryLogin:
    """What proves to a registry who asks: a user name and a password, or an identity token."""

    user: str = field(repr=False)
    password: str = field(repr=False)
    identity_token: str = field(default="", repr=False)
    source: str = ""
    """The file or the helper that it comes from."""

    def header(self) -> str:
        """Return the value of the Authorization header for basic authentication."""
        return Login("", self.user, self.password).header()


def login_files(env: Mapping[str, str]) -> list[Path]:
    """Return the files with logins, the one that counts first."""
    docker = env.get("DOCKER_CONFIG") or _home("~/.docker")
    runtime = env.get("XDG_RUNTIME_DIR")
    files = [
        env.get("REGISTRY_AUTH_FILE"),
        f"{docker}/config.json",
        runtime and f"{runtime}/containers/auth.json",
    ]
    return [Path(file) for file in files if file]


def find_login(reference: RegistryReference, env: Mapping[str, str] = os.environ) -> RegistryLogin | None:
    """
    Return the login for a repository, or None if no file has one.

    Raises `PrerequisiteError` if a file or an entry is malformed, or a credential helper fails.
    See: https://docs.docker.com/reference/cli/docker/login/#credential-stores
    """
    for file in login_files(env):
        try:
            text = file.read_bytes()
        except OSError:
            continue
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as e:
            raise _unreadable(file, "it is not JSON") from e
        login = _login_in(document, reference, file)
        if login is not None:
            return login
    return None


def _login_in(document: Any, reference: RegistryReference, file: Path) -> RegistryLogin | None:
    helpers = _table(document, "credHelpers", file)
    if helper := _closest(helpers, reference):
        return _from_helper(str(helper[1]), helper[0])
    entries = _table(document, "auths", file)
    if entry := _closest(entries, reference):
        login = _from_entry(entry[1], entry[0], file)
        if login is not None:
            return login
    store = document.get("credsStore")
    if store:
        return _from_helper(str(store), entry[0] if entry else reference.registry)
    return None


def _table(document: Any, name: str, file: Path) -> dict[str, Any]:
    if not isinstance(document, dict) or not isinstance(document.get(name) or {}, dict):
        raise _unreadable(file, f"no table {name}")
    return document.get(name) or {}


def _closest(entries: Mapping[str, Any], reference: RegistryReference) -> tuple[str, Any] | None:
    """Return the entry whose key names the registry, or the longest start of the repository."""
    whole = f"{reference.registry}/{reference.repository}/"
    named = [(key, value) for key, value in entries.items() if whole.startswith(f"{_place(key)}/")]
    return max(named, key=lambda pair: len(_place(pair[0])), default=None)


def _place(key: str) -> str:
    """Return a key of the file without its scheme and API version."""
    place = re.sub(r"/v[12]/?$", "", re.sub(r"^https?://", "", key)).rstrip("/")
    return DOCKER_HUB if place in _HUB else place


def _from_entry(entry: Any, key: str, file: Path) -> RegistryLogin | None:
    values = entry if isinstance(entry, dict) else {}
    token, auth = values.get("identitytoken"), values.get("auth")
    if token:
        return RegistryLogin("", "", str(token), str(file))
    if not auth:
        return None
    try:
        user, colon, password = base64.b64decode(str(auth), validate=True).decode().partition(":")
    except (binascii.Error, ValueError) as e:
        raise _unreadable(file, f"the login for {key} is not base64") from e
    if not colon:
        raise _unreadable(file, f"the login for {key} has no password")
    return RegistryLogin(user, password.rstrip("\0"), "", str(file))


def _from_helper(name: str, key: str) -> RegistryLogin | None:
    """Return the login that a credential helper has, None if it has none."""
    program = f"docker-credential-{name}"
    if not _HELPER.fullmatch(name):
        raise PrerequisiteError(
            f"invalid name of a credential helper: {name!r}", "check docker's config.json"
        )
    try:
        done = subprocess.run(
            [program, "get"], input=key, capture_output=True, text=True, timeout=HELPER_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as e:
        why = "not found" if isinstance(e, FileNotFoundError) else str(e)
        raise PrerequisiteError(
            f"the credential helper {program} failed: {why}", "install it, or log in again: docker login"
        ) from e
    if done.returncode:
        said = (done.stdout or done.stderr).strip()
        if "not found" in said:
            return None
        raise PrerequisiteError(
            f"the credential helper {program} failed: {said[:200]}", f"run it by hand: {program} get"
        )
    try:
        document = json.loads(done.stdout)
        user, secret = str(document["Username"]), str(document["Secret"])
    except (ValueError, KeyError, TypeError) as e:
        raise PrerequisiteError(f"{program} printed no login", f"run it by hand: {program} get") from e
    if user == IDENTITY_USER:
        return RegistryLogin("", "", secret, program)
    return RegistryLogin(user, secret, "", program)


def _home(path: str) -> str:
    try:
        return str(Path(path).expanduser())
    except RuntimeError:  # a user without a home directory
        return path


def _unreadable(file: Path, why: str) -> PrerequisiteError:
    return PrerequisiteError(f"cannot read the logins in {file}: {why}", "repair the file, or log in again")
