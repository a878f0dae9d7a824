"""The modules by which an image answers what records 38 to 89 download when they start."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
import types

import pytest

from kit.core.facts import facts_root, guest_file
from kit.image.spec import read_spec


def value(file: str, name: str) -> object:
    """Return a constant of a guest's file, which cannot be imported here."""
    tree = ast.parse(guest_file(file).read_text())
    [found] = [n.value for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == name]
    return ast.literal_eval(found)


SPEC = read_spec(facts_root() / "images", "torch-2.10.0")


@pytest.fixture
def kernels(monkeypatch):
    """Import kernels.py beside a fake of the interface."""
    interface = types.ModuleType("flash_attn_interface")
    monkeypatch.setitem(sys.modules, "flash_attn_interface", interface)
    spec = importlib.util.spec_from_file_location("kernels", guest_file("modules/kernels.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("repository", "more"), value("selftest_v2.py", "CALLS"))
def test_every_form_in_which_records_ask_gives_the_images_interface(kernels, repository, more):
    found = kernels.get_kernel(repository, **more).flash_attn_interface
    assert found is sys.modules["flash_attn_interface"]


def test_another_kernel_is_refused_by_name(kernels):
    with pytest.raises(
        ValueError, match=r"no kernel 'someone/other', only kernels-community/flash-attn3 and"
    ):
        kernels.get_kernel("someone/other")


def test_the_interface_loads_the_library_that_the_image_has():
    library = value("modules/flash_attn_interface.py", "LIBRARY")
    assert library.removeprefix("/") in {member.path for member in SPEC.extract}


def test_the_tokenizers_files_lie_where_tiktoken_looks_for_them():
    folder = dict(SPEC.env)["TIKTOKEN_CACHE_DIR"]
    named = {f"/{f.path}": hashlib.sha1(f.url.encode(), usedforsecurity=False) for f in SPEC.files}
    assert len(named) == 2
    assert all(path == f"{folder}/{digest.hexdigest()}" for path, digest in named.items())
