"""Every request of a client counts until it is answered or cancelled, whatever else the client sends."""

import json
import math

import pytest

pytest.importorskip("mcp")

import anyio

from kit.session.messages import INVALID_REQUEST, OpenRequests, _read


def received(*messages):
    """Return the requests that are open after these messages, what the server got, and the answers."""
    data = [b"".join(json.dumps({"jsonrpc": "2.0", **m}).encode() + b"\n" for m in messages), b""]
    answers, open_requests = [], OpenRequests()

    async def receive():
        return data.pop(0)

    async def answer(line):
        answers.append(json.loads(line))

    async def read():
        to_server, from_client = anyio.create_memory_object_stream(math.inf)
        with from_client:
            await _read(None, receive, to_server, answer, open_requests)
            return from_client.statistics().current_buffer_used

    return open_requests, anyio.run(read), answers


def request(number, method="tools/call"):
    return {"id": number, "method": method, "params": {}}


def test_a_request_whose_id_is_in_use_is_refused_and_not_done():
    for again in (7, "7"):
        open_requests, passed, answers = received(request(7), request(again))
        assert (7 in open_requests, passed) == (True, 1)
        assert [(a["id"], a["error"]["code"]) for a in answers] == [(None, INVALID_REQUEST)]


def test_only_a_cancellation_ends_a_request_before_its_answer():
    progress = {"method": "notifications/progress", "params": {"requestId": 7}}
    assert 7 in received(request(7), progress)[0]
    assert 7 not in received(request(7), {**progress, "method": "notifications/cancelled"})[0]
