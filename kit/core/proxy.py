"""Find the proxy for a URL in the environment, and connect through a SOCKS proxy with PySocks."""

from __future__ import annotations

import functools
import importlib
import socket
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from kit.core.errors import NetworkError
from kit.core.extras import install_command

_SCHEMES = ("socks", "socks4", "socks4a", "socks5", "socks5h")
_PORT = 1080
_NAMES = {"socks": "PySocks", "socksio": "socksio"}
"""The distribution that has a module."""


def proxies(proxy: str | None = None) -> dict[str, str]:
    """
    Return the proxies for `http` and `https`: `proxy`, or those of the environment.

    The environment's are http_proxy and https_proxy, else all_proxy, in lower case or in capitals.
    """
    found = urllib.request.getproxies()
    named = {scheme: proxy or found.get(scheme) or found.get("all") or "" for scheme in ("http", "https")}
    return {scheme: value for scheme, value in named.items() if value}


def is_socks(proxy: str) -> bool:
    """Tell whether the URL of a proxy is that of a SOCKS proxy."""
    return urlsplit(proxy).scheme.startswith("socks")


def require_socks(url: str, proxy: str | None = None, module: str = "socks") -> None:
    """
    Check that `module` is installed if the proxy for `url` is a SOCKS proxy.

    Raises `NetworkError` with the command that installs it, also for an invalid proxy: no other source that
    needs the network can be reached either.
    """
    parts = urlsplit(url)
    chosen = proxies(proxy).get(parts.scheme, "")
    if not is_socks(chosen) or urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]):
        return
    there = urlsplit(chosen)
    shown = f"{there.scheme}://{there.netloc.rpartition('@')[2]}"
    if there.scheme not in _SCHEMES or not _address(chosen)[0]:
        raise NetworkError(
            f"cannot connect to {parts.hostname}: invalid proxy {shown}",
            "set https_proxy and http_proxy to a URL such as socks5h://HOST:PORT or http://HOST:PORT",
        )
    try:
        importlib.import_module(module)  # importlib: the optional module has no type hints
    except ImportError as e:
        raise missing_library(f"{parts.hostname} through the SOCKS proxy {shown}", _NAMES[module]) from e


def missing_library(where: str, library: str) -> NetworkError:
    """Return the error of a connection that needs an optional library for SOCKS."""
    return NetworkError(
        f"cannot connect to {where}: {library} is not installed",
        f"{install_command('socks')}; or set https_proxy and http_proxy to an HTTP proxy,"
        " or use local files: --mirror DIR",
    )


def _address(proxy: str) -> tuple[str, int]:
    parts = urlsplit(proxy)
    try:
        return parts.hostname or "", parts.port or _PORT
    except ValueError:  # not a number
        return "", 0


def through_proxy(
    make: Callable[..., Any], chosen: Mapping[str, str], request: urllib.request.Request
) -> Callable[..., Any]:
    """
    Return what makes the connection of `request`: `make`, or `make` through a SOCKS proxy.

    `chosen` has the SOCKS proxies by scheme.
    """
    proxy = chosen.get(request.type)
    if proxy is None or urllib.request.proxy_bypass(request.host):
        return make

    def connection(host: str, **options: Any) -> Any:
        made = make(host, **options)
        made._create_connection = _connector(proxy)
        return made

    return connection


def _connector(proxy: str) -> Callable[..., socket.socket]:
    """
    Return a function like `socket.create_connection` that goes through a SOCKS proxy.

    With `socks4` and `socks5` names are resolved here, with the other schemes by the proxy.
    """
    socks = importlib.import_module("socks")
    parts = urlsplit(proxy)
    host, port = _address(proxy)
    connect: Callable[..., socket.socket] = functools.partial(
        socks.create_connection,
        proxy_type=socks.SOCKS4 if parts.scheme.startswith("socks4") else socks.SOCKS5,
        proxy_addr=host,
        proxy_port=port,
        proxy_rdns=parts.scheme not in ("socks4", "socks5"),
        proxy_username=unquote(parts.username) if parts.username else None,
        proxy_password=unquote(parts.password) if parts.password else None,
    )
    return connect
