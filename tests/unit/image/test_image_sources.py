"""Programs and addresses that bring no package: apt, uv, pip and indices in their worst hour, each named."""

from __future__ import annotations

import contextlib
import datetime
import io

import pytest
from local_server import SilentHandler, serving_http

from kit.core.digest import Sha256
from kit.core.errors import NetworkError, PrerequisiteError
from kit.core.store import no_progress
from kit.image import index, resolve
from kit.image.apt import PrivateApt
from kit.image.fetch import AptFetcher, PipFetcher, PoolFetcher
from kit.image.index import IndexWheel
from kit.image.lock import Deb, Wheel

MIRROR = "http://mirror.example/debian/"
LINE = f"'{MIRROR}pool/main/h/hello/hello_1_amd64.deb' hello_1_amd64.deb 7 SHA256:{'a' * 64}"
DEB = Deb(
    "hello_1_amd64.deb", 7, Sha256("a" * 64), "hello", "1", "b" * 40, "pool/main/h/hello/hello_1_amd64.deb"
)
WHEEL = Wheel("x-1.0-py3-none-any.whl", 7, Sha256("a" * 64), "x", "1.0")


@pytest.fixture
def apt(program):
    """An apt-get whose answers are lines of shell; without an answer it succeeds and is silent."""

    def put(targets="", install="", download="", update=""):
        program(
            "apt-get",
            f'case "$*" in\n*indextargets*) {targets or ":"};;\n*update*) {update or ":"};;\n'
            f"*install*) {install or ':'};;\n*download*) {download or ':'};;\nesac",
        )

    return put


def asked(fetcher, artifact):
    fetcher.fetch(artifact, io.BytesIO(), 0, no_progress)


@pytest.mark.parametrize(
    "line",
    [
        LINE.replace(MIRROR, "http://security.example/debian/"),
        LINE.replace("SHA256:", "MD5Sum:"),
        LINE.rpartition(" ")[0],
        LINE.replace(" 7 ", " seven "),
        LINE.replace(" hello_1_amd64.deb ", " hello.deb "),
        "'",
    ],
)
def test_what_apt_prints_and_nobody_can_read_is_quoted(apt, line):
    apt(install=f"cat <<'END'\n{line}\nEND\n")
    with (
        PrivateApt("bookworm", MIRROR) as private,
        pytest.raises(NetworkError, match="cannot parse the output of apt: '") as e,
    ):
        private.closure(("hello",))
    assert e.value.hint == "check this machine's apt sources, then run the command again"


def test_an_apt_that_fails_without_a_message_is_named(apt):
    apt(update="exit 100")
    with pytest.raises(NetworkError, match="apt-get failed: no error message") as e:
        PrivateApt("bookworm", MIRROR).__enter__()
    assert "apt sources" in e.value.hint


def test_a_version_that_apt_does_not_offer_any_more_is_missing_in_its_own_words(apt):
    apt(download="echo \"E: Version '1' for 'hello' was not found\" >&2; exit 100")
    with (
        PrivateApt("bookworm", MIRROR) as private,
        pytest.raises(PrerequisiteError, match="Version '1' for 'hello' was not found"),
    ):
        private.download("hello", "1")


def test_a_download_that_brings_no_file_is_missing(apt):
    apt()
    with (
        PrivateApt("bookworm", MIRROR) as private,
        pytest.raises(PrerequisiteError, match="apt did not download hello 1"),
    ):
        private.download("hello", "1")


def test_an_apt_whose_lists_were_removed_is_not_asked(apt):
    apt()
    with PrivateApt("bookworm", MIRROR) as private:
        pass
    with pytest.raises(NetworkError, match="the private apt lists were removed"):
        private.closure(("hello",))


def test_a_mirror_that_only_apt_can_speak_to_is_left_to_apt(apt):
    apt(targets="echo Packages cdrom:/debian/ bookworm main")
    with pytest.raises(PrerequisiteError, match="not an http or https URL: cdrom:/debian/"):
        asked(PoolFetcher(), DEB)


def test_an_apt_that_refused_is_not_asked_again_for_each_package(apt, tmp_path):
    count = tmp_path / "count"
    apt(targets=f"echo x >> {count}; echo Packages http://archive.example/ubuntu/ noble main")
    fetcher = AptFetcher()
    for _ in range(2):
        with pytest.raises(PrerequisiteError, match="no source for Debian bookworm"):
            asked(fetcher, DEB)
    assert count.read_text() == "x\n"


def test_an_address_that_is_neither_file_nor_web_is_not_opened(monkeypatch):
    offer = IndexWheel("x", "1.0", "ftp://index.example/x.whl", WHEEL.sha256)
    monkeypatch.setattr(index, "offers", lambda *_, **__: (offer,))
    with pytest.raises(PrerequisiteError, match="unsupported URL scheme 'ftp'"):
        asked(PipFetcher(), WHEEL)


def test_a_python_without_pip_is_told_how_to_get_it(monkeypatch):
    monkeypatch.setattr(index.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PrerequisiteError, match="pip is not installed in this Python") as e:
        index.offers(("x==1.0",), "3.11", closure=False)
    assert "-m ensurepip" in e.value.hint


def test_what_uv_cannot_resolve_is_said_in_its_own_words(program, monkeypatch):
    program("uv", "echo 'no version of torch==9 is old enough' >&2; exit 1")
    monkeypatch.setattr(index.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PrerequisiteError, match="uv cannot resolve the wheels: no version of torch==9") as e:
        index.pins_before(("torch==9",), "3.11", datetime.date(2024, 10, 19))
    assert "image.toml" in e.value.hint


@contextlib.contextmanager
def answering(status, headers):
    class Handler(SilentHandler):
        def do_HEAD(self):
            if not status:
                self.wfile.write(b"what is a status line?\r\n\r\n")
                return
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

    with serving_http(Handler) as url:
        yield f"{url}/x.whl"


@pytest.mark.parametrize(
    ("status", "headers", "said", "hint"),
    [
        (
            503,
            {},
            "cannot get the size of /x.whl: .*HTTP status 503",
            "check the network, then run the command again",
        ),
        (
            0,
            {},
            "cannot get the size of /x.whl: .*what is a status line",
            "check the network, then run the command again",
        ),
        (200, {}, "/x.whl: .* sent no valid Content-Length", "configure pip for another index"),
        (
            200,
            {"Content-Length": "much"},
            "/x.whl: .* sent no valid Content-Length",
            "configure pip for another index",
        ),
        (
            200,
            {"Content-Length": "-7"},
            "/x.whl: .* sent no valid Content-Length",
            "configure pip for another index",
        ),
    ],
)
def test_an_index_that_does_not_say_how_large_a_wheel_is_is_named(
    tiny, monkeypatch, status, headers, said, hint
):
    with answering(status, headers) as url:
        offer = IndexWheel("big", "1.0", url, "a" * 64)
        monkeypatch.setattr(index, "offers", lambda *_, **__: (offer,))
        monkeypatch.setattr(resolve.platform, "python_version_tuple", lambda: ("3", "11", "2"))
        monkeypatch.setattr(resolve.platform, "machine", lambda: "x86_64")
        with pytest.raises(NetworkError, match=said) as e:
            resolve.resolve(tiny.spec, None, (), no_progress)
    assert e.value.hint == hint
