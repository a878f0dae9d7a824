"""Images in a real Docker: given once, found again by digest, whatever names say."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import subprocess
import tarfile

import docker
import pytest
from conftest import REPOSITORY, SPEEDRUN

from kit.core.home import default_store
from kit.core.store import Store
from kit.image.build import Layout, ensure_layout
from kit.sandbox.engine import Engine

pytestmark = [pytest.mark.container, pytest.mark.network]


@pytest.fixture(scope="module")
def layout(cpu_image) -> Layout:
    return ensure_layout("cpu", REPOSITORY / "images", Store(default_store()), ())


@pytest.fixture
def api(dockerd):
    with contextlib.closing(docker.APIClient(base_url=dockerd.url, version="auto")) as client:
        yield client


def load(dockerd) -> dict:
    env = {"PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": str(default_store().parent), "DOCKER_HOST": dockerd.url}
    command = [*SPEEDRUN, "image", "load", "cpu", "--json"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def archive(config: bytes, layers: list[str], name: str) -> bytes:
    """An archive for `docker load` with a config of its own and none of its layers."""
    digest = hashlib.sha256(config).hexdigest()
    manifest = json.dumps([{"Config": digest, "Layers": layers, "RepoTags": [name]}]).encode()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, data in ((digest, config), ("manifest.json", manifest)):
            info = tarfile.TarInfo(path)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


@pytest.fixture
def impostor(layout, dockerd, api):
    """Another image of the same layers that bears the name of the era's."""
    path = layout.path / "blobs" / "sha256" / layout.config_digest
    config = json.loads(path.read_bytes())
    config["config"]["Entrypoint"] = ["/bin/false"]
    data = json.dumps(config).encode()
    with contextlib.closing(Engine(dockerd.url)) as engine:
        engine.load([archive(data, [f"{d}.tar" for d in layout.diff_ids], "speedrun-kit:cpu")])
    name = f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert api.inspect_image("speedrun-kit:cpu")["Id"] == name
    yield name
    api.remove_image(name, force=True)


def test_the_engines_image_id_is_the_committed_digest(dockerd, api):
    found = load(dockerd)
    committed = (REPOSITORY / "images" / "cpu" / "digest").read_text()
    assert f"config    {found['id']}\n" in committed
    assert api.inspect_image(found["id"])["Id"] == found["id"]


def test_an_image_that_is_there_is_not_sent_again(dockerd):
    assert load(dockerd)["sent_bytes"] == 0


def test_a_name_does_not_outrank_the_digest(dockerd, layout, impostor):
    with contextlib.closing(Engine(dockerd.url)) as engine:
        found = engine.image_id(layout.config_digest, layout.manifest_digest)
    assert found == f"sha256:{layout.config_digest}" != impostor


def test_layers_that_the_engine_has_are_left_out(dockerd, layout, impostor, api):
    api.remove_image(f"sha256:{layout.config_digest}", force=True)
    found = load(dockerd)
    assert found["layers_left_out"] == len(layout.diff_ids) == 3
    assert found["sent_bytes"] < 50_000
    assert found["id"] == f"sha256:{layout.config_digest}"
