"""A submission becomes one pull request of one commit; the Hub is a local server that speaks its protocol."""

from __future__ import annotations

import base64
import http.server
import json
import threading
from urllib.parse import parse_qs, urlsplit

import pytest

pytest.importorskip("huggingface_hub")

from kit.bundle.verify import open_bundle
from kit.cli import run as speedrun
from kit.errors import NetworkError, PrerequisiteError, UsageError
from kit.submit.check import check
from kit.submit.entry import Entry, lay_out
from kit.submit.hub import repository, send

REPO = "somebody/board"


class FakeHub(http.server.BaseHTTPRequestHandler):
    """Takes commits as the Hub does and keeps them; `answer` is another status for all requests."""

    commits: list[tuple[dict[str, list[str]], list[dict]]]
    tokens: list[str | None]
    answer: int

    def do_POST(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).tokens.append(self.headers.get("Authorization"))
        if self.answer != 200:
            headers = {"X-Error-Code": "RepoNotFound"} if self.answer == 404 else {}
            self.reply(self.answer, {"error": "no"}, headers)
        elif url.path == f"/api/datasets/{REPO}/preupload/main":
            files = json.loads(body)["files"]
            modes = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]
            self.reply(200, {"files": modes})
        elif url.path == f"/api/datasets/{REPO}/commit/main":
            lines = [json.loads(line) for line in body.splitlines()]
            type(self).commits.append((parse_qs(url.query), lines))
            host = f"http://{self.headers['Host']}/datasets/{REPO}"
            self.reply(
                200,
                {
                    "success": True,
                    "commitOid": "ab" * 20,
                    "commitUrl": f"{host}/commit/{'ab' * 20}",
                    "pullRequestUrl": f"{host}/discussions/7",
                },
            )
        else:
            self.reply(404, {"error": f"unknown: {self.path}"})

    def reply(self, status: int, document: dict, headers: dict | None = None) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        """Be silent."""


@pytest.fixture
def hub():
    """A Hub on this machine; gives its handler class and its address."""

    handler = type("Handler", (FakeHub,), {"commits": [], "tokens": [], "answer": 200})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield handler, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def received(commit, root):
    """Write what a commit added into a folder, as the Hub would merge it; return its title."""
    for line in commit[1]:
        if line["key"] == "file":
            assert line["value"]["encoding"] == "base64"
            path = root / line["value"]["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(base64.b64decode(line["value"]["content"]))
    return commit[1][0]["value"]["summary"]


def test_what_arrives_in_the_pull_request_passes_the_check(hub, press, trusted, tmp_path):
    handler, endpoint = hub
    made = press.press(tmp_path / "runs", press.Sample(1))
    files = lay_out(open_bundle(made, trusted), Entry("an-agent"), tmp_path / "out")
    address = send(REPO, tmp_path / "out", files, "Add a run", endpoint, "hf_test")
    assert address == f"{endpoint}/datasets/{REPO}/discussions/7"
    (commit,) = handler.commits
    assert commit[0]["create_pr"] == ["1"]
    assert received(commit, tmp_path / "merged") == "Add a run"
    checked = check(tmp_path / "merged", trusted)
    assert checked.findings == () and len(checked.accepted) == 1
    assert set(handler.tokens) == {"Bearer hf_test"}


def test_the_command_opens_a_pull_request(hub, press, tmp_path, capsys, monkeypatch):
    handler, endpoint = hub
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    made = press.press(tmp_path / "runs", press.Sample(1))
    target = ["--to", f"hf://{REPO}", "--endpoint", endpoint, "--keys", str(tmp_path / "keys")]
    assert speedrun(["submit", str(made), "--agent", "an-agent", *target]) == 0
    assert capsys.readouterr().out.strip().endswith("/discussions/7")
    assert len(handler.commits) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, PrerequisiteError), (403, PrerequisiteError), (404, PrerequisiteError), (400, NetworkError)],
)
def test_a_refusal_of_the_hub_is_said_with_the_next_step(hub, tmp_path, status, kind):
    handler, endpoint = hub
    handler.answer = status
    (tmp_path / "x").write_text("x")
    with pytest.raises(kind) as raised:
        send(REPO, tmp_path, ["x"], "title", endpoint, "hf_test")
    assert raised.value.hint


@pytest.mark.parametrize("url", ["hf://", "hf://one", "hf://a/b/c", "https://a/b", "hf://../x", "hf://a/b\n"])
def test_what_names_no_dataset_is_refused(url):
    with pytest.raises(UsageError):
        repository(url)


def test_both_spellings_of_a_dataset_are_known():
    assert repository("hf://a/b") == repository("hf://datasets/a/b") == "a/b"
