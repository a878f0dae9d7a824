"""`image push`: the registry ends up with the image's own bytes, or the push says why not."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import replace

import pytest
from fake_registry import BASIC, IDENTITY, PASSWORD, USER, FakeRegistry

from kit.cli import run
from kit.core.digest import sha256_bytes
from kit.core.errors import DigestMismatch, NetworkError, PrerequisiteError
from kit.core.store import FolderFetcher, Store
from kit.image.annotations import ImageSource
from kit.image.build import accept
from kit.image.oci import blob_path, read_document, read_manifest
from kit.image.registry.login import RegistryLogin
from kit.image.registry.push import OTHER_REGISTRY, push
from kit.image.registry.reference import parse_reference

LOGIN = RegistryLogin(USER, PASSWORD, "", "config.json")
SOURCE = ImageSource("https://github.com/me/kit", "c" * 40)
ANNOTATIONS = {
    "org.opencontainers.image.created": "2026-07-11T00:00:00Z",
    "org.opencontainers.image.description": "An image small enough for a test",
    "org.opencontainers.image.revision": "c" * 40,
    "org.opencontainers.image.source": "https://github.com/me/kit",
    "org.opencontainers.image.title": "speedrun-kit:tiny",
    "org.opencontainers.image.version": "tiny",
}


@pytest.fixture
def layout(tiny, tmp_path):
    return accept("tiny", tiny.images, Store(tmp_path / "store"), [FolderFetcher(tiny.mirror)])


@pytest.fixture
def registry():
    fake = FakeRegistry()
    yield fake
    fake.stop()


def send(layout, registry, login=None, repository="me/kit", **more):
    target = parse_reference(f"{registry.host}/{repository}:cpu")
    return push(layout, target, login, **{"source": SOURCE, "insecure": True, **more})


def patches(registry) -> int:
    return sum(key.startswith("PATCH ") for key in registry.asked)


def blobs_of(layout):
    config, layers = read_manifest(layout.path, layout.manifest_digest)
    return {f"sha256:{b.digest}": blob_path(layout.path, b.digest).read_bytes() for b in (config, *layers)}


def test_the_registry_gets_the_same_bytes_and_serves_the_signed_digest(layout, registry):
    reports = []
    pushed = send(layout, registry, progress=lambda *args: reports.append(args))
    blobs = blobs_of(layout)
    assert registry.blobs == {"me/kit": blobs}
    manifest = read_document(layout.path, layout.manifest_digest)
    digest = f"sha256:{layout.manifest_digest}"
    index = registry.manifests["me/kit", "cpu"]
    assert registry.manifests == {
        ("me/kit", digest): manifest,
        ("me/kit", "cpu"): index,
        ("me/kit", f"sha256:{pushed.index}"): index,
    }
    assert pushed.index == sha256_bytes(index) != layout.manifest_digest
    total = sum(map(len, blobs.values()))
    assert (pushed.sent, pushed.present, pushed.mounted) == (total, 0, 0)
    assert pushed.pinned == f"{registry.host}/me/kit@{digest}"
    assert reports[-1] == ("push tiny", total, total)


def test_the_tag_names_an_index_whose_annotations_say_what_the_image_is(layout, registry):
    pushed = send(layout, registry)
    document = json.loads(registry.manifests["me/kit", "cpu"])
    (entry,) = document["manifests"]
    assert document["mediaType"] == "application/vnd.oci.image.index.v1+json"
    assert document["annotations"] == entry["annotations"] == ANNOTATIONS
    assert entry["digest"] == f"sha256:{layout.manifest_digest}"
    assert entry["size"] == len(read_document(layout.path, layout.manifest_digest))
    assert entry["platform"] == {"architecture": "amd64", "os": "linux"}
    assert send(layout, registry).index == pushed.index
    unknown = send(layout, registry, source=ImageSource(None, None))
    known = {name for name in ANNOTATIONS if not name.endswith((".source", ".revision"))}
    assert set(json.loads(registry.manifests["me/kit", "cpu"])["annotations"]) == known
    assert unknown.digest == layout.manifest_digest and unknown.index != pushed.index


def test_a_registry_that_changes_the_index_is_exit_4(layout, registry):
    send(layout, registry)
    registry.changed_tags = True
    with pytest.raises(DigestMismatch, match=r"returns index sha256:.* for cpu, expected sha256:"):
        send(layout, registry)


def test_blobs_that_the_repository_has_are_not_sent(layout, registry):
    send(layout, registry)
    before = patches(registry)
    again = send(layout, registry)
    assert patches(registry) == before > 0
    assert (again.sent, again.present) == (0, len(blobs_of(layout)))


def test_blobs_of_another_repository_are_mounted(layout, registry):
    send(layout, registry, repository="one")
    before = patches(registry)
    mounted = send(layout, registry, repository="two", mount_from="one")
    assert patches(registry) == before and registry.blobs["two"] == registry.blobs["one"]
    assert (mounted.sent, mounted.mounted) == (0, len(blobs_of(layout)))
    sent = send(layout, registry, repository="three", mount_from="nothing")
    assert sent.mounted == 0 and registry.blobs["three"] == registry.blobs["one"]


def test_a_layer_that_is_stored_elsewhere_is_there(layout, registry):
    send(layout, registry)
    before = patches(registry)
    registry.answers = {"HEAD .*/blobs/": [(307, "")] * 10}
    assert send(layout, registry).sent == 0 and patches(registry) == before


@pytest.mark.parametrize("keeps", [True, False])
def test_a_cut_upload_resumes_or_starts_again(layout, registry, keeps):
    registry.breaks, registry.keeps_cut_uploads = [1000, 500], keeps
    send(layout, registry)
    assert registry.blobs["me/kit"] == blobs_of(layout)
    status = [key for key in registry.asked if key.startswith("GET /v2/me/kit/blobs/uploads/")]
    begun = [key for key in registry.asked if key.startswith("POST ")]
    extra = 0 if keeps else 2
    assert status and len(begun) == len(blobs_of(layout)) + extra


def test_an_upload_that_is_always_cut_fails_and_a_later_push_completes(layout, registry):
    registry.breaks, registry.keeps_cut_uploads = [10] * 50, False
    with pytest.raises(NetworkError, match=r"cannot push to 127\.0\.0\.1:\d+: ") as e:
        send(layout, registry)
    assert "run the command again" in e.value.hint and not registry.manifests
    assert patches(registry) == 4
    registry.breaks = []
    assert send(layout, registry).digest == layout.manifest_digest


def test_an_upload_whose_last_answer_is_lost_is_not_sent_again(layout, registry):
    config = next(iter(blobs_of(layout)))
    send(layout, registry)
    del registry.blobs["me/kit"][config]
    registry.answers = {"PUT /v2/me/kit/blobs": [(503, "")], "GET /v2/me/kit/blobs/uploads": [(404, "")]}
    before = patches(registry)
    send(layout, registry)
    assert patches(registry) == before + 2
    registry.answers = {"PUT /v2/me/kit/manifests": [(502, ""), (429, "")]}
    assert send(layout, registry).digest == layout.manifest_digest


def test_a_registry_that_returns_another_manifest_is_exit_4(layout, registry):
    registry.returned = b'{"schemaVersion": 2}'
    with pytest.raises(DigestMismatch) as e:
        send(layout, registry)
    assert e.value.message == (
        f"digest mismatch: {registry.host} returns manifest sha256:{sha256_bytes(registry.returned)} for"
        f" sha256:{layout.manifest_digest}, expected sha256:{layout.manifest_digest}"
    )
    assert e.value.hint == OTHER_REGISTRY


def test_a_changed_layer_is_refused_by_the_registry(layout, registry):
    path = blob_path(layout.path, layout.diff_ids[0])
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    with pytest.raises(DigestMismatch, match="the registry received other bytes than") as e:
        send(layout, registry)
    assert str(path) in e.value.hint and not registry.manifests
    path.write_bytes(data[:-1])
    with pytest.raises(DigestMismatch, match="the registry received other bytes than"):
        send(layout, registry)


def test_basic_authentication(layout, registry):
    registry.auth = "basic"
    send(layout, registry, LOGIN)
    assert {given for _, given in registry.authorizations} == {None, BASIC}
    assert [given for _, given in registry.authorizations].count(None) == 1


@pytest.mark.parametrize("login", [LOGIN, RegistryLogin("", "", IDENTITY, "x")], ids=["password", "identity"])
def test_a_token_is_fetched_once_and_again_when_it_has_expired(layout, registry, login):
    registry.auth = "bearer"
    send(layout, registry, login, mount_from="other")
    assert registry.tokens == 1
    query = registry.queries[registry.asked.index(next(a for a in registry.asked if a.endswith(" /token")))]
    if login is LOGIN:
        assert "scope=repository%3Ame%2Fkit%3Apull%2Cpush&scope=repository%3Aother%3Apull" in query
    registry.tokens = 7  # the token of before is no longer valid
    send(layout, registry, login)
    assert registry.tokens == 8
    passwords = {path for path, given in registry.authorizations if given == BASIC}
    assert passwords == ({"/token"} if login is LOGIN else set())


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_without_a_login_the_error_names_the_command(layout, registry, auth):
    registry.auth = auth
    with pytest.raises(PrerequisiteError, match=r"requires a login for me/kit .HTTP status 401") as e:
        send(layout, registry)
    assert e.value.hint.startswith(f"docker login {registry.host}")
    assert not any(key.startswith("PATCH") for key in registry.asked)


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_a_login_that_is_refused_is_named_and_not_shown(layout, registry, auth):
    registry.auth = auth
    with pytest.raises(
        PrerequisiteError, match=r"permission denied: .* refused the login in config.json"
    ) as e:
        send(layout, registry, replace(LOGIN, password="s3cret"))
    assert "s3cret" not in repr(e.value) and "s3cret" not in repr(LOGIN)


def test_a_repository_that_may_not_be_written_is_permission_denied(layout, registry):
    registry.answers = {"POST ": [(403, "DENIED")]}
    with pytest.raises(
        PrerequisiteError, match=r"permission denied.*HTTP status 403, DENIED: as the test says"
    ):
        send(layout, registry, LOGIN)


def test_a_repository_that_is_missing_is_named(layout, registry):
    registry.answers = {"POST ": [(404, "NAME_UNKNOWN")]}
    with pytest.raises(PrerequisiteError, match=r"repository not found .*404, NAME_UNKNOWN") as e:
        send(layout, registry)
    assert e.value.hint.startswith("create the repository")


@pytest.mark.parametrize(
    ("request_", "status", "code", "said"),
    [
        ("HEAD ", 400, "", "looking up a layer failed: .*HTTP status 400"),
        ("POST ", 405, "UNSUPPORTED", "starting an upload failed: .*405, UNSUPPORTED"),
        ("PATCH ", 413, "", "sending a layer failed: .*HTTP status 413"),
        ("PUT .*/uploads/", 400, "SIZE_INVALID", "storing a layer failed: .*SIZE_INVALID"),
        ("PUT .*/manifests/", 400, "MANIFEST_INVALID", "storing the manifest failed: .*MANIFEST_INVALID"),
        ("GET .*/manifests/", 404, "MANIFEST_UNKNOWN", "reading manifest sha256:.* back failed: .*UNKNOWN"),
    ],
)
def test_a_refused_request_is_named_with_the_registrys_own_words(
    layout, registry, request_, status, code, said
):
    registry.answers = {request_: [(status, code)]}
    with pytest.raises(NetworkError, match=said) as e:
        send(layout, registry)
    assert e.value.hint


def test_a_token_server_that_fails_is_named(layout, registry):
    registry.auth = "bearer"
    registry.answers = {"/token": [(200, "")]}
    with pytest.raises(NetworkError, match="login failed"):
        send(layout, registry, LOGIN)
    registry.answers = {"/token": [(503, "")]}
    assert send(layout, registry, LOGIN).digest == layout.manifest_digest


def test_a_login_is_not_sent_where_uploads_are_redirected(layout, registry):
    storage = FakeRegistry()
    try:
        registry.auth, registry.elsewhere = "basic", f"http://{storage.host}"
        with pytest.raises(NetworkError, match=r"sending a layer failed: .*404, BLOB_UPLOAD_UNKNOWN"):
            send(layout, registry, LOGIN)
        assert {given for _, given in storage.authorizations} == {None}
    finally:
        storage.stop()


def test_a_login_is_not_sent_to_a_token_server_without_tls(layout, registry, monkeypatch):
    from kit.image.registry.client import RegistryClient

    client = RegistryClient(parse_reference("registry.example/me:x"), LOGIN)
    with pytest.raises(NetworkError, match=r"names http://127\.0\.0\.1, which is not https"):
        client._token({"realm": registry.realm})
    assert not registry.asked


@pytest.mark.parametrize("realm", ["", "token", "http://[", "http://x:99999/", "http://x/\u00e9"])
def test_a_token_server_whose_address_is_no_url_is_named(layout, registry, realm):
    registry.auth, registry.realm = "bearer", realm
    with pytest.raises(NetworkError, match="names an address that is no URL"):
        send(layout, registry, LOGIN)


@pytest.mark.parametrize("where", ["http://[", "http://x:99999"])
def test_an_upload_whose_address_is_no_url_is_named(layout, registry, where):
    registry.elsewhere = where
    with pytest.raises(NetworkError, match=r"names an address that is no URL|starting an upload failed"):
        send(layout, registry)


def test_a_registry_that_is_not_running_is_named(layout, registry):
    registry.stop()
    with pytest.raises(NetworkError, match=r"cannot push to 127\.0\.0\.1:\d+: .*[Rr]efused") as e:
        send(layout, registry)
    assert "check that the registry is running" in e.value.hint
    assert "--insecure" not in e.value.hint  # it was given


def test_an_option_that_was_not_given_is_offered_if_the_registry_is_not_running(layout, registry):
    registry.stop()
    with pytest.raises(NetworkError, match="cannot push to") as e:
        send(layout, registry, insecure=False)
    assert e.value.hint.endswith("if it uses plain HTTP, pass --insecure")


def test_a_proxy_is_not_used_for_a_registry_on_this_machine(layout, registry, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert send(layout, registry).digest == layout.manifest_digest


@pytest.fixture
def command(layout, registry, tiny, tmp_path, monkeypatch, capsys):
    """`speedrun image push tiny`, with the logins of a config.json."""
    monkeypatch.setattr("kit.cli.image.push.facts_root", lambda: tmp_path)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    for name in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)

    def call(reference, *more):
        code = run(["image", "push", "tiny", reference, "--store", str(tmp_path / "store"), *more])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_the_command_prints_the_address_by_digest(command, registry, layout, tmp_path):
    registry.auth = "basic"
    auth = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {registry.host: {"auth": auth}}}))
    code, out, err = command(f"{registry.host}/me/kit:cpu", "--insecure")
    assert (code, out) == (0, f"{registry.host}/me/kit@sha256:{layout.manifest_digest}\n")
    assert "has tiny with its signed digest" in err and "0 blobs already present" in err
    code, out, err = command(f"{registry.host}/b:1", "--insecure", "--mount-from", "me/kit", "--json")
    document = json.loads(out)
    assert document["blobs_mounted"] == len(blobs_of(layout)) and document["sent_bytes"] == 0
    assert document["digest"] == f"sha256:{layout.manifest_digest}" and "from me/kit" in err
    assert document["index"] == f"sha256:{sha256_bytes(registry.manifests['b', '1'])}"


def test_exit_codes_of_the_command(command, registry, monkeypatch):
    there = f"{registry.host}/me/kit:cpu"
    registry.auth = "basic"
    code, out, err = command(there, "--insecure")
    assert (code, out) == (3, "") and f"hint: docker login {registry.host}" in err
    registry.auth, registry.returned = "none", b"{}"
    assert command(there, "--insecure")[0] == 4
    registry.answers = {"PUT .*/manifests/": [(400, "MANIFEST_INVALID")]}
    assert command(there, "--insecure")[0] == 5


@pytest.mark.parametrize(
    ("reference", "more", "said"),
    [
        (
            "registry.example/kit:1",
            ["--insecure"],
            "only for a registry on this machine, not registry.example",
        ),
        ("kit:1", [], "'kit:1' names no registry"),
        ("localhost:5000/kit", [], "has no tag"),
        ("localhost:5000/kit:1", ["--mount-from", "Kit"], "invalid repository 'Kit'"),
    ],
)
def test_usage_errors_start_nothing(command, registry, reference, more, said):
    code, out, err = command(reference, *more)
    assert (code, out) == (2, "") and said in err and "hint: " in err
