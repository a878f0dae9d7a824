"""Each fault of a real HTTP endpoint ends as specified, and nothing leaks: key, environment, redirects."""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import itertools
import json
import random
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from local_server import running
from model_server import MODEL, ModelServer, Reply, completion, error, serving

from kit.agent.llm import client, interruptible
from kit.agent.llm.client import LiveTransport
from kit.agent.llm.key import ApiKey
from kit.agent.llm.profile import CallTimeouts, EditFormat, ModelProfile, TokenParameter
from kit.agent.llm.record import CallRecord, write_record
from kit.agent.llm.retry import BILLED_ATTEMPTS, MAX_ATTEMPTS, UNREACHABLE_ATTEMPTS, RetryLoop
from kit.agent.llm.wire import CallFault, CallKey, CallOutcome, ChatRole, Message, TokenUsage
from kit.core.errors import PrerequisiteError, UsageError

KEY = "test-key-4f9A7c2E"
PLACE = CallKey(1, 1)
LIMIT_S = 60.0
JSON = (("Content-Type", "application/json"),)


class Clock:
    """A clock that only `sleep` moves, so that no test waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float, cancelled: object) -> None:
        self.slept.append(seconds)
        self.now += seconds


def profile_of(url: str, **changed: object) -> ModelProfile:
    return replace(
        ModelProfile(
            name="test",
            model=MODEL,
            base_url=url,
            token_parameter=TokenParameter.MAX_COMPLETION_TOKENS,
            max_output_tokens=64,
            context_tokens=4096,
            edit_format=EditFormat.BLOCKS,
            timeouts=CallTimeouts(LIMIT_S, LIMIT_S),
        ),
        **changed,
    )


def transport_of(url: str, clock: Clock | None = None, **changed: object) -> LiveTransport:
    clock = clock or Clock()
    loop = RetryLoop(random.Random(0), sleep=clock.sleep, clock=clock)
    return LiveTransport(profile_of(url, **changed), ApiKey(KEY), loop)


def ask(transport: LiveTransport, wall_left_s: float = 10_000.0) -> CallOutcome:
    request = transport._profile.request(
        (Message(ChatRole.SYSTEM, "Be brief."), Message(ChatRole.USER, "Edit."))
    )
    return transport.call(request, PLACE, wall_left_s, lambda: False)


def outcome_of(
    *replies: Reply, clock: Clock | None = None, **changed: object
) -> tuple[CallOutcome, ModelServer]:
    with serving(*replies) as server:
        outcome = ask(transport_of(server.url, clock, **changed))
    assert len(outcome.attempts) == len(server.requests)
    assert [a.number for a in outcome.attempts] == list(range(1, len(outcome.attempts) + 1))
    assert KEY not in repr(outcome)
    return outcome, server


def test_an_answer_with_all_that_was_asked() -> None:
    details = {
        "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    usage = {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19, **details}
    reply = completion(
        "hello", usage=usage, reasoning_content="thinking", headers=(("x-request-id", "req-7"),)
    )
    outcome, server = outcome_of(
        reply, temperature=0.5, seed=7, reasoning_effort="low", extra_body=(("top_k", 3),)
    )
    assert outcome.fault is None and outcome.response is not None
    response = outcome.response
    assert (response.text, response.reasoning, response.finish_reason) == ("hello", "thinking", "stop")
    assert response.usage == TokenUsage(12, 7, 4, 2, 3)
    assert (response.asked_model, response.answered_model) == (MODEL, MODEL)
    assert (response.request_id, response.system_fingerprint) == ("req-7", "fp_1")
    (request,) = server.requests
    assert request.path == "/v1/chat/completions"
    assert request.body == {
        "model": MODEL,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Edit."},
        ],
        "max_completion_tokens": 64,
        "temperature": 0.5,
        "seed": 7,
        "reasoning_effort": "low",
        "top_k": 3,
    }


def test_the_token_parameter_has_the_name_of_the_profile() -> None:
    _, server = outcome_of(completion(), token_parameter=TokenParameter.MAX_TOKENS)
    assert server.requests[0].body["max_tokens"] == 64
    assert "max_completion_tokens" not in server.requests[0].body


ONCE = [
    (error(401, "Incorrect API key provided"), CallFault.AUTH),
    (error(403, "not for this project"), CallFault.AUTH),
    (error(429, "You exceeded your quota", "insufficient_quota"), CallFault.AUTH),
    (error(404, "The model does not exist"), CallFault.NOT_FOUND),
    (error(400, "Unsupported parameter: 'max_tokens'"), CallFault.BAD_REQUEST),
    (error(400, "too long", "context_length_exceeded"), CallFault.CONTEXT_TOO_LONG),
    (error(400, "This model's maximum context length is 32768 tokens"), CallFault.CONTEXT_TOO_LONG),
    (error(400, "blocked", "content_filter"), CallFault.REFUSED),
    (completion(None), CallFault.EMPTY),
    (completion(" \n"), CallFault.EMPTY),
    (completion("half a", finish_reason="length"), CallFault.LENGTH),
    (completion(None, finish_reason="length"), CallFault.LENGTH),
    (completion("", finish_reason="content_filter"), CallFault.REFUSED),
    (completion(None, refusal="I will not."), CallFault.REFUSED),
    (completion(model="another-model"), CallFault.WRONG_MODEL),
]


@pytest.mark.parametrize(("reply", "fault"), ONCE)
def test_a_fault_that_is_not_tried_again(reply: Reply, fault: CallFault) -> None:
    outcome, server = outcome_of(reply)
    assert (outcome.fault, len(server.requests)) == (fault, 1)
    assert outcome.attempts[0].http_status == reply.status
    assert outcome.detail


def test_what_a_bad_answer_used_is_told_once() -> None:
    outcome, _ = outcome_of(completion("half a", finish_reason="length"))
    assert outcome.response is not None and outcome.response.usage == TokenUsage(12, 7)
    assert [a.usage for a in outcome.attempts] == [None]


WAITED = [
    (error(429, "slow down"), CallFault.RATE_LIMIT),
    (error(500, "broken"), CallFault.SERVER_ERROR),
    (error(502, "broken"), CallFault.SERVER_ERROR),
    (error(503, "busy"), CallFault.OVERLOADED),
    (error(529, "busy"), CallFault.OVERLOADED),
    (Reply(b'{"error": {"code": 503, "message": "busy"}}'), CallFault.OVERLOADED),
    (Reply(b'{"error": {"message": "upstream failed"}}'), CallFault.SERVER_ERROR),
]


@pytest.mark.parametrize(("reply", "fault"), WAITED)
def test_a_fault_that_is_tried_until_an_answer_comes(reply: Reply, fault: CallFault) -> None:
    clock = Clock()
    outcome, _ = outcome_of(reply, reply, completion(), clock=clock)
    assert outcome.fault is None
    assert [a.fault for a in outcome.attempts] == [fault, fault, None]
    first, second = clock.slept
    assert 2 <= first <= 4 and 4 <= second <= 8
    assert [a.waited_s for a in outcome.attempts] == pytest.approx([0.0, first, second])


@pytest.mark.parametrize("date", [False, True])
def test_retry_after_is_obeyed(date: bool) -> None:
    asked = "30"
    if date:
        when = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=500)
        asked = email.utils.format_datetime(when, usegmt=True)
    clock = Clock()
    outcome, _ = outcome_of(error(429, "slow down", retry_after=asked), completion(), clock=clock)
    assert outcome.fault is None
    assert (90 < clock.slept[0] <= 501) if date else (30 <= clock.slept[0] <= 31)


def test_a_retry_after_beyond_the_bound_ends_the_call() -> None:
    clock = Clock()
    outcome, _ = outcome_of(error(429, "slow down", retry_after="86400"), completion(), clock=clock)
    assert (outcome.fault, clock.slept) == (CallFault.RATE_LIMIT, [])
    assert "86,400 s" in outcome.detail


def test_no_wait_goes_beyond_the_wall_budget() -> None:
    clock = Clock()
    with serving(error(503, "busy")) as server:
        outcome = ask(transport_of(server.url, clock), wall_left_s=250.0)
    assert outcome.fault is CallFault.OVERLOADED
    assert clock.now < 250.0 and len(server.requests) == len(outcome.attempts) < MAX_ATTEMPTS
    assert "no time left" in outcome.detail


TWICE = [
    (replace(completion(), cut_after=40), CallFault.CUT_STREAM),
    (Reply(b"{not json"), CallFault.MALFORMED),
    (Reply(b'{"a": NaN}'), CallFault.MALFORMED),
    (Reply(b"[]"), CallFault.MALFORMED),
    (Reply(b'{"object": "chat.completion", "choices": []}'), CallFault.MALFORMED),
    (Reply(b'{"choices": [{"text": "old"}]}'), CallFault.MALFORMED),
    (Reply(b"\xff\xfe"), CallFault.MALFORMED),
    (Reply(b"[" * 100_000), CallFault.MALFORMED),
    (Reply(b'{"choices": [' + b"[]," * 300_000 + b"1]}"), CallFault.MALFORMED),
    (Reply(b"", 204), CallFault.MALFORMED),
    (
        Reply(b"<html><body>Sign in</body></html>", headers=(("Content-Type", "text/html"),)),
        CallFault.MALFORMED,
    ),
    (error(504, "gateway timeout"), CallFault.TIMEOUT),
]


@pytest.mark.parametrize(("reply", "fault"), TWICE)
def test_a_fault_that_may_be_billed_is_tried_again_once(reply: Reply, fault: CallFault) -> None:
    outcome, server = outcome_of(reply)
    assert (outcome.fault, len(server.requests)) == (fault, BILLED_ATTEMPTS)


@pytest.mark.parametrize("reply", [replace(completion(), hang=True), replace(completion(), hang_after=30)])
def test_no_byte_within_the_read_timeout(reply: Reply) -> None:
    outcome, server = outcome_of(reply, timeouts=CallTimeouts(LIMIT_S, 1.0))
    assert (outcome.fault, len(server.requests)) == (CallFault.TIMEOUT, BILLED_ATTEMPTS)
    assert "1 s" in outcome.detail


def test_the_run_s_time_ends_a_request_under_way() -> None:
    with serving(replace(completion(), hang=True)) as server:
        times = itertools.chain([0.0] * 3, itertools.repeat(1.0))  # none passes before the request
        loop = RetryLoop(random.Random(0), clock=times.__next__)
        outcome = ask(LiveTransport(profile_of(server.url), ApiKey(KEY), loop), wall_left_s=0.5)
    assert (outcome.fault, len(outcome.attempts)) == (CallFault.TIMEOUT, 1)
    assert outcome.detail == "the run's time ended during the request"


def test_a_cancelled_request_ends_at_once() -> None:
    with serving(replace(completion(), hang=True)) as server:
        transport = transport_of(server.url)
        request = transport._profile.request((Message(ChatRole.USER, "Edit."),))
        outcome = transport.call(request, PLACE, 1e6, lambda: bool(server.requests))
    assert (outcome.fault, len(server.requests)) == (CallFault.CANCELLED, 1)


def test_a_body_beyond_the_bound_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_ANSWER", 1 << 20)
    outcome, server = outcome_of(error(503, "busy"), Reply(b"x" * 65536, repeat=1024))
    assert outcome.fault is CallFault.MALFORMED
    assert server.sent < (64 << 20) * BILLED_ATTEMPTS // 2
    assert "larger than" in outcome.detail


def test_an_error_s_body_beyond_the_bound_is_cut() -> None:
    outcome, server = outcome_of(Reply(b"<b>no</b> " * 6554, 401, repeat=1024))
    assert outcome.fault is CallFault.AUTH
    assert server.sent < 32 << 20
    assert len(outcome.detail) < 500


@pytest.mark.parametrize("body", [b"[" * 60_000, b'"text"', b"null", b'{"error": ["x"]}', b'{"error": null}'])
def test_an_error_of_any_shape_has_the_fault_of_its_status(body: bytes) -> None:
    assert outcome_of(Reply(body, 401, JSON))[0].fault is CallFault.AUTH


def test_a_compressed_answer_is_refused() -> None:
    import gzip

    reply = Reply(gzip.compress(completion().body), headers=(*JSON, ("Content-Encoding", "gzip")))
    outcome, server = outcome_of(reply)
    assert outcome.fault in (CallFault.CUT_STREAM, CallFault.MALFORMED)
    assert server.requests[0].header("accept-encoding") == ["identity"]


def test_missing_usage_is_null_and_not_zero() -> None:
    outcome, _ = outcome_of(completion(usage=None))
    assert outcome.response is not None and outcome.response.usage == TokenUsage()


@pytest.mark.parametrize("wrong", ["12", -1, True, 1.5, 10**30, None, {}])
def test_a_number_of_tokens_that_is_none_is_null(wrong: object) -> None:
    document = json.loads(completion().body)
    document["usage"]["prompt_tokens"] = wrong
    outcome, _ = outcome_of(Reply(json.dumps(document).encode()))
    assert outcome.response is not None and outcome.response.usage == TokenUsage(None, 7)


def test_a_dated_name_of_the_model_must_be_allowed() -> None:
    reply = completion(model=f"{MODEL}-2026-01-02")
    assert outcome_of(reply)[0].fault is CallFault.WRONG_MODEL
    allowed, _ = outcome_of(reply, allow_answered_models=(f"{MODEL}-*",))
    assert allowed.fault is None and allowed.response is not None
    assert allowed.response.answered_model == f"{MODEL}-2026-01-02"


def test_a_redirect_is_not_followed() -> None:
    with serving(completion()) as other:
        target = f"{other.url}/chat/completions".replace("127.0.0.1", "localhost")
        outcome, _ = outcome_of(Reply(b"", 307, (("Location", target),)))
    assert other.requests == []
    assert outcome.fault is CallFault.NOT_FOUND
    assert target in outcome.detail


def test_headers_of_an_answer_are_shown_as_one_line() -> None:
    reply = completion(headers=(("x-request-id", "a\x1b[31mb" + "c" * 500),))
    outcome, _ = outcome_of(reply)
    identifier = outcome.attempts[0].request_id
    assert identifier is None or (len(identifier) <= 128 and identifier.isprintable())


def test_no_variable_of_the_environment_reaches_the_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    sentinel = "SENTINEL"
    for name in ("API_KEY", "ADMIN_KEY", "ORG_ID", "PROJECT_ID", "WEBHOOK_SECRET", "API_VERSION"):
        monkeypatch.setenv(f"OPENAI_{name}", f"{sentinel}-{name}")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    custom = (
        f"Authorization: Bearer {sentinel}\nX-Custom: {sentinel}\nHost: {sentinel}\nUser-Agent: {sentinel}"
    )
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", custom)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    outcome, server = outcome_of(completion())
    assert outcome.fault is None
    (request,) = server.requests
    assert sentinel not in repr(request)
    assert request.header("authorization") == [f"Bearer {KEY}"]
    assert {name.lower() for name, _ in request.headers} == {
        "accept", "accept-encoding", "authorization", "connection", "content-length", "content-type", "host",
        "user-agent", "x-stainless-raw-response",
    }  # fmt: skip


def test_a_proxy_of_the_environment_is_used_if_the_profile_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving(completion()) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/v1"))
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/v1"))
        transport = transport_of("http://endpoint.invalid/v1", trust_env=True, allow_plain_http=True)
        assert ask(transport).fault is None
    assert proxy.requests[0].path == "http://endpoint.invalid/v1/chat/completions"


ECHOES = [
    error(401, f"Incorrect API key provided: {KEY}"),
    Reply(f"<html>Bearer {KEY}</html>".encode(), 401),
    Reply(json.dumps({KEY: 1, "error": f"header was Bearer {KEY}"}).encode(), 400),
    Reply(f'{{"{KEY}": '.encode()),
    Reply(f'{{"{KEY}": 1, "{KEY}": 2}}'.encode(), headers=(("Content-Type", KEY),)),
    completion(f"your key is {KEY}", reasoning_content=KEY, model=KEY, headers=(("x-request-id", KEY),)),
    completion(None, refusal=KEY),
    Reply(completion("x").body.replace(b'"x"', json.dumps(KEY).replace("t", "\\u0074").encode())),
    Reply(b"", 302, (("Location", f"http://127.0.0.1:9/?key={KEY}"),)),
]


@pytest.mark.parametrize("reply", ECHOES)
def test_a_key_that_the_endpoint_sends_back_is_written_nowhere(reply: Reply, tmp_path: object) -> None:
    with serving(reply) as server:
        live = transport_of(server.url)
        request = live._profile.request((Message(ChatRole.USER, "Edit."),))
        outcome = live.call(request, PLACE, 1e4, lambda: False)
        write_record(tmp_path, CallRecord(PLACE, request, outcome))  # type: ignore[arg-type]
    (record,) = tmp_path.iterdir()  # type: ignore[attr-defined]
    assert KEY.encode() not in record.read_bytes()
    assert KEY not in repr(outcome) and KEY not in repr(live) and KEY not in repr(live.__dict__)
    assert b"uthorization" not in record.read_bytes()


def test_an_endpoint_that_never_answered_is_left_after_a_few_attempts() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
        clock = Clock()
        outcome = ask(transport_of(url, clock))
    assert outcome.fault is CallFault.UNREACHABLE
    assert len(outcome.attempts) == len(clock.slept) + 1 == UNREACHABLE_ATTEMPTS
    assert f"cannot connect to {url}: " in outcome.detail and clock.now < 60


@pytest.mark.parametrize("first", [completion(), error(500, "starting")])
def test_an_endpoint_that_goes_away_after_it_answered_is_waited_for(first: Reply) -> None:
    clock = Clock()
    with serving(first) as server:
        transport = transport_of(server.url, clock)
        ask(transport, wall_left_s=160.0)
    clock.now = 0.0
    outcome = ask(transport, wall_left_s=615.0)
    assert outcome.fault is CallFault.CONNECTION
    assert len(outcome.attempts) > UNREACHABLE_ATTEMPTS and clock.now > 400


def drip(connection: socket.socket, head: bytes, part: bytes, end: threading.Event) -> None:
    """Send a byte stream that has no end, each part long before the read timeout."""
    with connection, contextlib.suppress(OSError):
        connection.recv(65536)
        connection.sendall(head)
        while not end.wait(0.05):
            connection.sendall(part)


CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "part"),
    [(CHUNKED, b"a\r\ndata: {}\n\n\r\n"), (b"", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")],
    ids=["endless stream", "endless interim answers"],
)
def test_an_answer_without_an_end_ends(monkeypatch: pytest.MonkeyPatch, head: bytes, part: bytes) -> None:
    limits: list[float] = []

    def run_for_a_second(work: Any, limit_s: float, cancelled: Callable[[], bool]) -> Any:
        limits.append(limit_s)
        return interruptible.run_interruptibly(work, 1.0, cancelled)

    monkeypatch.setattr(client, "REQUEST_MAX_S", 1.0)
    monkeypatch.setattr(client, "run_interruptibly", run_for_a_second)
    end = threading.Event()

    class Drips(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            drip(self.request, head, part, end)

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Drips)
    with running(server):
        outcome = ask(transport_of(f"http://127.0.0.1:{server.server_address[1]}/v1"))
        end.set()
    assert (outcome.fault, len(outcome.attempts)) == (CallFault.TIMEOUT, BILLED_ATTEMPTS)
    assert limits == [2 * LIMIT_S] * BILLED_ATTEMPTS, "twice the read timeout"
    assert f"no whole answer within {2 * LIMIT_S:.0f} s" in outcome.detail


@pytest.mark.parametrize("codec", ["rot13", "zlib_codec", "nonexistent", "idna", "undefined"])
def test_the_codec_that_an_endpoint_names_is_not_used(codec: str) -> None:
    reply = Reply(b"no such thing", 400, (("Content-Type", f"text/plain; charset={codec}"),))
    outcome, _ = outcome_of(reply)
    assert outcome.fault is CallFault.BAD_REQUEST and "no such thing" in outcome.detail


@pytest.mark.parametrize("tokens", [1 << 53, 10**9 + 1, 10**30, -1, "7", 7.0, True, None])
def test_numbers_of_tokens_that_cannot_be_are_unknown(tokens: object, tmp_path: object) -> None:
    good = completion("x", usage={"prompt_tokens": 424242, "completion_tokens": 1, "total_tokens": 1})
    with serving(Reply(good.body.replace(b"424242", json.dumps(tokens).encode()))) as server:
        live = transport_of(server.url)
        request = live._profile.request((Message(ChatRole.USER, "Edit."),))
        outcome = live.call(request, PLACE, 1e4, lambda: False)
    assert outcome.response is not None and outcome.response.usage == TokenUsage(None, 1)
    write_record(tmp_path, CallRecord(PLACE, request, outcome))  # type: ignore[arg-type]


def test_a_connection_closed_before_the_answer_may_be_billed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(BILLED_ATTEMPTS):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)

        thread = threading.Thread(target=serve)
        thread.start()
        outcome = ask(transport_of(f"http://127.0.0.1:{listener.getsockname()[1]}/v1"))
        thread.join()
    assert (outcome.fault, len(outcome.attempts)) == (CallFault.CUT_STREAM, BILLED_ATTEMPTS)


def test_a_name_that_does_not_resolve_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: object, **kwargs: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    outcome = ask(transport_of("https://endpoint.invalid/v1"))
    assert (outcome.fault, len(outcome.attempts)) == (CallFault.UNREACHABLE, UNREACHABLE_ATTEMPTS)
    assert "the name endpoint.invalid does not resolve" in outcome.detail


def test_a_certificate_that_is_not_trusted_is_not_tried_again(tls: str) -> None:
    outcome = ask(transport_of(tls))
    assert (outcome.fault, len(outcome.attempts)) == (CallFault.UNREACHABLE, 1)
    assert "the certificate of https://localhost" in outcome.detail and "is not trusted" in outcome.detail


@pytest.fixture
def tls(tmp_path: object) -> Iterator[str]:
    """The address of a server with a certificate that it signed itself."""
    import ssl

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - datetime.timedelta(1))
    builder = builder.not_valid_after(now + datetime.timedelta(1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    file = tmp_path / "server.pem"  # type: ignore[operator]
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            import contextlib

            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True):
                pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"https://localhost:{listener.getsockname()[1]}/v1"
        thread.join()


def test_without_the_sdk_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PrerequisiteError) as e:
        transport_of("http://127.0.0.1:9/v1")
    assert e.value.headline == "the openai SDK is not installed"
    assert "[agent]" in e.value.hint and "\n" not in e.value.hint


def test_the_sdk_is_not_imported_before_a_call() -> None:
    import subprocess

    code = "import sys, kit.agent.llm.client; print('openai' in sys.modules, 'httpx2' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "False"]


def test_a_scripted_profile_has_no_endpoint() -> None:
    with pytest.raises(UsageError, match="come from a file"):
        transport_of("script:" + "0" * 64)


def test_an_interrupt_ends_the_work_first() -> None:
    import asyncio

    began, ended = threading.Event(), threading.Event()

    async def work() -> None:
        began.set()
        try:
            await asyncio.sleep(1e6)
        finally:
            ended.set()

    def interrupted() -> bool:
        if began.is_set():
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        interruptible.run_interruptibly(work, 1e6, interrupted)
    assert ended.is_set()
    assert not [t for t in threading.enumerate() if t.name == "model call"]


async def _never() -> None:
    import asyncio

    await asyncio.sleep(1e6)


def test_work_ends_under_a_running_event_loop() -> None:
    import asyncio

    async def outer() -> str:
        async def inner() -> str:
            return "done"

        return interruptible.run_interruptibly(inner, 60.0, lambda: False)

    assert asyncio.run(outer()) == "done"
    with pytest.raises(TimeoutError):
        interruptible.run_interruptibly(_never, 0.05, lambda: False)
    with pytest.raises(interruptible.RequestCancelled):
        interruptible.run_interruptibly(_never, 60.0, lambda: True)
