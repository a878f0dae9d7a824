"""Sources of bytes: resuming, refusing, falling through. Servers here are on the loopback."""

from __future__ import annotations

import contextlib
import hashlib
import io
import urllib.error
import urllib.request
from dataclasses import dataclass, field

import pytest
from local_server import SilentHandler, serving_http

from kit.core.digest import Sha256
from kit.core.download import download
from kit.core.errors import DigestMismatch, NetworkError, PrerequisiteError
from kit.core.store import Artifact, FolderFetcher, Store, no_progress
from kit.image import fetch as room
from kit.image.index import IndexWheel
from kit.image.lock import Deb, Wheel

DATA = bytes(range(256)) * 2000


@dataclass
class Behaviour:
    """What the server does, and what it was asked."""

    data: bytes = DATA
    cut_at: list[int] = field(default_factory=list)
    """Bytes after which each of the next answers is cut off."""
    ranges: bool = True
    status: int = 200
    asked: list[tuple[str, str | None]] = field(default_factory=list)


@contextlib.contextmanager
def serving(behaviour: Behaviour):
    class Handler(SilentHandler):
        def do_GET(self):
            wanted = self.headers.get("Range")
            behaviour.asked.append((self.path, wanted))
            if behaviour.status != 200:
                self.send_error(behaviour.status)
                return
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and behaviour.ranges else 0
            body = behaviour.data[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if behaviour.cut_at:
                body = body[: behaviour.cut_at.pop(0)]
                self.close_connection = True
            with contextlib.suppress(OSError):
                self.wfile.write(body)

    with serving_http(Handler) as url:
        yield url


def wheel(url=None, data=DATA):
    return Wheel(
        "x-1.0-py3-none-any.whl", len(data), Sha256(hashlib.sha256(data).hexdigest()), "x", "1.0", url
    )


def deb():
    pool = "pool/main/g/gcc-12/g++-12_12.2.0-14+deb12u1_amd64.deb"
    sha256 = Sha256(hashlib.sha256(DATA).hexdigest())
    return Deb(pool.rsplit("/")[-1], len(DATA), sha256, "g++-12", "12.2.0-14+deb12u1", "a" * 40, pool)


def test_a_transfer_that_breaks_is_resumed_by_range(tmp_path):
    behaviour = Behaviour(cut_at=[100_000, 50_000])
    with serving(behaviour) as url:
        path = Store(tmp_path).ensure(wheel(f"{url}/x.whl"), [room.UrlFetcher()])
    assert path.read_bytes() == DATA
    assert [asked for _, asked in behaviour.asked] == [None, "bytes=100000-", "bytes=150000-"]


def test_a_transfer_that_keeps_breaking_leaves_its_bytes_for_the_next_run(tmp_path):
    behaviour = Behaviour(cut_at=[10_000, 10_000, 10_000, 0, 0, 0, 0])
    store = Store(tmp_path)
    with serving(behaviour) as url:
        with pytest.raises(NetworkError, match=f"30000 of {len(DATA)} bytes received") as caught:
            store.ensure(wheel(f"{url}/x.whl"), [room.UrlFetcher()])
        assert "resumes" in caught.value.hint
        assert store.ensure(wheel(f"{url}/x.whl"), [room.UrlFetcher()]).read_bytes() == DATA
    assert behaviour.asked[-1][1] == "bytes=30000-"


def test_a_server_that_knows_no_ranges_is_read_from_the_start(tmp_path):
    behaviour = Behaviour(cut_at=[100_000], ranges=False)
    with serving(behaviour) as url:
        assert Store(tmp_path).ensure(wheel(f"{url}/x.whl"), [room.UrlFetcher()]).read_bytes() == DATA


@pytest.mark.parametrize(
    "data", [DATA[:-1], DATA + b"more" * 100_000, b"?" + DATA[1:]], ids=["short", "long", "changed"]
)
def test_other_bytes_are_refused_and_dropped(tmp_path, data):
    store = Store(tmp_path)
    with (
        serving(Behaviour(data=data)) as url,
        pytest.raises(DigestMismatch, match=r"x-1\.0-py3-none-any\.whl"),
    ):
        store.ensure(wheel(f"{url}/x.whl"), [room.UrlFetcher()])
    assert not list((tmp_path / "partial").iterdir())
    assert not (tmp_path / "blobs").exists()


def test_an_endless_answer_is_not_read_to_its_end():
    sink = io.BytesIO()
    with serving(Behaviour(data=bytes(5_000_000))) as url:
        download(f"{url}/x.whl", wheel(), sink, 0, no_progress)
    assert len(sink.getvalue()) == len(DATA) + 1


@pytest.mark.parametrize("status", [404, 403, 410])
def test_a_source_without_the_file_gives_way_to_the_next(tmp_path, status):
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / wheel().name).write_bytes(DATA)
    with serving(Behaviour(status=status)) as url:
        path = Store(tmp_path / "s").ensure(wheel(f"{url}/x.whl"), [room.UrlFetcher(), FolderFetcher(mirror)])
    assert path.read_bytes() == DATA


def test_a_source_that_breaks_gives_way_to_the_next(tmp_path):
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / wheel().name).write_bytes(DATA)
    fetchers = [room.UrlFetcher(), FolderFetcher(mirror)]
    with serving(Behaviour(status=500)) as url:
        assert Store(tmp_path / "s").ensure(wheel(f"{url}/x.whl"), fetchers).read_bytes() == DATA


def test_a_source_that_breaks_is_blamed_when_no_other_has_the_file(tmp_path):
    with serving(Behaviour(status=503)) as url, pytest.raises(NetworkError, match="503"):
        Store(tmp_path / "s").ensure(wheel(f"{url}/x.whl"), [room.UrlFetcher(), room.SnapshotFetcher()])


def test_the_mirror_is_asked_before_every_network(tmp_path):
    sources = room.default_fetchers(tmp_path)
    assert isinstance(sources[0], FolderFetcher)
    assert [type(f) for f in room.default_fetchers(None)] == [type(f) for f in sources[1:]]


def test_debs_come_from_the_machines_mirror_by_pool_path(tmp_path, monkeypatch):
    behaviour = Behaviour()
    with serving(behaviour) as url:
        monkeypatch.setattr(room, "mirror_of", lambda suite: f"{url}/{suite}-mirror/")
        assert Store(tmp_path).ensure(deb(), [room.PoolFetcher()]).read_bytes() == DATA
    assert behaviour.asked == [
        ("/bookworm-mirror/pool/main/g/gcc-12/g++-12_12.2.0-14+deb12u1_amd64.deb", None)
    ]


def test_debs_that_the_mirror_dropped_come_from_the_archive_by_sha1(tmp_path, monkeypatch):
    gone, archive = Behaviour(status=404), Behaviour()
    with serving(gone) as mirror, serving(archive) as snapshot:
        monkeypatch.setattr(room, "mirror_of", lambda suite: mirror)
        monkeypatch.setattr(room, "SNAPSHOT", f"{snapshot}/file/")
        fetchers = [room.UrlFetcher(), room.PoolFetcher(), room.SnapshotFetcher()]
        assert Store(tmp_path).ensure(deb(), fetchers).read_bytes() == DATA
    assert archive.asked == [("/file/" + "a" * 40, None)]


def test_a_machine_without_apt_is_told_so(tmp_path, monkeypatch):
    def none(suite):
        raise PrerequisiteError("apt-get is not installed")

    monkeypatch.setattr(room, "mirror_of", none)
    with pytest.raises(PrerequisiteError, match="apt-get is not installed"):
        Store(tmp_path).ensure(deb(), [room.PoolFetcher(), room.AptFetcher()])


class Index:
    """Stands for pip: offers what it is told, and remembers what it was asked."""

    def __init__(self, *offers: IndexWheel) -> None:
        self.offers = offers
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, requirements, python, *, closure, platforms=()):
        self.asked.append(requirements)
        found = tuple(o for o in self.offers if f"{o.project}=={o.version}" in requirements)
        if len(found) != len(requirements):
            raise PrerequisiteError("No matching distribution found")
        return found


def test_pip_is_started_once_for_all_expected_wheels(tmp_path, monkeypatch):
    file = tmp_path / wheel().name
    file.write_bytes(DATA)
    index = Index(
        IndexWheel("x", "1.0", file.as_uri(), wheel().sha256),
        IndexWheel("y", "2.0", "https://invalid/y", "0" * 64),
    )
    monkeypatch.setattr(room.index, "offers", index)
    fetcher = room.PipFetcher()
    fetcher.expect([wheel(), Wheel("y-2.0-py3-none-any.whl", 1, Sha256("0" * 64), "y", "2.0")])
    assert Store(tmp_path / "s").ensure(wheel(), [fetcher]).read_bytes() == DATA
    assert index.asked == [("x==1.0", "y==2.0")]


def test_one_wheel_that_pip_lacks_does_not_spoil_the_others(tmp_path, monkeypatch):
    file = tmp_path / wheel().name
    file.write_bytes(DATA)
    index = Index(IndexWheel("x", "1.0", file.as_uri(), wheel().sha256))
    monkeypatch.setattr(room.index, "offers", index)
    fetcher = room.PipFetcher()
    fetcher.expect([wheel(), Wheel("gone-1.0-py3-none-any.whl", 1, Sha256("0" * 64), "gone", "1.0")])
    assert Store(tmp_path / "s").ensure(wheel(), [fetcher]).read_bytes() == DATA
    assert index.asked == [("x==1.0", "gone==1.0"), ("x==1.0",)]


def test_an_index_that_rebuilt_the_wheel_gives_way_to_the_next_source(tmp_path, monkeypatch):
    monkeypatch.setattr(
        room.index, "offers", Index(IndexWheel("x", "1.0", "file:///nowhere/x.whl", "f" * 64))
    )
    with pytest.raises(PrerequisiteError, match=r"no wheel of x 1\.0"):
        Store(tmp_path).ensure(wheel(), [room.PipFetcher()])


def test_an_error_without_a_message_is_named_by_its_kind(monkeypatch):
    def broken(*_, **__):
        raise urllib.error.URLError(TimeoutError())

    monkeypatch.setattr(urllib.request.OpenerDirector, "open", broken)
    wanted = Artifact("a", len(DATA), Sha256("0" * 64))
    with pytest.raises(NetworkError, match=r"cannot download a: 127\.0\.0\.1: TimeoutError \(0 of"):
        download("http://127.0.0.1/a", wanted, io.BytesIO(), 0, no_progress)
