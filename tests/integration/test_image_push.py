"""`image push` to a real registry: the signed digest is there, and another tool pulls it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import REPOSITORY, SPEEDRUN
from own_registry import BINARY, PASSWORD, PATH, USER, CuttingRelay, own_registry

pytestmark = [pytest.mark.container, pytest.mark.network]

SKOPEO = shutil.which("skopeo", path=PATH)
MANIFEST = re.search(r"^manifest +(\S+)$", (REPOSITORY / "images/cpu/digest").read_text(), re.MULTILINE)[1]


@pytest.fixture(scope="module")
def data(tmp_path_factory, cpu_image) -> Iterator[Path]:
    """Where the registry of this module keeps its data."""
    if BINARY is None:
        pytest.skip("needs docker-registry: apt-get install docker-registry")
    folder = tmp_path_factory.mktemp("registry")
    yield folder
    shutil.rmtree(folder)  # a gigabyte


def push(reference: str, *more: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [*SPEEDRUN, "image", "push", "cpu", reference, "--insecure", "--json", *more]
    settings = {**os.environ, "DOCKER_CONFIG": "/nonexistent", "XDG_RUNTIME_DIR": "/nonexistent", **env}
    return subprocess.run(command, env=settings, capture_output=True, text=True, check=False, timeout=600)


@pytest.fixture(scope="module")
def pushed(data):
    """A registry with the image; the connection was cut in the middle of a layer."""
    with own_registry(data) as host:
        relay = CuttingRelay(host, 50_000_000)
        try:
            done = push(f"{relay.host}/me/kit:cpu")
            assert done.returncode == 0, done.stderr
        finally:
            relay.stop()
        assert relay.cuts == 1
        yield host, json.loads(done.stdout)


def test_a_push_whose_connection_was_cut_keeps_the_signed_digest(pushed):
    _, report = pushed
    assert report["digest"] == MANIFEST and report["pinned"].endswith(f"/me/kit@{MANIFEST}")
    assert report["sent_bytes"] > 1_000_000_000 and report["blobs_present"] == 0


def test_a_second_push_sends_nothing_and_another_repository_takes_the_layers(pushed):
    host, first = pushed
    for tag in ("again", "cpu"):
        again = push(f"{host}/me/kit:{tag}")
        assert again.returncode == 0, again.stderr
        second = json.loads(again.stdout)
        assert (second["sent_bytes"], second["digest"], second["index"]) == (0, MANIFEST, first["index"])
    mounted = json.loads(push(f"{host}/other:cpu", "--mount-from", "me/kit").stdout)
    assert (mounted["sent_bytes"], mounted["blobs_mounted"], mounted["digest"]) == (0, 4, MANIFEST)


def inspect(reference: str, *more: str) -> bytes:
    """Return what skopeo prints about an image in the registry."""
    if SKOPEO is None:
        pytest.skip("needs skopeo: apt-get install skopeo")
    command = [SKOPEO, "inspect", "--tls-verify=false", *more, f"docker://{reference}"]
    return subprocess.run(command, check=True, capture_output=True, timeout=300).stdout


def test_skopeo_shows_annotations_by_tag_and_the_signed_manifest_by_digest(pushed):
    host, report = pushed
    raw = inspect(f"{host}/me/kit:cpu", "--raw")
    assert f"sha256:{hashlib.sha256(raw).hexdigest()}" == report["index"]
    index = json.loads(raw)
    (entry,) = index["manifests"]
    assert entry["digest"] == MANIFEST
    stated = {
        name.removeprefix("org.opencontainers.image."): text for name, text in entry["annotations"].items()
    }
    assert stated["title"] == "speedrun-kit:cpu" and stated["version"] == "cpu"
    assert stated["created"] == "2026-07-11T00:00:00Z" and "PyTorch for CPUs" in stated["description"]
    assert index["annotations"] == entry["annotations"]
    manifest = inspect(f"{host}/me/kit@{MANIFEST}", "--raw")
    assert f"sha256:{hashlib.sha256(manifest).hexdigest()}" == MANIFEST
    labels = json.loads(inspect(f"{host}/me/kit:cpu"))["Labels"]
    assert labels["org.opencontainers.image.title"] == "speedrun-kit:cpu"


@pytest.mark.parametrize("name", [":cpu", f"@{MANIFEST}"], ids=["tag", "digest"])
def test_skopeo_pulls_the_same_image(pushed, tmp_path, name):
    if SKOPEO is None:
        pytest.skip("needs skopeo: apt-get install skopeo")
    host, _ = pushed
    source = f"docker://{host}/me/kit{name}"
    copy = [SKOPEO, "copy", "--src-tls-verify=false", "--preserve-digests", source, f"oci:{tmp_path}/copy"]
    try:
        subprocess.run(copy, check=True, capture_output=True, timeout=600)
        manifest = (tmp_path / "copy/blobs/sha256" / MANIFEST.removeprefix("sha256:")).read_bytes()
        assert f"sha256:{hashlib.sha256(manifest).hexdigest()}" == MANIFEST
        compare = [*SPEEDRUN, "image", "diff", "cpu", str(tmp_path / "copy")]
        done = subprocess.run(compare, capture_output=True, text=True, check=False, timeout=600)
        assert done.stdout == f"the same image: manifest {MANIFEST}\n", done.stderr
    finally:
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)  # a gigabyte


def test_a_registry_that_asks_for_a_login_gets_dockers(pushed, data, tmp_path):
    with own_registry(data, login=True) as host:
        refused = push(f"{host}/me/kit:login")
        assert refused.returncode == 3 and f"docker login {host}" in refused.stderr
        for password, code in (("wrong", 3), (PASSWORD, 0)):
            auth = b64encode(f"{USER}:{password}".encode()).decode()
            (tmp_path / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))
            done = push(f"{host}/me/kit:login", DOCKER_CONFIG=str(tmp_path))
            assert done.returncode == code, done.stderr
        assert json.loads(done.stdout)["digest"] == MANIFEST
