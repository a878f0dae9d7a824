"""A registry on the loopback that keeps what it is sent, and fails as a test says."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from http.server import ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from local_server import SilentHandler, start

USER, PASSWORD, IDENTITY = "user", "pässword:1", "identity-1"
BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode("latin-1")).decode()


class FakeRegistry(ThreadingHTTPServer):
    """`auth` is `none`, `basic` or `bearer`; the other settings make one kind of answer wrong."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server_port}"
        self.auth = "none"
        self.realm = f"http://{self.host}/token"
        self.blobs: dict[str, dict[str, bytes]] = {}
        self.manifests: dict[tuple[str, str], bytes] = {}
        self.uploads: dict[str, bytearray] = {}
        self.asked: list[str] = []
        """Method and path of each request, without the query."""
        self.authorizations: list[tuple[str, str | None]] = []
        """Path and Authorization header of each request."""
        self.queries: list[str] = []
        self.tokens = 0
        self.answers: dict[str, list[tuple[int, str]]] = {}
        """Regular expression of method and path: statuses and error codes of the next such requests."""
        self.breaks: list[int] = []
        """Bytes after which the next uploads are cut."""
        self.keeps_cut_uploads = True
        self.returned: bytes | None = None
        """What is returned for every manifest, if not the stored one."""
        self.changed_tags = False
        """Whether what a tag names is returned with a byte more."""
        self.elsewhere = ""
        """Prefix of the Location of uploads."""
        self.stop = start(self)

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that went away


class Handler(SilentHandler):
    server: FakeRegistry
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        self.query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        key = f"{self.command} {parts.path}"
        self.server.asked.append(key)
        self.server.queries.append(parts.query)
        self.server.authorizations.append((parts.path, self.headers.get("Authorization")))
        for pattern, planned in self.server.answers.items():
            if re.search(pattern, key) and planned:
                self._read()
                return self._refuse(*planned.pop(0))
        if parts.path == "/token":
            return self._token()
        if not self._allowed():
            self._read()
            return self._challenge()
        repository, _, rest = parts.path.removeprefix("/v2/").partition(
            "/blobs/" if "/blobs/" in parts.path else "/manifests/"
        )
        if "/manifests/" in parts.path:
            return self._manifest(repository, rest)
        if rest.startswith("uploads/"):
            return self._upload(repository, rest.removeprefix("uploads/"))
        return self._blob(repository, rest)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = _serve

    def _allowed(self) -> bool:
        given = self.headers.get("Authorization")
        match self.server.auth:
            case "basic":
                return given == BASIC
            case "bearer":
                return given == f"Bearer token-{self.server.tokens}" and self.server.tokens > 0
        return True

    def _challenge(self) -> None:
        challenge = 'Basic realm="x"'
        if self.server.auth == "bearer":
            challenge = f'Bearer realm="{self.server.realm}",service="fake",scope="ignored"'
        self._refuse(401, "UNAUTHORIZED", ("WWW-Authenticate", challenge))

    def _token(self) -> None:
        form = parse_qs(self._read().decode())
        known = self.headers.get("Authorization") == BASIC or form.get("refresh_token") == [IDENTITY]
        if not known:
            return self._refuse(401, "UNAUTHORIZED")
        self.server.tokens += 1
        name = "access_token" if form else "token"
        self._send(200, json.dumps({name: f"token-{self.server.tokens}"}).encode())

    def _blob(self, repository: str, digest: str) -> None:
        data = self.server.blobs.get(repository, {}).get(digest)
        if data is None:
            return self._refuse(404, "BLOB_UNKNOWN")
        self._send(200, data)

    def _upload(self, repository: str, name: str) -> None:
        blobs = self.server.blobs.setdefault(repository, {})
        if self.command == "POST":
            self._read()
            there = self.server.blobs.get(self.query.get("from", ""), {})
            mounted = self.query.get("mount", "")
            if mounted in there:
                blobs[mounted] = there[mounted]
                return self._send(201, b"")
            name = str(len(self.server.uploads))
            self.server.uploads[name] = bytearray()
            return self._continue(repository, name, 202)
        upload = self.server.uploads.get(name)
        if upload is None:
            self._read()
            return self._refuse(404, "BLOB_UPLOAD_UNKNOWN")
        if self.command == "GET":
            return self._continue(repository, name, 204)
        if self.command == "PATCH":
            return self._patch(repository, name, upload)
        upload += self._read()
        digest = f"sha256:{hashlib.sha256(upload).hexdigest()}"
        if digest != self.query["digest"]:
            return self._refuse(400, "DIGEST_INVALID")
        blobs[digest] = bytes(upload)
        del self.server.uploads[name]
        return self._send(201, b"")

    def _patch(self, repository: str, name: str, upload: bytearray) -> None:
        stated = self.headers.get("Content-Range")
        if stated is not None and int(stated.split("-")[0]) != len(upload):
            self._read()
            return self._refuse(416, "RANGE")
        if self.server.breaks:
            upload += self.rfile.read(min(self.server.breaks.pop(0), int(self.headers["Content-Length"])))
            if not self.server.keeps_cut_uploads:
                del self.server.uploads[name]
            self.close_connection = True
            return None
        upload += self._read()
        return self._continue(repository, name, 202)

    def _continue(self, repository: str, name: str, status: int) -> None:
        last = max(len(self.server.uploads[name]) - 1, 0)
        location = f"{self.server.elsewhere}/v2/{repository}/blobs/uploads/{name}?state={last}"
        self._send(status, b"", ("Location", location), ("Range", f"0-{last}"))

    def _manifest(self, repository: str, name: str) -> None:
        if self.command == "PUT":
            data = self._read()
            digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
            for key in (name, digest):
                self.server.manifests[repository, key] = data
            return self._send(201, b"", ("Docker-Content-Digest", digest))
        data = self.server.manifests.get((repository, name))
        if data is None:
            return self._refuse(404, "MANIFEST_UNKNOWN")
        if self.server.changed_tags and not name.startswith("sha256:"):
            data += b" "
        return self._send(200, data if self.server.returned is None else self.server.returned)

    def _read(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _refuse(self, status: int, code: str, *headers: tuple[str, str]) -> None:
        body = json.dumps({"errors": [{"code": code, "message": "as the test says"}]}).encode()
        self._send(status, body if code else b"<html>", *headers)

    def _send(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
