"""References to registries, and the logins that docker, podman and skopeo keep."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest

from kit.core.errors import PrerequisiteError, UsageError
from kit.image.registry.login import RegistryLogin, find_login
from kit.image.registry.reference import parse_reference

REFERENCE = parse_reference("registry.example:5000/team/kit:cpu")


def entry(user: str, password: str = "pw") -> dict[str, str]:
    return {"auth": b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture
def env(tmp_path):
    return {"DOCKER_CONFIG": str(tmp_path), "HOME": str(tmp_path / "home")}


@pytest.fixture
def config(tmp_path):
    def write(document, name="config.json"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return path

    return write


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("localhost/kit:1", ("localhost", "kit", "1", "localhost", True)),
        ("localhost:5000/a/b-c__d:v1.0", ("localhost:5000", "a/b-c__d", "v1.0", "localhost:5000", True)),
        ("[::1]:5000/kit:cpu", ("[::1]:5000", "kit", "cpu", "[::1]:5000", True)),
        ("127.8.9.1:80/kit:cpu", ("127.8.9.1:80", "kit", "cpu", "127.8.9.1:80", True)),
        ("docker.io/me/kit:cpu", ("docker.io", "me/kit", "cpu", "registry-1.docker.io", False)),
        ("docker://ghcr.io/me/kit:cpu", ("ghcr.io", "me/kit", "cpu", "ghcr.io", False)),
        ("mirror:5000/kit:cpu", ("mirror:5000", "kit", "cpu", "mirror:5000", False)),
    ],
)
def test_a_reference_has_a_registry_a_repository_and_a_tag(text, parts):
    r = parse_reference(text)
    assert (r.registry, r.repository, r.tag, r.api_host, r.is_loopback) == parts
    assert str(r) == text.removeprefix("docker://")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kit:cpu", "names no registry"),
        ("me/kit:cpu", "names no registry"),
        ("https://ghcr.io/me/kit:cpu", "names no registry"),
        ("user@ghcr.io/me/kit:cpu", "names no registry"),
        ("ghcr.io/me/kit", "has no tag"),
        ("ghcr.io/me/kit:", "has no tag"),
        ("ghcr.io/Me/kit:cpu", "invalid repository 'Me/kit'"),
        ("ghcr.io/../kit:cpu", "invalid repository"),
        ("ghcr.io/me//kit:cpu", "invalid repository"),
        (f"ghcr.io/{'a' * 256}:cpu", "invalid repository"),
        ("ghcr.io/me/kit:-x", "invalid tag '-x'"),
        (f"ghcr.io/me/kit:{'x' * 129}", "invalid tag"),
        ("ghcr.io/me/kit:cpu/x", "invalid tag"),
        (f"ghcr.io/me/kit@sha256:{'0' * 64}", "has a digest"),
    ],
)
def test_what_is_wrong_with_a_reference_is_named(text, said):
    with pytest.raises(UsageError, match=said) as e:
        parse_reference(text)
    assert e.value.hint.startswith("for example: ")


def test_no_file_is_no_login(env):
    assert find_login(REFERENCE, env) is None


@pytest.mark.parametrize(
    "key", ["registry.example:5000", "https://registry.example:5000", "https://registry.example:5000/v1/",
            "registry.example:5000/team", "registry.example:5000/team/kit"],
)  # fmt: skip
def test_an_entry_is_found_under_each_form_of_its_key(env, config, key):
    file = config({"auths": {"other.example": entry("other"), key: entry("user", "p:w")}})
    login = find_login(REFERENCE, env)
    assert login == RegistryLogin("user", "p:w", "", str(file))
    assert "p:w" not in repr(login) and "user" not in repr(login)


@pytest.mark.parametrize("key", ["registry.example", "registry.example:500", "registry.example:5000/tea"])
def test_an_entry_of_another_place_is_not_used(env, config, key):
    config({"auths": {key: entry("user")}})
    assert find_login(REFERENCE, env) is None


def test_the_closest_entry_counts_and_the_first_file(env, config, tmp_path):
    registry = "registry.example:5000"
    config({"auths": {registry: entry("registry"), f"{registry}/team": entry("team")}})
    assert find_login(REFERENCE, env).user == "team"
    other = config({"auths": {registry: entry("podman")}}, "run/containers/auth.json")
    env["XDG_RUNTIME_DIR"] = str(tmp_path / "run")
    assert find_login(REFERENCE, env).user == "team"
    env["REGISTRY_AUTH_FILE"] = str(other)
    assert find_login(REFERENCE, env).user == "podman"


def test_docker_hub_has_its_own_key(env, config):
    config({"auths": {"https://index.docker.io/v1/": entry("hub")}})
    assert find_login(parse_reference("docker.io/me/kit:cpu"), env).user == "hub"


def test_an_identity_token_is_taken(env, config):
    config({"auths": {"registry.example:5000": {**entry("user"), "identitytoken": "abc"}}})
    assert find_login(REFERENCE, env).identity_token == "abc"


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("{", "it is not JSON"),
        ("[]", "no table credHelpers"),
        ({"auths": []}, None),
        ({"auths": ["x"]}, "no table auths"),
        ({"auths": {"registry.example:5000": {"auth": "?"}}}, "is not base64"),
        ({"auths": {"registry.example:5000": {"auth": "dXNlcg=="}}}, "has no password"),
        ({"auths": {"registry.example:5000": {}}}, None),
        ({"auths": {"registry.example:5000": "x"}}, None),
    ],
)
def test_a_malformed_file_is_named(env, config, document, said):
    file = config(document)
    if said is None:
        assert find_login(REFERENCE, env) is None
        return
    with pytest.raises(PrerequisiteError, match=said) as e:
        find_login(REFERENCE, env)
    assert str(file) in e.value.message


@pytest.mark.parametrize(
    "setting", [{"credsStore": "own"}, {"credHelpers": {"registry.example:5000": "own"}}]
)
def test_a_credential_helper_is_asked_for_the_registry(env, config, program, setting, tmp_path):
    asked = tmp_path / "asked"
    program("docker-credential-own", f'cat >{asked}; echo \'{{"Username":"u","Secret":"s"}}\'')
    config(setting)
    assert find_login(REFERENCE, env) == RegistryLogin("u", "s", "", "docker-credential-own")
    assert asked.read_text() == "registry.example:5000"
    program("docker-credential-own", 'echo \'{"Username":"<token>","Secret":"t"}\'')
    assert find_login(REFERENCE, env).identity_token == "t"
    program("docker-credential-own", "echo 'credentials not found in native keychain'; exit 1")
    assert find_login(REFERENCE, env) is None


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo locked >&2; exit 1", "docker-credential-own failed: locked"),
        ("echo '{}'", "printed no login"),
        (None, "docker-credential-own failed: not found"),
    ],
)
def test_a_helper_that_fails_is_quoted(env, config, program, script, said):
    if script is not None:
        program("docker-credential-own", script)
    config({"credsStore": "own"})
    with pytest.raises(PrerequisiteError, match=said):
        find_login(REFERENCE, env)


def test_a_helper_is_a_name_and_not_a_path(env, config):
    config({"credsStore": "../own"})
    with pytest.raises(PrerequisiteError, match=r"invalid name of a credential helper: '../own'"):
        find_login(REFERENCE, env)
