"""
The second builder: the real Nix, its sandbox on, runs the committed flake and makes the promised bytes.

nixpkgs is replaced by tests/nix, which offers the attributes that the flake uses, the machine's Python and
the files of the lock from the user's store. What is not tried here: nixpkgs' own fetchers and Python.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import REPOSITORY

from kit.core.facts import facts_root
from kit.core.home import default_store
from kit.core.store import Store
from kit.image.acquire import fetch
from kit.image.digest import read_identity
from kit.image.fetch import default_fetchers
from kit.image.lock import read_lock
from kit.image.spec import read_spec

pytestmark = [
    pytest.mark.network,
    pytest.mark.skipif(shutil.which("nix") is None, reason="nix is not installed: apt-get install nix-bin"),
    pytest.mark.skipif(os.geteuid() != 0, reason="Nix's sandbox without a daemon needs root"),
]

IMAGES = facts_root() / "images"


@dataclass(frozen=True)
class Nix:
    """A Nix with a store of its own, and a copy of what the flake is made of."""

    place: Path
    source: Path

    def __call__(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command that evaluates or builds; nothing but the flake's own files can be fetched."""
        stub = ["--override-input", "nixpkgs", f"path:{self.source}/tests/nix", "--no-write-lock-file"]
        command = ["nix", "--store", str(self.place / "root"), *arguments, *stub]
        done = subprocess.run(command, env=self.env(), capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr[-4000:]
        return done

    def env(self) -> dict[str, str]:
        site = sysconfig.get_paths()["purelib"]
        shown = {
            "/bin": "/usr/bin", "/usr": "/usr", "/lib": "/usr/lib", "/lib64": "/usr/lib64",
            "/python": sys.base_prefix, sys.base_prefix: sys.base_prefix, "/site": site,
            "/artifacts": default_store() / "blobs" / "sha256",
        }  # fmt: skip
        settings = [
            "experimental-features = nix-command flakes", "build-users-group =", "substituters =",
            "flake-registry =", "sandbox = true", "sandbox-fallback = false",
            "sandbox-paths = " + " ".join(f"{name}={path}" for name, path in shown.items()),
        ]  # fmt: skip
        home = str(self.place / "home")
        return {"PATH": os.environ["PATH"], "HOME": home, "NIX_CONFIG": "\n".join(settings)}

    def real(self, out: str) -> Path:
        """Return where a path of its store lies on this machine."""
        return self.place / "root" / out.lstrip("/")


@pytest.fixture(scope="module")
def nix(tmp_path_factory):
    place = tmp_path_factory.mktemp("nix")
    source = place / "source"
    ignored = shutil.ignore_patterns("__pycache__")
    for folder in ("kit", "images", "tests/nix"):
        shutil.copytree(REPOSITORY / folder, source / folder, ignore=ignored)
    for file in ("flake.nix", "flake.lock"):
        shutil.copy(REPOSITORY / file, source / file)
    (place / "home").mkdir()
    yield Nix(place, source)
    for folder in (place / "root").rglob("*"):
        if folder.is_dir() and not folder.is_symlink():
            folder.chmod(0o755)
    shutil.rmtree(place)


@pytest.fixture(scope="module")
def built(nix) -> Path:
    """The OCI layout that Nix made of the cpu era."""
    fetch(read_lock(read_spec(IMAGES, "cpu")), Store(default_store()), default_fetchers(None))
    done = nix("build", f"path:{nix.source}#image-cpu", "--no-link", "--json")
    return nix.real(json.loads(done.stdout)[0]["outputs"]["out"])


def test_the_flake_is_pinned_to_one_nixpkgs():
    locked = json.loads((REPOSITORY / "flake.lock").read_bytes())["nodes"]["nixpkgs"]["locked"]
    assert re.fullmatch("[0-9a-f]{40}", locked["rev"]) and locked["narHash"].startswith("sha256-")


def test_every_output_of_the_flake_evaluates(nix):
    nix("flake", "check", "--no-build", f"path:{nix.source}")
    shown = json.loads(nix("flake", "show", "--json", f"path:{nix.source}").stdout)
    eras = {path.name for path in IMAGES.iterdir()}
    wanted = {f"{prefix}-{era}" for prefix in ("image", "promise") for era in eras}
    assert set(shown["packages"]["x86_64-linux"]) == wanted
    assert set(shown["devShells"]["x86_64-linux"]) == {"default"}


def test_the_sandbox_shows_a_build_no_network_and_no_checkout(nix):
    script = (
        f"test ! -e {REPOSITORY}/kit; test ! -e {nix.source}; test $(grep -c : /proc/net/dev) = 1; touch $out"
    )
    stub = f'(builtins.getFlake "path:{nix.source}/tests/nix").legacyPackages.x86_64-linux'
    expression = f'{stub}.runCommand "closed" {{ }} "{script.replace("$", chr(92) + "$")}"'
    command = [
        "nix",
        "--store",
        str(nix.place / "root"),
        "build",
        "--no-link",
        "--impure",
        "--expr",
        expression,
    ]
    done = subprocess.run(command, env=nix.env(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_nix_builds_the_committed_image(built):
    spec = read_spec(IMAGES, "cpu")
    identity = read_identity(spec, read_lock(spec))
    [entry] = json.loads((built / "index.json").read_bytes())["manifests"]
    assert entry["digest"] == f"sha256:{identity.manifest}"
    manifest = json.loads((built / "blobs" / "sha256" / identity.manifest).read_bytes())
    assert [x["digest"] for x in manifest["layers"]] == [f"sha256:{d}" for d in identity.diff_ids]
    names = {identity.config, identity.manifest, *identity.diff_ids}
    assert {p.name for p in (built / "blobs" / "sha256").iterdir()} == names
    sums = subprocess.run(
        ["sha256sum", *sorted(names)], cwd=built / "blobs" / "sha256", capture_output=True, text=True
    ).stdout
    assert all(line.split()[0] == line.split()[1] for line in sums.splitlines()) and len(sums) > 64


def test_the_check_compares_the_image_with_its_digest(nix, built):
    nix("build", f"path:{nix.source}#checks.x86_64-linux.promise-cpu", "--no-link")
    digest = nix.source / "images" / "cpu" / "digest"
    text = digest.read_text()
    digest.write_text(re.sub(r"^(manifest +sha256:).", r"\g<1>x", text, flags=re.M))
    try:
        nix("build", f"path:{nix.source}#checks.x86_64-linux.promise-cpu", "--no-link", code=1)
    finally:
        digest.write_text(text)


def test_a_file_that_is_not_the_locked_one_is_refused_by_nix_itself(nix):
    lock = nix.source / "images" / "cpu" / "lock.json"
    text = lock.read_text()
    first = json.loads(text)["wheels"][0]
    other = json.loads(text)["wheels"][1]
    expression = (
        f'(builtins.getFlake "path:{nix.source}/tests/nix").legacyPackages.x86_64-linux.fetchurl'
        f' {{ name = "x"; url = "https://example.org/x"; sha256 = "{first["sha256"]}"; }}'
    )
    artifacts = nix.place / "swapped"
    artifacts.mkdir()
    shutil.copy(Store(default_store()).blob(other["sha256"]), artifacts / first["sha256"])
    env = nix.env()
    env["NIX_CONFIG"] = re.sub(r"/artifacts=\S+", f"/artifacts={artifacts}", env["NIX_CONFIG"])
    command = [
        "nix",
        "--store",
        str(nix.place / "other"),
        "build",
        "--no-link",
        "--impure",
        "--expr",
        expression,
    ]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "hash mismatch in fixed-output derivation" in done.stderr, done.stderr
