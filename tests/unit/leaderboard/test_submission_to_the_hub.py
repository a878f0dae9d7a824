"""A submission becomes one pull request of one commit; the Hub is a local server that speaks its protocol."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from urllib.parse import parse_qs, urlsplit

import pytest
from local_server import SilentHandler, serving_http

pytest.importorskip("huggingface_hub")

from kit.cli import run as speedrun
from kit.core.errors import NetworkError, PrerequisiteError, UsageError
from kit.leaderboard.submit.check import check
from kit.leaderboard.submit.entry import BoardEntry, write_submission
from kit.leaderboard.submit.hub import open_pull_request, repository
from kit.result.predicate import Series
from kit.result.verify import open_bundle
from kit.series.record import Arm, SeriesPlan, Slot, StopRule, close, new_series_id, reserved_series
from kit.values.profile import Profile

REPO = "somebody/board"
# of huggingface_hub's own use of its HTTP library
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def mode_of(path: str) -> str:
    """How the Hub keeps a file: a dataset's .gitattributes puts *.gz into Git LFS."""
    return "lfs" if path.endswith(".gz") else "regular"


class FakeHub(SilentHandler):
    """Takes commits as the Hub does and keeps them; `answer` is another status for all requests."""

    commits: list[tuple[dict[str, list[str]], list[dict]]]
    large: dict[str, bytes]
    tokens: list[str | None]
    answer: int
    broken_store: bool

    def do_POST(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).tokens.append(self.headers.get("Authorization"))
        if self.answer != 200:
            headers = {"X-Error-Code": "RepoNotFound"} if self.answer == 404 else {}
            self.reply(self.answer, {"error": "no"}, headers)
        elif url.path == f"/api/datasets/{REPO}/preupload/main":
            files = json.loads(body)["files"]
            modes = [
                {"path": f["path"], "uploadMode": mode_of(f["path"]), "shouldIgnore": False} for f in files
            ]
            self.reply(200, {"files": modes})
        elif url.path == f"/datasets/{REPO}.git/info/lfs/objects/batch":
            self.reply(200, {"objects": [self.ticket(o) for o in json.loads(body)["objects"]]})
        elif url.path == "/verify":
            said = json.loads(body)
            self.reply(200 if len(self.large.get(said["oid"], b"")) == said["size"] else 422, {})
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

    def ticket(self, wanted: dict) -> dict:
        """What Git LFS answers about one file: where to put it, and where to say that it is there."""
        host = f"http://{self.headers['Host']}"
        actions = {"upload": {"href": f"{host}/large/{wanted['oid']}"}, "verify": {"href": f"{host}/verify"}}
        return {**wanted, "actions": actions}

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        oid = self.path.rsplit("/", 1)[-1]
        if self.broken_store or hashlib.sha256(body).hexdigest() != oid:
            self.reply(403, {"error": "no"})
        else:
            type(self).large[oid] = body
            self.reply(200, {})

    def reply(self, status: int, document: dict, headers: dict | None = None) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def hub(monkeypatch):
    """A Hub on this machine; gives its handler class and its address."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)  # plain Git LFS instead
    own = {"commits": [], "tokens": [], "large": {}, "answer": 200, "broken_store": False}
    handler = type("Handler", (FakeHub,), own)
    with serving_http(handler) as url:
        yield handler, url


def received(handler, commit, root, pointers=False):
    """
    Write what a commit added into a folder, as the Hub would merge it; return its title.

    With `pointers`, as a clone without Git LFS has it.
    """
    for line in commit[1]:
        value = line["value"]
        if line["key"] == "header":
            continue
        path = root / value["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        if line["key"] == "file":
            assert value["encoding"] == "base64"
            path.write_bytes(base64.b64decode(value["content"]))
        else:
            assert (line["key"], value["algo"]) == ("lfsFile", "sha256")
            data = handler.large[value["oid"]]
            assert len(data) == value["size"]
            pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{value['oid']}\nsize 9\n"
            path.write_bytes(pointer.encode() if pointers else data)
    return commit[1][0]["value"]["summary"]


def test_what_arrives_in_the_pull_request_passes_the_check(hub, press, trusted, tmp_path):
    handler, endpoint = hub
    made = press.press(tmp_path / "runs", press.Sample(1))
    files = write_submission(open_bundle(made, trusted), BoardEntry("an-agent"), tmp_path / "out")
    address = open_pull_request(REPO, tmp_path / "out", files, "Add a run", endpoint, "hf_test")
    assert address == f"{endpoint}/datasets/{REPO}/discussions/7"
    (commit,) = handler.commits
    assert commit[0]["create_pr"] == ["1"]
    assert received(handler, commit, tmp_path / "merged") == "Add a run"
    assert len(handler.large) == 2
    checked = check(tmp_path / "merged", trusted)
    assert checked.findings == () and len(checked.accepted) == 1
    assert set(handler.tokens) == {"Bearer hf_test"}


def test_a_clone_without_the_large_files_is_told_what_it_lacks(hub, press, trusted, tmp_path):
    handler, endpoint = hub
    made = press.press(tmp_path / "runs", press.Sample(1))
    files = write_submission(open_bundle(made, trusted), BoardEntry("an-agent"), tmp_path / "out")
    open_pull_request(REPO, tmp_path / "out", files, "Add a run", endpoint, "hf_test")
    received(handler, handler.commits[0], tmp_path / "clone", pointers=True)
    (finding,) = check(tmp_path / "clone", trusted).findings
    assert finding.rule == "invalid" and "run git lfs pull" in finding.message


def test_a_whole_series_is_one_pull_request(hub, press, trusted, tmp_path, monkeypatch, capsys):
    handler, endpoint = hub
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    script = b"# a candidate\n"
    slots = tuple(
        Slot(f"r03-20260101T000000Z-{n:08x}", f"{n:032x}", Arm.CANDIDATE, press.tree_of(script))
        for n in range(3)
    )
    created = "2026-01-01T00:00:00.000+00:00"
    plan = SeriesPlan(new_series_id(3), created, 3, Profile.FULL, StopRule.ALL_RUNS, slots)
    with reserved_series(tmp_path / "runs", plan, press.MAKE.SIGNER) as (where, digest):
        for n in range(3):
            extra = (("series", Series(plan.id, digest)),)
            press.press(tmp_path / "runs", press.Sample(n, script=script, extra=extra))
        close(where, plan, press.MAKE.SIGNER, "all runs finished")
    target = ["--to", f"hf://{REPO}", "--endpoint", endpoint, "--keys", str(tmp_path / "keys")]
    assert speedrun(["submit", str(where), "--agent", "an-agent", *target]) == 0
    (commit,) = handler.commits
    assert received(handler, commit, tmp_path / "merged").startswith(f"Add {plan.id}: 3 of 3 runs")
    checked = check(tmp_path / "merged", trusted)
    assert checked.findings == () and len(checked.accepted) == 3 and len(checked.series) == 1


def test_an_upload_that_breaks_commits_nothing_and_says_so(hub, press, trusted, tmp_path):
    handler, endpoint = hub
    handler.broken_store = True
    made = press.press(tmp_path / "runs", press.Sample(1))
    files = write_submission(open_bundle(made, trusted), BoardEntry("an-agent"), tmp_path / "out")
    with pytest.raises(NetworkError, match="the upload failed") as raised:
        open_pull_request(REPO, tmp_path / "out", files, "Add a run", endpoint, "hf_test")
    assert "nothing was committed" in raised.value.hint and handler.commits == []


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
        open_pull_request(REPO, tmp_path, ["x"], "title", endpoint, "hf_test")
    assert raised.value.hint


def test_a_hub_that_is_not_reached_is_a_network_error_with_what_to_check(tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the library waits before it asks again
    (tmp_path / "x").write_text("x")
    with pytest.raises(NetworkError, match="cannot reach the Hub") as raised:
        open_pull_request(REPO, tmp_path, ["x"], "title", "http://127.0.0.1:9", "hf_test")
    assert "--endpoint" in raised.value.hint


def test_without_the_extra_the_line_that_installs_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(PrerequisiteError, match="huggingface_hub is not installed") as raised:
        open_pull_request(REPO, tmp_path, ["x"], "title", None, None)
    assert raised.value.hint.endswith("-m pip install -e '.[hub]'")


@pytest.mark.parametrize("url", ["hf://", "hf://one", "hf://a/b/c", "https://a/b", "hf://../x", "hf://a/b\n"])
def test_what_names_no_dataset_is_refused(url):
    with pytest.raises(UsageError):
        repository(url)


def test_both_spellings_of_a_dataset_are_known():
    assert repository("hf://a/b") == repository("hf://datasets/a/b") == "a/b"
