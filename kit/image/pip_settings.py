"""Read from pip's settings how it accesses package indexes: indexes, logins, certificates, proxy."""

from __future__ import annotations

import ast
import functools
import netrc
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from kit.core.access import Login, WebAccess
from kit.core.errors import UsageError
from kit.core.system import python_module

HONOURED = (
    "cache-dir", "cert", "client-cert", "default-timeout", "extra-index-url", "find-links", "index-url",
    "keyring-provider", "no-cache-dir", "no-index", "proxy", "retries", "timeout", "trusted-host",
    "use-deprecated",
)  # fmt: skip
"""
The settings of pip that say where wheels are and how to get there.

All others say what is installed and where to, for example `target` or `constraint`; they do not apply to the
wheels of an image, which its lock names.
"""
_SECTIONS = (":env:", "install", "global")
"""The sections that `pip install` reads, strongest first."""
_ONE_FILE = ("PIP_USER", "PIP_GLOBAL", "PIP_SITE")
"""Options of `pip config` that list one file alone; `user = true` is also a setting of `pip install`."""
_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_VARIABLES = (*_CA_VARIABLES, "NETRC", "HOME", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "VIRTUAL_ENV")
"""What else decides which settings apply."""
_BROKEN = re.compile(r"^WARNING: Retrying .* after connection broken by '(.*)': \S*$", re.MULTILINE)
"""The warning of pip, which the error after it does not repeat: `No matching distribution found`."""
_TRUE = ("1", "true", "yes", "on")


@dataclass(frozen=True, slots=True)
class PipSettings:
    """The settings that count for the wheels of an image."""

    options: tuple[tuple[str, str], ...]
    """Options of `HONOURED` and their values, sorted by name."""
    access: WebAccess

    @property
    def uses_no_index(self) -> bool:
        """Tell whether pip may use no index."""
        return dict(self.options).get("no-index", "").lower() in _TRUE

    def environment(self, env: Mapping[str, str]) -> dict[str, str]:
        """Return `env` with these settings of pip and no others, whatever files of settings exist."""
        kept = {name: value for name, value in env.items() if not name.startswith("PIP_")}
        return {**kept, "PIP_CONFIG_FILE": os.devnull, **{_variable(o): value for o, value in self.options}}


def pip_settings() -> PipSettings:
    """
    Return the settings of this machine's pip. Keyrings are NOT read, as pip does not with --no-input.

    pip's report leaves passwords out of the URLs, so the download needs them from the settings. Raises
    `UsageError` if pip cannot read its own files of settings.
    """
    read = {k: v for k, v in os.environ.items() if k.startswith("PIP_") or k in _VARIABLES}
    return _read(tuple(sorted(read.items())))


def pip_access() -> WebAccess:
    """Return the access of this machine's pip; see `pip_settings`."""
    return pip_settings().access


@functools.cache
def _read(env: tuple[tuple[str, str], ...]) -> PipSettings:
    # three times verbose: settings such as `quiet` must not hide the answer
    command = [*python_module("pip"), "--disable-pip-version-check", "config", "list", "-vvv"]
    honoured = {"PIP_CONFIG_FILE", *map(_variable, HONOURED)}
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PIP_") or k in honoured}
    clean |= dict.fromkeys(_ONE_FILE, "0")
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=clean)
    if done.returncode != 0:
        raise UsageError(
            f"pip cannot read its settings: {' '.join(done.stderr.split())[:300]}",
            "correct the files of: pip config debug",
        )
    return read_settings(done.stdout, dict(env))


def last_line(text: str) -> str:
    """Return the last line of what pip printed about an error, without its prefix."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    marked = [line for line in lines if line.startswith("ERROR:")]
    return (marked or lines or ["pip failed without a message"])[-1].removeprefix("ERROR: ")[:300]


def broken_connection(text: str) -> str | None:
    """Return why pip could not connect to an index, from its last warning about it; None if it could."""
    found = _BROKEN.findall(text)
    return found[-1][:300] if found else None


def read_settings(config: str, env: Mapping[str, str]) -> PipSettings:
    """Return the settings that the output of `pip config list` and the environment state."""
    settings = dict(_settings(config))

    def first(name: str) -> str | None:
        return next((v for s in _SECTIONS if (v := settings.get(f"{s}.{name}"))), None)

    urls = [
        url
        for section in _SECTIONS
        for name in ("index-url", "extra-index-url", "find-links")
        for url in settings.get(f"{section}.{name}", "").split()
    ]
    bundle = next((env[name] for name in _CA_VARIABLES if env.get(name)), None)
    client = first("client-cert")
    access = WebAccess(
        logins=(*_index_logins(urls), *_netrc_logins(urls, env)),
        authorities=tuple(_expanded(p) for p in (bundle or first("cert"),) if p),
        client_cert=_expanded(client) if client else None,
        proxy=first("proxy"),
        trusted=tuple((first("trusted-host") or "").split()),
    )
    return PipSettings(tuple((name, value) for name in HONOURED if (value := first(name))), access)


def _variable(option: str) -> str:
    return "PIP_" + option.upper().replace("-", "_")


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
