"""The committed cpu image: built from the registries, compared with its digest, started in a container."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from pathlib import Path

import pytest

from kit.core.digest import files_under
from kit.core.facts import facts_root
from kit.core.home import default_store
from kit.core.store import Store, no_progress
from kit.image import build
from kit.image.acquire import fetch
from kit.image.fetch import AptFetcher, default_fetchers
from kit.image.lock import lock_path, read_lock, render_lock
from kit.image.resolve import resolve
from kit.image.rootfs import ensure_rootfs
from kit.image.spec import read_spec

pytestmark = pytest.mark.network

IMAGES = facts_root() / "images"
RUNC = shutil.which("runc", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


@pytest.fixture(scope="session")
def store() -> Store:
    """The user's store, with the artifacts of the cpu era."""
    store = Store(default_store())
    fetch(read_lock(read_spec(IMAGES, "cpu")), store, default_fetchers(None))
    return store


@pytest.fixture(scope="session")
def layout(store):
    return build.ensure_layout("cpu", IMAGES, store, [])


@pytest.fixture(scope="session")
def root(layout, store):
    return ensure_rootfs(layout, store)


def test_the_lock_builds_into_the_committed_digest(store):
    assert build.verify("cpu", IMAGES, store, []).differences == ()


def test_resolving_again_gives_the_committed_lock(store):
    spec = read_spec(IMAGES, "cpu")
    again = resolve(spec, store, default_fetchers(None), no_progress)
    assert render_lock(spec, again.debs, again.wheels) == lock_path(spec).read_bytes()


def test_apt_itself_can_bring_a_package(tmp_path):
    deb = next(d for d in read_lock(read_spec(IMAGES, "cpu")).debs if d.package == "usr-is-merged")
    assert Store(tmp_path).ensure(deb, [AptFetcher()]).stat().st_size == deb.size


def test_the_root_file_system_holds_no_byte_code_and_no_dangling_link(root):
    files = files_under(root)
    assert not [name for name in files if name.endswith(".pyc")]
    dangling = {p.relative_to(root).as_posix() for p in root.rglob("*") if not _inside(root, p).exists()}
    # tar's remote helper and OpenSSL's own certificates dangle in Debian too.
    assert dangling == {"etc/rmt", "usr/lib/ssl/cert.pem"}
    assert "usr/local/bin/torchrun" in files and "usr/include/python3.11/Python.h" in files


def _inside(root: Path, link: Path) -> Path:
    """Follow a link as a process inside would."""
    for _ in range(10):
        if not link.is_symlink():
            return link
        target = os.readlink(link)
        link = root / target.lstrip("/") if target.startswith("/") else link.parent / target
    return link


def guest(root: Path, folder: Path, *argv: str) -> str:
    """Run argv in the image without network, read-only, as the guest user; return stdout."""
    folder.mkdir()
    subprocess.run([RUNC, "spec"], cwd=folder, check=True)
    config = json.loads((folder / "config.json").read_text())
    config["root"] = {"path": str(root), "readonly": True}
    config["hostname"] = "localhost"
    config["process"].update(
        terminal=False,
        args=list(argv),
        user={"uid": 65532, "gid": 65532},
        cwd="/workspace",
        rlimits=[],
        env=[f"{key}={value}" for key, value in read_spec(IMAGES, "cpu").env],
    )
    options = ["nosuid", "nodev", "exec", "size=2g"]
    config["mounts"] += [
        {"destination": d, "type": "tmpfs", "source": "tmpfs", "options": options}
        for d in ("/tmp", "/workspace")
    ]
    (folder / "config.json").write_text(json.dumps(config))
    argv = [RUNC, "run", "--bundle", str(folder), f"image-test-{uuid.uuid4().hex[:8]}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


needs_runc = pytest.mark.skipif(RUNC is None or os.geteuid() != 0, reason="needs runc as root")


@pytest.mark.container
@needs_runc
def test_torch_and_numpy_run_inside(root, tmp_path):
    code = "import torch, numpy; print(torch.__version__, torch.tensor(numpy.ones(3)).sum().item())"
    assert guest(root, tmp_path / "b", "python3", "-c", code) == "2.13.0+cpu 3.0\n"


@pytest.mark.container
@needs_runc
def test_lines_leave_the_guest_one_at_a_time(root, tmp_path):
    code = "import sys; print(sys.stdout.line_buffering, sys.stderr.line_buffering)"
    assert guest(root, tmp_path / "b", "python3", "-c", code) == "True True\n"


@pytest.mark.container
@needs_runc
def test_torchrun_is_a_command_inside(root, tmp_path):
    assert "--nproc-per-node" in guest(root, tmp_path / "b", "torchrun", "--help")


@pytest.mark.container
@needs_runc
def test_c_and_cpp_programs_and_python_extensions_compile_inside(root, tmp_path):
    script = r"""
set -e
cat > a.c <<'END'
#include <stdio.h>
int main(void) { puts("c"); }
END
cat > b.cc <<'END'
#include <iostream>
int main() { std::cout << "c++\n"; }
END
cat > ext.c <<'END'
#include <Python.h>
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "ext", 0, -1, 0};
PyMODINIT_FUNC PyInit_ext(void) { return PyModule_Create(&module); }
END
gcc a.c -o a && ./a
g++ -fopenmp b.cc -o b && ./b
cc -shared -fPIC $(python3-config --includes) ext.c -o ext.so
python3 -c 'import ext; print(ext.__name__)'
whoami
"""
    assert guest(root, tmp_path / "b", "bash", "-c", script) == "c\nc++\next\nguest\n"


@pytest.mark.container
@needs_runc
def test_inductor_compiles_inside(root, tmp_path):
    code = "import torch; print(torch.compile(lambda x: (x * 2 + 1).sum())(torch.ones(100)).item())"
    assert guest(root, tmp_path / "b", "python3", "-c", code) == "300.0\n"
