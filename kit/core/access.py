"""What a download needs beyond its URL: logins, certificate authorities, a client certificate, a proxy."""

from __future__ import annotations

import base64
import contextlib
import http.client
import posixpath
import ssl
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from kit.core.errors import PrerequisiteError
from kit.core.proxy import is_socks, proxies, through_proxy

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Login:
    """A user name and a password for one origin (scheme, host and port), or for one host."""

    url: str
    """
    Without user name and password; of two logins for an origin, the one with the closer path is used.
    `//host` stands for every scheme and port of the host.
    """
    user: str = field(repr=False)
    password: str = field(repr=False)

    def header(self) -> str:
        """Return the value of the Authorization header."""
        pair = f"{self.user}:{self.password}"
        try:
            raw = pair.encode("latin-1")
        except UnicodeEncodeError:
            raw = pair.encode()
        return "Basic " + base64.b64encode(raw).decode("ascii")


@dataclass(frozen=True, slots=True)
class WebAccess:
    """Logins and TLS settings; a login is sent to its own origin alone, also after a redirect."""

    logins: tuple[Login, ...] = ()
    authorities: tuple[Path, ...] = ()
    """Files or directories of CA certificates that replace the system's; empty for the system's."""
    client_cert: Path | None = None
    """Certificate and private key in one PEM file."""
    proxy: str | None = field(default=None, repr=False)
    """URL of the proxy for all requests; None for the proxies of the environment."""
    trusted: tuple[str, ...] = ()
    """Hosts, or `host:port`, whose TLS certificate is not checked."""

    def login(self, url: str) -> Login | None:
        """Return the login for a URL, or None."""
        there = urlsplit(url)
        same = [known for known in self.logins if origin(urlsplit(known.url)) == origin(there)]
        closest = max(same, key=lambda known: _shared_path(known.url, url), default=None)
        if closest is not None and closest.password:
            return closest
        host = f"//{there.hostname}"
        return next((known for known in self.logins if known.url.lower() == host), closest)

    def opener(
        self, *handlers: urllib.request.BaseHandler | type[urllib.request.BaseHandler]
    ) -> urllib.request.OpenerDirector:
        """
        Return an opener that uses this access, and `handlers` as `urllib.request.build_opener` does.

        Raises `PrerequisiteError` for a bad certificate file.
        """
        chosen = proxies(self.proxy)
        socks = {scheme: url for scheme, url in chosen.items() if is_socks(url)}
        return urllib.request.build_opener(
            _LoginHandler(self),
            urllib.request.ProxyHandler({s: url for s, url in chosen.items() if s not in socks}),
            _HttpHandler(socks),
            _HttpsHandler(socks, self._context(), self._unchecked() if self.trusted else None, self.trusted),
            *handlers,
        )

    def _context(self) -> ssl.SSLContext:
        context = (
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if self.authorities else ssl.create_default_context()
        )
        for path in self.authorities:
            with _certificate_errors(path):
                is_folder = path.is_dir()
                context.load_verify_locations(None if is_folder else path, path if is_folder else None)
        if self.client_cert is not None:
            with _certificate_errors(self.client_cert):
                context.load_cert_chain(self.client_cert)
        return context

    def _unchecked(self) -> ssl.SSLContext:
        """Return the context for trusted hosts."""
        context = self._context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context


ANONYMOUS = WebAccess()
"""No login, and the certificates and proxies of the system."""


def origin(url: SplitResult) -> tuple[str, str, int | None]:
    """Return scheme, host and port of a URL."""
    return url.scheme, (url.hostname or "").rstrip("."), url.port or _PORTS.get(url.scheme)


class _LoginHandler(urllib.request.BaseHandler):
    """Adds the login of the origin to each request, so that a redirect to another one gets none."""

    def __init__(self, access: WebAccess) -> None:
        self._access = access

    def http_request(self, request: urllib.request.Request) -> urllib.request.Request:
        """Add the Authorization header, if there is a login."""
        login = self._access.login(request.full_url)
        if login is not None:
            request.add_unredirected_header("Authorization", login.header())
        return request

    https_request = http_request


class _HttpHandler(urllib.request.HTTPHandler):
    """Opens connections, through a SOCKS proxy if the scheme has one."""

    def __init__(self, socks: Mapping[str, str]) -> None:
        super().__init__()
        self._socks = socks

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """See `urllib.request.HTTPHandler`."""
        return self.do_open(through_proxy(http.client.HTTPConnection, self._socks, req), req)


class _HttpsHandler(urllib.request.HTTPSHandler):
    """The same for https; it checks no certificate of a trusted host."""

    def __init__(
        self,
        socks: Mapping[str, str],
        context: ssl.SSLContext,
        unchecked: ssl.SSLContext | None,
        trusted: Sequence[str],
    ) -> None:
        super().__init__(context=context)
        self._socks, self._checking, self._unchecked, self._trusted = socks, context, unchecked, trusted

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """See `urllib.request.HTTPSHandler`."""
        host = getattr(req, "_tunnel_host", None) or req.host  # with a proxy, `host` is the proxy's
        is_trusted = not {host, urlsplit(f"//{host}").hostname}.isdisjoint(self._trusted)
        context = self._unchecked if is_trusted and self._unchecked else self._checking
        connect = through_proxy(http.client.HTTPSConnection, self._socks, req)
        return self.do_open(connect, req, context=context)


def _shared_path(a: str, b: str) -> int:
    return len(posixpath.commonpath([urlsplit(url).path.strip("/") for url in (a, b)]))


@contextlib.contextmanager
def _certificate_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ssl.SSLError) as e:
        raise PrerequisiteError(
            f"cannot read the certificates in {path}: {e.strerror or e}",
            "check PIP_CERT, PIP_CLIENT_CERT and REQUESTS_CA_BUNDLE, or pip config list",
        ) from e
