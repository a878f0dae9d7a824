"""What a person is told of a file that is not the one that this kit makes."""

import copy
import json

import pytest

from kit.capsule.differences import MAX_LISTED, differences

CONFIG = {
    "process": {
        "user": {"uid": 65532, "gid": 65532}, "noNewPrivileges": True, "capabilities": {"bounding": []},
        "args": ["a"], "env": ["A=1"],
    },
    "mounts": [{"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid"]}],
    "linux": {"seccomp": {"defaultAction": "ERRNO"}, "namespaces": [{"type": "pid"}, {"type": "network"}]},
    "hostname": "localhost",
}  # fmt: skip


def told(change):
    received = copy.deepcopy(CONFIG)
    change(received)
    return differences(json.dumps(received).encode(), json.dumps(CONFIG).encode(), is_config=True)


CHANGES = {
    "root": (
        lambda c: c["process"]["user"].update(uid=0),
        "runs as user {'uid': 0, 'gid': 65532}, expected uid",
    ),
    "no user": (lambda c: c["process"].pop("user"), "runs as user None, expected uid 65532"),
    "privileges": (lambda c: c["process"].pop("noNewPrivileges"), "lets processes gain privileges"),
    "privileges, nearly": (
        lambda c: c["process"].update(noNewPrivileges="true"),
        "lets processes gain privileges",
    ),
    "capabilities": (
        lambda c: c["process"]["capabilities"].update(bounding=["CAP_SYS_PTRACE"]),
        "CAP_SYS_PTRACE",
    ),
    "other arguments": (
        lambda c: c["process"].update(args=["b"]),
        "process.'args' is ['b'], expected ['a']",
    ),
    "a hook": (
        lambda c: c.update(hooks={"prestart": [{"path": "/x"}]}),
        "'hooks' is {'prestart': [{'path': '/x'}]}",
    ),
    "a mount": (
        lambda c: c["mounts"].append({"destination": "/m", "source": "/", "options": ["rw"]}),
        "mounts '/' at '/m', ['rw']",
    ),
    "a mount less": (lambda c: c["mounts"].clear(), "lacks the expected mount of /proc"),
    "no filter": (lambda c: c["linux"].pop("seccomp"), "has no seccomp filter"),
    "another filter": (lambda c: c["linux"].update(seccomp={}), "has a different seccomp filter"),
    "the host's network": (
        lambda c: c["linux"]["namespaces"].pop(),
        "shares the network namespace of the host",
    ),
    "a device": (
        lambda c: c["linux"].update(devices=["/dev/mem"]),
        "linux.'devices' is ['/dev/mem'], expected None",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_configuration_is_told_in_words(change):
    edit, said = CHANGES[change]
    assert any(said in text for text in told(edit)), told(edit)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"{", "is not valid JSON"),
        (b"[]", "is not a container configuration"),
        (b'{"process": 1, "mounts": 1, "linux": 1}', "is not a container configuration"),
        (json.dumps(CONFIG, indent=1).encode(), "has the same content in another JSON encoding"),
        (b'{"process": {}, "process": {}}', "is not valid JSON"),
    ],
)
def test_what_is_no_configuration_is_said(data, said):
    assert differences(data, json.dumps(CONFIG).encode(), is_config=True) == (said,)


def test_of_a_text_the_first_other_line_is_shown():
    assert differences(b"a\nb\x1b[31m\nc", b"a\nx\nc", is_config=False) == (r"line 2 is 'b\x1b[31m'",)
    assert differences(b"a\nb", b"a", is_config=False) == ("has 2 lines, expected 1",)


def test_length_and_number_of_differences_are_bounded():
    many = told(lambda c: c.update({f"key{n}": "x" * 5000 for n in range(500)}))
    assert len(many) == MAX_LISTED + 1 and many[-1] == "and 488 more differences"
    assert max(map(len, many)) < 250


def test_nothing_of_it_can_steer_a_terminal():
    for text in told(lambda c: c.update({"\x1b[2J\u202e": "\n\r\u2028"})):
        assert text.isprintable() and text.isascii()
