"""Retries of a download: which failures, how long the wait, when the count starts again, what is reported."""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import io
import threading

import pytest
from local_server import SilentHandler, serving_http
from tenacity import wait_fixed

from kit.core import download as module
from kit.core.digest import Sha256
from kit.core.download import ATTEMPTS, download, repeated
from kit.core.errors import NetworkError, PrerequisiteError, RunError
from kit.core.store import Artifact, no_progress
from kit.core.transfer import retry_after_s

DATA = b"0123456789" * 100
FILE = Artifact("a.bin", len(DATA), Sha256("0" * 64))


@contextlib.contextmanager
def serving(*answers, then=None):
    """Serve the answers in turn: a status with headers, or a number of bytes after which it breaks off."""
    left, ranges = list(answers), []

    class Handler(SilentHandler):
        def do_GET(self):
            ranges.append(self.headers.get("Range"))
            answer = left.pop(0) if left else then
            start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
            if isinstance(answer, tuple):
                self.send_response(answer[0])
                for name, value in answer[1].items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(DATA) - start))
            self.end_headers()
            if callable(answer):
                answer()
            body = DATA[start : start + answer] if isinstance(answer, int) else DATA[start:]
            self.close_connection = True
            self.wfile.write(body)

    with serving_http(Handler) as url:
        yield f"{url}/a.bin", ranges


@pytest.fixture
def waits(monkeypatch):
    """The seconds of each wait; none of them is slept."""
    slept: list[float] = []
    monkeypatch.setattr(module.Repeater, "sleep", lambda self, seconds: slept.append(float(seconds)))
    return slept


def fetched(url, progress=no_progress):
    sink = io.BytesIO()
    download(url, FILE, sink, 0, progress)
    return sink.getvalue()


@pytest.mark.parametrize("status", [408, 416, 425, 429, 500, 502, 503, 504])
def test_a_failure_that_may_pass_is_tried_again(status):
    with serving((status, {})) as (url, ranges):
        assert fetched(url) == DATA
    assert len(ranges) == 2


@pytest.mark.parametrize(("status", "error"), [(400, NetworkError), (404, PrerequisiteError)])
def test_a_failure_that_will_not_pass_is_tried_once(status, error):
    with serving(then=(status, {})) as (url, ranges), pytest.raises(error, match=f"HTTP status {status}"):
        fetched(url)
    assert len(ranges) == 1


def test_the_wait_grows_and_has_jitter(waits):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BACKOFF", module.wait_exponential_jitter(max=30, jitter=1))
        with serving(then=(503, {})) as (url, ranges), pytest.raises(NetworkError, match="HTTP status 503"):
            fetched(url)
    assert len(ranges) == ATTEMPTS
    assert [int(s) for s in waits] == [1, 2, 4] and waits != [1, 2, 4]


def test_retry_after_in_seconds_is_honoured(waits):
    with serving((429, {"Retry-After": "17"})) as (url, _):
        assert fetched(url) == DATA
    assert waits == [17]


def test_retry_after_as_a_date_is_honoured(waits):
    at = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=200)
    with serving((503, {"Retry-After": email.utils.format_datetime(at, usegmt=True)})) as (url, _):
        assert fetched(url) == DATA
    assert 60 < waits[0] < 260


@pytest.mark.parametrize("header", ["", "soon", "-5", "1.5", "Fri, 99 Foo 2026 99:99:99 GMT", "١٢"])
def test_a_retry_after_that_says_nothing_is_ignored(header):
    assert retry_after_s(header) == 0.0


def test_a_longer_backoff_than_retry_after_is_kept(waits, monkeypatch):
    monkeypatch.setattr(module, "BACKOFF", wait_fixed(9))
    with serving((503, {"Retry-After": "2"})) as (url, _):
        assert fetched(url) == DATA
    assert waits == [9]


def test_a_wait_that_is_too_long_fails_and_tells_the_time(waits):
    with serving((503, {"Retry-After": "3600"})) as (url, _), pytest.raises(NetworkError) as caught:
        fetched(url)
    assert "retry after 3600 s" in caught.value.message and "after 3600 s" in caught.value.hint
    assert waits == []


def test_waits_that_the_server_asks_for_are_not_failures(waits):
    with serving(*3 * ATTEMPTS * [(429, {"Retry-After": "1"})]) as (url, _):
        assert fetched(url) == DATA
    assert waits == 3 * ATTEMPTS * [1]


def test_the_rate_limit_is_named_and_waits_in_a_row_are_bounded(waits):
    with serving(then=(429, {"Retry-After": "1"})) as (url, _), pytest.raises(NetworkError) as caught:
        fetched(url)
    assert len(waits) == module.RETRY_AFTER_ATTEMPTS - 1
    assert "HTTP status 429 (rate limit reached), retry after 1 s" in caught.value.message
    assert caught.value.hint == "run the command again after 1 s; the download resumes"
    waits.clear()
    with serving(then=(503, {"Retry-After": "250"})) as (url, _), pytest.raises(NetworkError):
        fetched(url)
    assert waits == [250, 250]


def test_a_rate_limit_without_a_time_is_waited_for_longer(waits):
    with serving(then=(429, {})) as (url, ranges), pytest.raises(NetworkError) as caught:
        fetched(url)
    assert len(ranges) == module.RATE_LIMIT_ATTEMPTS
    assert "rate limit reached" in caught.value.message and "check the network" not in caught.value.hint


def test_the_time_of_a_rate_limit_header_is_honoured(waits):
    with serving((429, {"RateLimit": '"resolvers";r=0;t=31'})) as (url, _):
        assert fetched(url) == DATA
    assert waits == [31]


def test_progress_starts_the_count_of_waits_again(waits):
    limit = (429, {"Retry-After": "200"})
    with serving(*4 * [limit, limit, 10]) as (url, _):
        assert fetched(url) == DATA
    assert [w for w in waits if w] == 8 * [200]


def test_progress_starts_the_count_again():
    breaks = 3 * ATTEMPTS
    with serving(*[10] * breaks) as (url, ranges):
        assert fetched(url) == DATA
    assert ranges == [None, *(f"bytes={10 * n}-" for n in range(1, breaks + 1))]


def test_attempts_without_a_new_byte_are_counted_from_the_last_progress():
    with (
        serving(10, 0, 0, 10, then=0) as (url, ranges),
        pytest.raises(NetworkError, match="20 of 1000 bytes"),
    ):
        fetched(url)
    assert len(ranges) == 4 + ATTEMPTS


def test_a_silent_server_does_not_stop_the_reports(monkeypatch):
    monkeypatch.setattr(module, "REPORT_S", 0.01)
    reports, reported = [], threading.Event()

    def progress(*report):
        reports.append(report)
        if reports.count(("a.bin", 0, len(DATA))) >= 3:
            reported.set()

    with serving(lambda: reported.wait(60)) as (url, _):
        assert fetched(url, progress) == DATA
    assert reported.is_set() and reports[-1] == ("a.bin", len(DATA), len(DATA))


def test_a_wait_reports_and_the_receiver_can_end_it(monkeypatch):
    monkeypatch.setattr(module, "BACKOFF", wait_fixed(60))

    def stop(*_):
        raise RunError("stopped")

    with serving(then=(503, {})) as (url, ranges), pytest.raises(RunError, match="stopped"):
        fetched(url, stop)
    assert len(ranges) == 1


def test_reports_end_with_the_block(monkeypatch):
    monkeypatch.setattr(module, "REPORT_S", 0.01)
    reports, reported = [], threading.Event()

    def progress(*report):
        reports.append(report)
        reported.set()

    with repeated(progress, "pip", 0, 0):
        assert reported.wait(60)
    count = len(reports)
    assert "progress" not in [thread.name for thread in threading.enumerate()]
    assert set(reports) == {("pip", 0, 0)} and len(reports) == count
