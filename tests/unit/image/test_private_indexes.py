"""Wheels come from an index with a login; the login goes to that index alone and is never shown."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import io
import ssl
import subprocess
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from local_server import SilentHandler, running

from kit.core.digest import Sha256
from kit.core.download import download
from kit.core.errors import NetworkError, PrerequisiteError, UsageError
from kit.core.store import no_progress
from kit.image import index
from kit.image.fetch import PipFetcher, UrlFetcher
from kit.image.lock import Wheel
from kit.image.pip_settings import pip_access, read_settings

FILE = "demo_pkg-1.0-py3-none-any.whl"
PASSWORD = "p@ss:wörd"
QUOTED = "p%40ss%3Aw%C3%B6rd"


def demo_wheel() -> bytes:
    info = "demo_pkg-1.0.dist-info"
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("demo_pkg/__init__.py", "")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: demo-pkg\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return sink.getvalue()


BYTES = demo_wheel()
WHEEL = Wheel(FILE, len(BYTES), Sha256(hashlib.sha256(BYTES).hexdigest()), "demo-pkg", "1.0", None)


@dataclass
class Index:
    """A package index on the loopback."""

    user: str | None = "user"
    elsewhere: str = ""
    """Where the wheel is redirected to."""
    port: int = 0
    logins: list[str | None] = field(default_factory=list)
    """Authorization header of each request for the wheel; pip makes some of its own for the metadata."""

    @property
    def expected(self) -> str:
        return "Basic " + base64.b64encode(f"{self.user}:{PASSWORD}".encode("latin-1")).decode()


@contextlib.contextmanager
def serving(shop: Index, context: ssl.SSLContext | None = None) -> Iterator[Index]:
    class Handler(SilentHandler):
        def do_GET(self) -> None:
            given = self.headers.get("Authorization")
            wheel = not self.path.startswith("/simple/")
            if wheel:
                shop.logins.append(given)
            if shop.user is not None and given != shop.expected:
                self.answer(401, b"", ("WWW-Authenticate", 'Basic realm="x"'))
            elif wheel and shop.elsewhere:
                self.answer(302, b"", ("Location", shop.elsewhere))
            elif wheel:
                self.answer(200, BYTES, ("Content-Type", "application/zip"))
            else:
                link = f'<a href="/f/{FILE}#sha256={WHEEL.sha256}">{FILE}</a>'
                self.answer(200, link.encode(), ("Content-Type", "text/html"))

        def answer(self, status: int, body: bytes, header: tuple[str, str]) -> None:
            self.send_response(status)
            self.send_header(*header)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    shop.port = server.server_port
    with running(server):
        yield shop


@pytest.fixture(autouse=True)
def own_pip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let pip read no settings but those of the test."""
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")


def fetched() -> bytes:
    sink = io.BytesIO()
    PipFetcher().fetch(WHEEL, sink, 0, no_progress)
    return sink.getvalue()


@pytest.mark.parametrize("name", ["PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"])
def test_a_login_in_the_url_of_an_index_is_used_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with serving(Index()) as shop, serving(Index(user=None)) as other:
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{other.port}/nothing")
        monkeypatch.setenv(name, f"http://user:{QUOTED}@127.0.0.1:{shop.port}/simple")
        assert fetched() == BYTES
        offer = index.offers(("demo-pkg==1.0",), "3.11", closure=False)
    assert set(shop.logins) == {shop.expected}
    for shown in (repr(offer), repr(pip_access())):
        assert "p@ss" not in shown and "p%40ss" not in shown


def test_a_login_in_netrc_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login user password {PASSWORD}\n", "utf-8")
    with serving(Index()) as shop:
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{shop.port}/simple")
        assert fetched() == BYTES
    assert set(shop.logins) == {shop.expected}


def test_a_login_does_not_follow_a_redirect_to_another_host(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Index(user=None)) as store, serving(Index()) as shop:
        shop.elsewhere = f"http://localhost:{store.port}/blob"
        monkeypatch.setenv("PIP_INDEX_URL", f"http://user:{QUOTED}@127.0.0.1:{shop.port}/simple")
        assert fetched() == BYTES
    assert (set(shop.logins), set(store.logins)) == ({shop.expected}, {None})


def test_a_login_is_not_sent_to_another_port_or_to_the_url_of_a_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Index(user=None)) as other:
        monkeypatch.setenv("PIP_INDEX_URL", f"http://user:{QUOTED}@127.0.0.1:9/simple")
        locked = Wheel(
            FILE, len(BYTES), WHEEL.sha256, "demo-pkg", "1.0", f"http://127.0.0.1:{other.port}/f/{FILE}"
        )
        UrlFetcher().fetch(locked, io.BytesIO(), 0, no_progress)
    assert other.logins == [None]


def test_an_index_that_refuses_the_login_is_named_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Index(user="another")) as shop:
        monkeypatch.setenv("PIP_INDEX_URL", f"http://user:{QUOTED}@127.0.0.1:{shop.port}/simple")
        with pytest.raises(PrerequisiteError) as refused:
            fetched()
        assert "p%40ss" not in str(refused.value) and "p@ss" not in str(refused.value)
        url = f"http://127.0.0.1:{shop.port}/f/{FILE}"
        with pytest.raises(PrerequisiteError, match=r"HTTP status 401 .*login required"):
            download(url, WHEEL, io.BytesIO(), 0, no_progress, access=pip_access())


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of localhost that signs itself, with its key."""
    pem, key = tmp_path / "own.pem", tmp_path / "own.key"
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    argv += ["-keyout", str(key), "-out", str(pem), "-days", "2", "-subj", "/CN=own"]
    argv += ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(argv, check=True, capture_output=True)
    pem.write_bytes(pem.read_bytes() + key.read_bytes())
    return pem


@pytest.mark.parametrize("name", ["PIP_CERT", "REQUESTS_CA_BUNDLE"])
def test_certificates_of_pip_are_used(monkeypatch: pytest.MonkeyPatch, certificate: Path, name: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.load_verify_locations(certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    with serving(Index(), context) as shop:
        monkeypatch.setenv("PIP_INDEX_URL", f"https://user:{QUOTED}@localhost:{shop.port}/simple")
        monkeypatch.setenv(name, str(certificate))
        monkeypatch.setenv("PIP_CLIENT_CERT", str(certificate))
        assert fetched() == BYTES
        monkeypatch.delenv("PIP_CLIENT_CERT")
        url = f"https://localhost:{shop.port}/f/{FILE}"
        with pytest.raises(NetworkError):
            download(url, WHEEL, io.BytesIO(), 0, no_progress, access=pip_access())


def test_a_certificate_file_that_is_missing_is_named() -> None:
    access = read_settings(":env:.cert='/nowhere/ca.pem'\n", {}).access
    with pytest.raises(PrerequisiteError, match=r"certificates in /nowhere/ca\.pem: No such file") as e:
        download("https://127.0.0.1:9/x", WHEEL, io.BytesIO(), 0, no_progress, access=access)
    assert "PIP_CERT" in e.value.hint


def test_the_strongest_setting_of_pip_counts(tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine a.example login n password n\ndefault login d password d\n")
    config = "global.cert='/weak'\ninstall.cert='/middle'\nglobal.proxy='http://p:1'\nnot a setting\n"
    config += (
        "global.extra-index-url='\\nhttps://t@a.example/x\\nhttps://u:v@b.example/y https://c.example'\n"
    )
    access = read_settings(config, {"NETRC": str(tmp_path / "netrc")}).access
    assert (access.authorities, access.proxy) == ((Path("/middle"),), "http://p:1")
    found = {h: access.login(f"https://{h}.example/x/w.whl") for h in "abcz"}
    assert [(k.user if k else None) for k in found.values()] == ["n", "u", "d", None]
    bundled = read_settings(config, {"REQUESTS_CA_BUNDLE": "/strong"}).access
    assert bundled.authorities == (Path("/strong"),)
    token = bundled.login("https://a.example/w.whl")
    assert token is not None and (token.user, token.password) == ("t", "")


OTHERS = {
    "PIP_REQUIRE_HASHES": "1",
    "PIP_USER": "1",
    "PIP_TARGET": "/proc/target",
    "PIP_PREFIX": "/proc/prefix",
    "PIP_CONSTRAINT": "/nowhere/constraints.txt",
    "PIP_BUILD_CONSTRAINT": "/nowhere/constraints.txt",
    "PIP_REQUIREMENT": "/nowhere/requirements.txt",
    "PIP_EDITABLE": "/nowhere",
    "PIP_GROUP": "dev",
    "PIP_NO_BINARY": ":all:",
    "PIP_ONLY_BINARY": ":none:",
    "PIP_PLATFORM": "win32",
    "PIP_PYTHON": "/nowhere/python",
    "PIP_PYTHON_VERSION": "3.8",
    "PIP_REQUIRE_VIRTUALENV": "1",
    "PIP_LOG": "/proc/log",
    "PIP_QUIET": "3",
    "PIP_REPORT": "/proc/report",
    "PIP_ISOLATED": "1",
    "PIP_DRY_RUN": "0",
    "PIP_NO_BUILD_ISOLATION": "x",
    "PIP_UPLOADED_PRIOR_TO": "2001-01-01",
    "PIP_USE_FEATURE": "fast-deps",
}


def test_settings_of_pip_about_what_is_installed_do_not_count(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "pip.conf").write_text(
        f"[install]\ntarget = {tmp_path}/t\nno-binary = :all:\n[config]\nsite = true\n"
        f"[global]\nquiet = 3\nrequire-hashes = true\nconstraint = {tmp_path}/c.txt\nuser = true\n"
    )
    with serving(Index()) as shop:
        with (tmp_path / "pip.conf").open("a") as file:
            file.write(f"index-url = http://user:{QUOTED}@127.0.0.1:{shop.port}/simple\n")
        monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
        for name, value in OTHERS.items():
            monkeypatch.setenv(name, value)
        assert fetched() == BYTES
        assert index.offers(("demo-pkg>=1",), "3.11", closure=True)[0].version == "1.0"
    assert not (tmp_path / "t").exists()


def test_only_the_settings_that_say_where_wheels_are_reach_pip() -> None:
    config = ":env:.quiet='3'\nglobal.index-url='https://u:p@a.example/x'\ninstall.target='/t'\n"
    config += "install.index-url='https://b.example'\nglobal.find-links='\\n/a\\n/b'\nglobal.timeout='9'\n"
    env = read_settings(config, {}).environment({"PIP_TARGET": "/t", "HOME": "/h"})
    assert env == {
        "HOME": "/h",
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_FIND_LINKS": "\n/a\n/b",
        "PIP_INDEX_URL": "https://b.example",
        "PIP_TIMEOUT": "9",
    }


def test_wheels_are_found_through_find_links_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / FILE).write_bytes(BYTES)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "links"))
    assert fetched() == BYTES
    monkeypatch.delenv("PIP_FIND_LINKS")
    with pytest.raises(PrerequisiteError, match=r"demo-pkg==1\.0 \(pip may use no index: PIP_NO_INDEX or"):
        fetched()


def test_a_file_of_settings_that_pip_cannot_read_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "pip.conf").write_text("[global\nindex-url = x\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    with pytest.raises(UsageError, match=r"pip cannot read its settings: .*pip\.conf") as e:
        fetched()
    assert "pip config debug" in e.value.hint


def test_the_certificate_of_a_trusted_host_is_not_checked(
    monkeypatch: pytest.MonkeyPatch, certificate: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with serving(Index(user=None), context) as shop:
        monkeypatch.setenv("PIP_INDEX_URL", f"https://127.0.0.1:{shop.port}/simple")
        monkeypatch.setenv("PIP_TRUSTED_HOST", "other.example 127.0.0.1")
        assert fetched() == BYTES
        monkeypatch.setenv("PIP_TRUSTED_HOST", "other.example")
        url = f"https://127.0.0.1:{shop.port}/f/{FILE}"
        with pytest.raises(NetworkError, match="certificate verify failed"):
            download(url, WHEEL, io.BytesIO(), 0, no_progress, access=pip_access())


def test_pip_says_what_a_socks_proxy_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(argv: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        listed = "config" in argv
        said = "ERROR: Could not install packages: Missing dependencies for SOCKS support."
        return subprocess.CompletedProcess(argv, int(not listed), "", "" if listed else said)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setenv("PIP_PROXY", "socks5h://proxy.example:1")
    with pytest.raises(NetworkError, match="PySocks is not installed") as e:
        fetched()
    assert "[socks]" in e.value.hint
