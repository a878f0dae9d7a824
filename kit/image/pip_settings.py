"""Read from pip's settings how it accesses package indexes: logins, certificates, proxy."""

from __future__ import annotations

import ast
import functools
import netrc
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from kit.core.access import Login, WebAccess

_SECTIONS = (":env:", "install", "global")
"""The sections that `pip install` reads, strongest first."""
_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_VARIABLES = (*_CA_VARIABLES, "NETRC", "HOME", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "VIRTUAL_ENV")
"""What else decides which settings apply."""


def pip_access() -> WebAccess:
    """
    Return the access of this machine's pip. Keyrings are NOT read, as pip does not with --no-input.

    pip's report leaves passwords out of the URLs, so the download needs them from the settings.
    """
    read = {k: v for k, v in os.environ.items() if k.startswith("PIP_") or k in _VARIABLES}
    return _read(tuple(sorted(read.items())))


@functools.cache
def _read(env: tuple[tuple[str, str], ...]) -> WebAccess:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "list"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return read_access(done.stdout if done.returncode == 0 else "", dict(env))


def read_access(config: str, env: Mapping[str, str]) -> WebAccess:
    """Return the access that the output of `pip config list` and the environment state."""
    settings = dict(_settings(config))

    def first(name: str) -> str | None:
        return next((v for s in _SECTIONS if (v := settings.get(f"{s}.{name}"))), None)

    urls = [
        url
        for section in _SECTIONS
        for name in ("index-url", "extra-index-url")
        for url in settings.get(f"{section}.{name}", "").split()
    ]
    bundle = next((env[name] for name in _CA_VARIABLES if env.get(name)), None)
    client = first("client-cert")
    return WebAccess(
        logins=(*_index_logins(urls), *_netrc_logins(urls, env)),
        authorities=tuple(_expanded(p) for p in (bundle or first("cert"),) if p),
        client_cert=_expanded(client) if client else None,
        proxy=first("proxy"),
    )


def _settings(config: str) -> Iterator[tuple[str, str]]:
    for line in config.splitlines():
        name, _, value = line.partition("=")
        try:
            text = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            continue
        if isinstance(text, str):
            yield name, text


def _index_logins(urls: list[str]) -> Iterator[Login]:
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or parts.username is None:
            continue
        plain = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        yield Login(plain, unquote(parts.username), unquote(parts.password or ""))


def _netrc_logins(urls: list[str], env: Mapping[str, str]) -> Iterator[Login]:
    """Yield the logins of `.netrc`; its default entry counts for the hosts of the indexes alone."""
    known = _read_netrc(env)
    if known is None:
        return
    indexes = {host for url in urls if (host := urlsplit(url).hostname)}
    for host in sorted(indexes | set(known.hosts) - {"default"}):
        found = known.authenticators(host)
        if found is not None:
            yield Login(f"//{host}", found[0] or "", found[2] or "")


def _read_netrc(env: Mapping[str, str]) -> netrc.netrc | None:
    """Return the parsed file that pip reads, None without a readable one."""
    named = env.get("NETRC")
    for path in [named] if named else ["~/.netrc", "~/_netrc"]:
        try:
            return netrc.netrc(_expanded(path))
        except FileNotFoundError:
            continue
        except (netrc.NetrcParseError, OSError, UnicodeDecodeError):
            return None
    return None


def _expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # a user without a home directory
        return Path(path)
