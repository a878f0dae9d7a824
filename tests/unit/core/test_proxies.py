"""Downloads go through the proxy that the environment names; a tiny proxy on the loopback notes each one."""

from __future__ import annotations

import contextlib
import gc
import io
import re
import socketserver
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from local_server import SilentHandler, running

from kit.core.access import ANONYMOUS, WebAccess
from kit.core.digest import sha256_bytes
from kit.core.download import download
from kit.core.errors import KitError, NetworkError
from kit.core.proxy import proxies, require_socks
from kit.core.store import Artifact, no_progress

BYTES = b"seven b"
FILE = Artifact("x.whl", len(BYTES), sha256_bytes(BYTES))
NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@dataclass
class Proxy:
    """What a proxy saw."""

    port: int = 0
    asked: list[str] = field(default_factory=list)
    """The URL, or host:port, of each request."""
    logins: list[str] = field(default_factory=list)


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*NAMES, *map(str.upper, NAMES), "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)


@contextlib.contextmanager
def served(handler: type[socketserver.BaseRequestHandler], state: Proxy) -> Iterator[Proxy]:
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    state.port = server.server_address[1]
    with running(server):
        yield state


@pytest.fixture
def http_proxy() -> Iterator[Proxy]:
    """An HTTP proxy that answers each request itself, and refuses each tunnel."""
    state = Proxy()

    class Handler(SilentHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            state.logins.append(self.headers.get("Proxy-Authorization", ""))
            self.send_response(200)
            self.send_header("Content-Length", str(len(BYTES)))
            self.end_headers()
            self.wfile.write(BYTES)

        def do_CONNECT(self) -> None:
            state.asked.append(self.path)
            self.send_error(418)

    with served(Handler, state):
        yield state


@pytest.fixture
def socks_proxy() -> Iterator[Proxy]:
    """A SOCKS5 proxy that wants user `me` with password `p@ss`, and plays the web server itself."""
    state = Proxy()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.read(self.rfile.read(2)[1])
            self.wfile.write(b"\x05\x02")
            user = self.rfile.read(self.rfile.read(2)[1])
            password = self.rfile.read(self.rfile.read(1)[0])
            state.logins.append(f"{user.decode()}:{password.decode()}")
            self.wfile.write(b"\x01\x00")
            kind = self.rfile.read(4)[3]
            name = self.rfile.read(self.rfile.read(1)[0] if kind == 3 else 4)
            port = int.from_bytes(self.rfile.read(2), "big")
            state.asked.append(f"{name.decode() if kind == 3 else '.'.join(map(str, name))}:{port}")
            self.wfile.write(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
            while self.rfile.readline().strip():
                pass
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\n" + BYTES)

    with served(Handler, state):
        yield state


def fetched(url: str, access: WebAccess = ANONYMOUS) -> bytes:
    sink = io.BytesIO()
    download(url, FILE, sink, 0, no_progress, access=access)
    return sink.getvalue()


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("scheme", ["http://", ""])
def test_an_http_proxy_is_used(
    monkeypatch: pytest.MonkeyPatch, http_proxy: Proxy, name: str, scheme: str
) -> None:
    monkeypatch.setenv(name, f"{scheme}127.0.0.1:{http_proxy.port}")
    assert fetched("http://index.example/x") == BYTES
    assert http_proxy.asked == ["http://index.example/x"]


# Before 3.11.4, http.client left the answer of a proxy that refuses a tunnel open.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", ["https_proxy", "HTTPS_PROXY", "ALL_PROXY"])
def test_an_https_url_is_tunnelled(monkeypatch: pytest.MonkeyPatch, http_proxy: Proxy, name: str) -> None:
    monkeypatch.setenv(name, f"http://127.0.0.1:{http_proxy.port}")
    with pytest.raises(NetworkError, match="Tunnel connection failed: 418"):
        fetched("https://index.example/x")
    assert http_proxy.asked[0] == "index.example:443"
    gc.collect()


def test_the_proxy_of_pip_counts_before_the_environments(
    monkeypatch: pytest.MonkeyPatch, http_proxy: Proxy
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    access = WebAccess(proxy=f"http://me:secret@127.0.0.1:{http_proxy.port}")
    assert fetched("http://index.example/x", access) == BYTES
    assert http_proxy.logins == ["Basic bWU6c2VjcmV0"]


@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
@pytest.mark.parametrize("dead", ["http://127.0.0.1:9", "socks5h://127.0.0.1:9"])
def test_hosts_in_no_proxy_are_connected_directly(
    monkeypatch: pytest.MonkeyPatch, http_proxy: Proxy, name: str, dead: str
) -> None:
    monkeypatch.setenv("all_proxy", dead)
    monkeypatch.setenv(name, "localhost,127.0.0.1")
    assert fetched(f"http://127.0.0.1:{http_proxy.port}/x") == BYTES
    assert http_proxy.asked == ["/x"]


@pytest.mark.parametrize("name", ["http_proxy", "all_proxy", "ALL_PROXY"])
def test_a_socks_proxy_is_used_and_resolves_the_name(
    monkeypatch: pytest.MonkeyPatch, socks_proxy: Proxy, name: str
) -> None:
    pytest.importorskip("socks")
    monkeypatch.setenv(name, f"socks5h://me:p%40ss@127.0.0.1:{socks_proxy.port}")
    assert fetched("http://index.example/x") == BYTES
    assert (socks_proxy.asked, socks_proxy.logins) == (["index.example:80"], ["me:p@ss"])


def test_a_socks5_proxy_gets_the_address(monkeypatch: pytest.MonkeyPatch, socks_proxy: Proxy) -> None:
    pytest.importorskip("socks")
    monkeypatch.setenv("http_proxy", f"socks5://me:p%40ss@127.0.0.1:{socks_proxy.port}")
    assert fetched("http://localhost:8080/x") == BYTES
    assert socks_proxy.asked == ["127.0.0.1:8080"]


def test_a_socks_proxy_that_does_not_answer_is_an_error_of_the_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("socks")
    monkeypatch.setenv("https_proxy", "socks5h://127.0.0.1:9")
    with pytest.raises(NetworkError, match=r"index\.example: .*127\.0\.0\.1:9"):
        fetched("https://index.example/x")


@pytest.mark.parametrize(("module", "library"), [("socks", "PySocks"), ("socksio", "socksio")])
def test_without_the_library_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, module: str, library: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setenv("https_proxy", "socks5h://me:secret@proxy.example:1080")
    with pytest.raises(NetworkError) as e:
        require_socks("https://index.example/x", module=module)
    said = "cannot connect to index.example through the SOCKS proxy socks5h://proxy.example:1080"
    assert e.value.message == f"{said}: {library} is not installed"
    assert re.search(r"pip install .*\[socks\]", e.value.hint) and "secret" not in str(e.value)


@pytest.mark.parametrize("proxy", ["socks9://proxy.example:1", "socks5://", "socks5h://h:port"])
def test_a_proxy_that_is_not_valid_is_named(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    with pytest.raises(KitError, match=f"index.example: invalid proxy {proxy}"):
        fetched("https://index.example/x")


def test_the_proxy_of_the_scheme_counts_before_that_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "socks5h://a:1")
    monkeypatch.setenv("HTTPS_PROXY", "http://b:2")
    assert proxies() == {"http": "socks5h://a:1", "https": "http://b:2"}
    assert proxies("http://c:3") == dict.fromkeys(("http", "https"), "http://c:3")
