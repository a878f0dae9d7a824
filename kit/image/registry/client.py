"""Send one request to a registry, with its login. Does not retry: see `kit.image.registry.push`."""

from __future__ import annotations

import email.message
import http.client
import json
import re
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

from kit.core.access import ANONYMOUS, origin
from kit.core.errors import KitError, NetworkError, PrerequisiteError
from kit.core.proxy import require_socks
from kit.core.text import one_line
from kit.core.transfer import TIMEOUT_S, is_temporary, network_errors, refused_for_now
from kit.image.registry.login import RegistryLogin
from kit.image.registry.reference import RegistryReference

COMMIT_TIMEOUT_S = 900.0
"""Longest silence of a registry that stores a layer of gigabytes."""
MAX_ANSWER = 1 << 20
"""Longest response that is read, in bytes."""
_PARAMETER = re.compile(r'([a-zA-Z_]+)="([^"]*)"')
REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True)
class RequestBody:
    """Bytes to send; `chunks` gives them anew for each attempt."""

    size: int
    chunks: Callable[[], Iterator[bytes]]
    media_type: str = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class RegistryResponse:
    """An answer of the registry."""

    url: str
    status: int
    headers: email.message.Message
    body: bytes

    @property
    def location(self) -> str:
        """The URL in the Location header, made absolute; empty without one, or if it is none."""
        named = self.headers.get("Location") or ""
        try:
            return urljoin(self.url, named) if named else ""
        except ValueError:
            return ""

    @property
    def reason(self) -> str:
        """The status, and the registry's first error message if it sent one."""
        text = f"HTTP status {self.status}"
        try:
            error = json.loads(self.body)["errors"][0]
            code, message = str(error.get("code") or ""), str(error.get("message") or "")
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
            return text
        said = ": ".join(part for part in (code, message) if part)
        return f"{text}, {one_line(said, 200)}" if said else text


class _EveryStatus(urllib.request.HTTPErrorProcessor):
    """Returns responses of every status; follows redirects of GET only: urllib would turn HEAD into GET."""

    def http_response(self, request: urllib.request.Request, response: Any) -> Any:
        """See `urllib.request.HTTPErrorProcessor`."""
        if response.status in REDIRECTS and request.get_method() == "GET":
            return super().http_response(request, response)
        return response

    https_response = http_response


class RegistryClient:
    """
    The requests about one repository. Only the registry and its token server are sent a login or a token.

    `insecure` uses plain HTTP without a proxy. `also_pull` is another repository that is read from.
    See: https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md
    """

    def __init__(
        self,
        reference: RegistryReference,
        login: RegistryLogin | None = None,
        *,
        insecure: bool = False,
        also_pull: str | None = None,
    ) -> None:
        self._reference, self._login, self.insecure = reference, login, insecure
        self._host = f"{'http' if insecure else 'https'}://{reference.api_host}"
        self._scopes = [f"repository:{reference.repository}:pull,push"]
        if also_pull:
            self._scopes.append(f"repository:{also_pull}:pull")
        self._authorization = ""
        direct = urllib.request.ProxyHandler({})
        self._opener = (
            urllib.request.build_opener(_EveryStatus, direct) if insecure else ANONYMOUS.opener(_EveryStatus)
        )

    def url(self, path: str) -> str:
        """Return the URL of a path in the repository, for example `blobs/sha256:…`."""
        return f"{self._host}/v2/{self._reference.repository}/{path}"

    def send(
        self,
        method: str,
        url: str,
        body: RequestBody | None = None,
        headers: Sequence[tuple[str, str]] = (),
        timeout_s: float = TIMEOUT_S,
    ) -> RegistryResponse:
        """
        Send a request, and send it again with a login if the registry asks for one.

        Returns a response of every other status. Raises `BrokenTransfer` for what may succeed later,
        `PrerequisiteError` if the login is missing or refused, `NetworkError` for a SOCKS proxy.
        """
        response = self._send(method, url, body, headers, timeout_s)
        if response.status == 401 and self._is_own(url):
            self._authorization = ""
            self._authorize(response)
            response = self._send(method, url, body, headers, timeout_s)
        if response.status in (401, 403):
            raise self._denied(response)
        if is_temporary(response.status):
            raise refused_for_now(response.status, response.headers)
        return response

    def failure(self, what: str, response: RegistryResponse, hint: str = "") -> NetworkError:
        """Return the error of a response that no retry changes."""
        return NetworkError(
            f"{what} failed: {self._reference.registry}: {response.reason}",
            hint or "check the repository's name and whether the registry accepts OCI images",
        )

    def _send(
        self,
        method: str,
        url: str,
        body: RequestBody | None,
        headers: Sequence[tuple[str, str]],
        timeout_s: float,
    ) -> RegistryResponse:
        self._require_secure(url)
        request = urllib.request.Request(url, method=method, headers=dict(headers))  # noqa: S310
        if body is not None:
            request.data = body.chunks()
            request.add_header("Content-Type", body.media_type)
            request.add_header("Content-Length", str(body.size))
        if self._authorization and self._is_own(url):
            request.add_unredirected_header("Authorization", self._authorization)
        return self._open(request, timeout_s)

    def _open(self, request: urllib.request.Request, timeout_s: float) -> RegistryResponse:
        if not self.insecure:
            require_socks(request.full_url)
        request.add_header("User-Agent", "speedrun-kit")
        with network_errors():
            try:
                response: http.client.HTTPResponse = self._opener.open(request, timeout=timeout_s)
            except ValueError as e:  # of a redirect
                raise self._no_url(str(e)) from e
            with response:
                answer = b"" if request.get_method() == "HEAD" else response.read(MAX_ANSWER)
                return RegistryResponse(request.full_url, response.status, response.headers, answer)

    def _require_secure(self, url: str) -> None:
        """Raise `NetworkError` for an address from the registry that is no URL, or has no TLS."""
        try:
            parts = urlsplit(url)
            is_url = url.isascii() and bool(parts.scheme) and parts.port != 0
        except ValueError:
            is_url = False
        if not is_url:
            raise self._no_url(ascii(url))
        if parts.scheme != "https" and not (self.insecure and parts.scheme == "http"):
            raise NetworkError(
                f"{self._reference.registry} names {parts.scheme}://{parts.hostname}, which is not https",
                "report it to the operator of the registry",
            )

    def _no_url(self, address: str) -> NetworkError:
        return NetworkError(
            f"{self._reference.registry} names an address that is no URL: {one_line(address, 100)}",
            "report it to the operator of the registry",
        )

    def _is_own(self, url: str) -> bool:
        return origin(urlsplit(url)) == origin(urlsplit(self._host))

    def _authorize(self, refused: RegistryResponse) -> None:
        """Get what the registry's challenge asks for; without a usable challenge, get nothing."""
        challenges = {}
        for line in refused.headers.get_all("WWW-Authenticate") or ():
            scheme, _, parameters = line.strip().partition(" ")
            challenges[scheme.lower()] = dict(_PARAMETER.findall(parameters))
        if "bearer" in challenges:
            self._authorization = f"Bearer {self._token(challenges['bearer'])}"
        elif "basic" in challenges and self._login is not None and self._login.user:
            self._authorization = self._login.header()

    def _token(self, challenge: dict[str, str]) -> str:
        """
        Return a token of the server that a challenge names.

        See: https://distribution.github.io/distribution/spec/auth/token/
        """
        realm, login = challenge.get("realm", ""), self._login
        self._require_secure(realm)
        fields = [("service", challenge["service"])] if "service" in challenge else []
        if login is not None and login.identity_token:
            fields += [("scope", " ".join(self._scopes)), ("grant_type", "refresh_token")]
            fields += [("client_id", "speedrun-kit"), ("refresh_token", login.identity_token)]
            request = urllib.request.Request(realm, data=urlencode(fields).encode(), method="POST")  # noqa: S310
        else:
            fields += [("scope", scope) for scope in self._scopes]
            mark = "&" if urlsplit(realm).query else "?"
            request = urllib.request.Request(f"{realm}{mark}{urlencode(fields)}")  # noqa: S310
            if login is not None and login.user:
                request.add_unredirected_header("Authorization", login.header())
        response = self._open(request, TIMEOUT_S)
        if response.status in (400, 401, 403):
            raise self._denied(response)
        if is_temporary(response.status):
            raise refused_for_now(response.status, response.headers)
        try:
            document = json.loads(response.body)
            return str(document.get("token") or document["access_token"])
        except (ValueError, KeyError, AttributeError, RecursionError) as e:
            raise self.failure("login", response, "check the registry's token server") from e

    def _denied(self, response: RegistryResponse) -> KitError:
        registry = self._reference.registry
        if self._login is None:
            return PrerequisiteError(
                f"{registry} requires a login for {self._reference.repository} ({response.reason})",
                f"docker login {registry}; or podman login {registry}",
            )
        return PrerequisiteError(
            f"permission denied: {registry} refused the login in {self._login.source} for"
            f" {self._reference.repository} ({response.reason})",
            f"check that this account may push there, or log in again: docker login {registry}",
        )
