"""A guest with a GPU gets the same devices and driver files from every runtime. Needs no GPU."""

from __future__ import annotations

import pytest
from stand_in_driver import IMAGES, seen_inside, stand_in

from kit.core.home import default_store
from kit.core.store import Store
from kit.gpu import driver
from kit.image.build import ensure_layout
from kit.image.rootfs import ensure_rootfs
from kit.sandbox.runtime.docker import Docker
from kit.sandbox.runtime.runc import Runc

pytestmark = [pytest.mark.container, pytest.mark.network]


@pytest.fixture(scope="module")
def in_runc(dockerd, tmp_path_factory):
    """The stand-in, and what a guest of runc sees of it."""
    store = Store(default_store())
    scratch = tmp_path_factory.mktemp("runc")
    with stand_in() as files, pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "find_driver_files", lambda minors: files)
        rootfs = ensure_rootfs(ensure_layout("cpu", IMAGES, store, ()), store)
        yield files, seen_inside(Runc(state=scratch / "state"), scratch, rootfs)


def test_runcs_guest_opens_its_devices_and_reads_its_files(in_runc):
    files, seen = in_runc
    assert set(seen["devices"]) == {"nvidiactl", "nvidia0"} and seen["nvidia-smi"] == 0
    assert set(seen["mounts"]) == {str(target) for _, target in files.mounts()}
    assert all(read_only for read_only, _ in seen["mounts"].values())


def test_dockers_guest_sees_what_runcs_sees(in_runc, dockerd, tmp_path):
    assert seen_inside(Docker(dockerd.url, tmp_path / "state"), tmp_path) == in_runc[1]
