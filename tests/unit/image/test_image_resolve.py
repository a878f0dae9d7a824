"""Resolving: what pip, uv and apt say becomes location-free entries, or a sentence."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from kit.core.errors import NetworkError, PrerequisiteError
from kit.core.store import FolderFetcher, Store, no_progress
from kit.image import apt, index, resolve
from kit.image.lock import render_lock


def targets(*lines: str):
    """Stand for `apt-get indextargets`."""
    return lambda argv, cwd=None: "".join(f"{line}\n" for line in lines)


@pytest.fixture
def apt_here(monkeypatch):
    monkeypatch.setattr(apt.shutil, "which", lambda name: f"/usr/bin/{name}")


def test_the_mirror_is_that_of_the_suite_and_never_updates_or_security(apt_here, monkeypatch):
    said = targets(
        "Packages http://mirror.example/debian-security/ bookworm-security main",
        "Packages http://other.example/nodesource/ nodistro main",
        "Translations http://wrong.example/debian/ bookworm main",
        "Packages http://wrong.example/debian/ bookworm contrib",
        "Packages http://mirror.example/debian/ bookworm main",
    )
    monkeypatch.setattr(apt, "_run", said)
    assert apt.mirror_of("bookworm") == "http://mirror.example/debian/"


def test_the_mirror_of_another_debian_serves_the_suite_too(apt_here, monkeypatch):
    monkeypatch.setattr(apt, "_run", targets("Packages http://mirror.example/debian trixie main"))
    assert apt.mirror_of("bookworm") == "http://mirror.example/debian"


def test_a_machine_of_another_distribution_has_no_mirror(apt_here, monkeypatch):
    monkeypatch.setattr(apt, "_run", targets("Packages http://archive.example/ubuntu/ noble main"))
    with pytest.raises(PrerequisiteError, match="no source for Debian bookworm") as caught:
        apt.mirror_of("bookworm")
    assert "Debian" in caught.value.hint


def test_a_machine_without_apt_is_told_so(monkeypatch):
    monkeypatch.setattr(apt.shutil, "which", lambda name: None)
    with pytest.raises(PrerequisiteError, match="apt-get is not installed") as caught:
        apt.mirror_of("bookworm")
    assert "Debian" in caught.value.hint


def test_what_apt_prints_becomes_pool_paths_and_versions(monkeypatch):
    asked = []

    def run(argv, cwd=None):
        asked.append(argv)
        if "install" not in argv:
            return ""
        return (
            "Reading package lists...\n"
            "'http://m.example/debian/pool/main/a/attr/libattr1_2.5.1-4_amd64.deb'"
            f" libattr1_1%3a2.5.1-4_amd64.deb 22164 SHA256:{'a' * 64}\n"
            "'http://m.example/debian/pool/main/g/gcc-12/g%2b%2b-12_12.2.0-14%2bdeb12u1_amd64.deb'"
            f" g++-12_12.2.0-14+deb12u1_amd64.deb 10694076 SHA256:{'b' * 64}\n"
        )

    monkeypatch.setattr(apt, "_run", run)
    with apt.PrivateApt("bookworm", "http://m.example/debian") as private:
        root = Path(asked[0][asked[0].index("-c") + 1]).parent
        source = (root / "sources.list").read_text()
        attr, gpp = private.closure(("attr", "g++"))
    assert source.endswith("http://m.example/debian/ bookworm main\n") and source.count("\n") == 1
    assert (root.exists(), (attr.package, attr.version)) == (False, ("libattr1", "1:2.5.1-4"))
    assert attr.pool == "pool/main/a/attr/libattr1_2.5.1-4_amd64.deb"
    assert (gpp.package, gpp.version) == ("g++-12", "12.2.0-14+deb12u1")
    assert gpp.pool == "pool/main/g/gcc-12/g++-12_12.2.0-14+deb12u1_amd64.deb"


def test_apt_is_asked_about_an_empty_system_with_one_suite(monkeypatch):
    confs = []

    def run(argv, cwd=None):
        confs.append(Path(argv[argv.index("-c") + 1]).read_text())
        return ""

    monkeypatch.setattr(apt, "_run", run)
    with apt.PrivateApt("bookworm", "http://m.example/debian/"):
        pass
    for line in (
        'APT::Install-Recommends "false"',
        'Acquire::ForceHash "SHA256"',
        "Dir::State::status",
        "sourceparts",
    ):
        assert line in confs[0]


def test_another_mirrors_package_is_no_entry(monkeypatch):
    line = f"'http://security.example/debian/pool/x_1_amd64.deb' x_1_amd64.deb 1 SHA256:{'a' * 64}\n"
    monkeypatch.setattr(apt, "_run", lambda argv, cwd=None: line)
    with apt.PrivateApt("bookworm", "http://m.example/debian/") as private, pytest.raises(NetworkError):
        private.closure(("x",))


def test_apt_failing_is_said_in_its_own_words(monkeypatch):
    done = subprocess.CompletedProcess([], 100, "", "W: slow\nE: Unable to locate package nope\n")
    monkeypatch.setattr(apt.subprocess, "run", lambda *_, **__: done)
    with pytest.raises(NetworkError, match="Unable to locate package nope"):
        apt.PrivateApt("bookworm", "http://m.example/debian/").__enter__()


def fake_pip(monkeypatch, installs, code=0, stderr=""):
    seen = []
    settings = index.pip_settings()  # by the real pip
    monkeypatch.setattr(index, "pip_settings", lambda: settings)

    def run(argv, **_):
        seen.append(argv)
        if "--report" in argv:
            Path(argv[argv.index("--report") + 1]).write_text(json.dumps({"install": installs}))
        return subprocess.CompletedProcess(argv, code, "", stderr)

    monkeypatch.setattr(index.subprocess, "run", run)
    return seen


def install(name, version, url, sha256="a" * 64):
    return {
        "metadata": {"name": name, "version": version},
        "download_info": {"url": url, "archive_info": {"hashes": {"sha256": sha256}}},
    }


def test_pip_is_asked_for_the_images_python_and_every_manylinux_tag(monkeypatch):
    seen = fake_pip(
        monkeypatch, [install("Typing_Extensions", "4.0", "https://x.example/a%2Bb.whl#sha256=1")]
    )
    found = index.offers(("typing-extensions==4.0",), "3.11", closure=False)
    argv = next(one for one in seen if "install" in one)
    assert {"--dry-run", "--ignore-installed", "--no-deps", "cp311", "abi3", "none"} <= set(argv)
    platforms = {argv[i + 1] for i, part in enumerate(argv) if part == "--platform"}
    assert {f"manylinux_2_{minor}_x86_64" for minor in range(17, 29)} <= platforms
    assert {f"manylinux{old}_x86_64" for old in ("2014", "2010", "1")} <= platforms
    assert argv[-2:] == ["--", "typing-extensions==4.0"]
    assert (found[0].project, found[0].file) == ("typing-extensions", "a+b.whl")


def test_pip_failing_is_said_in_its_own_words(monkeypatch):
    fake_pip(monkeypatch, [], 1, "WARNING: x\nERROR: No matching distribution found for torch==9\n")
    with pytest.raises(PrerequisiteError, match="No matching distribution found for torch==9"):
        index.offers(("torch==9",), "3.11", closure=True)


def test_an_index_that_cannot_be_reached_is_said_instead_of_a_missing_wheel(monkeypatch):
    cause = "ProxyError('Cannot connect to proxy.', ConnectionRefusedError(111, 'Connection refused'))"
    retry = "Retry(total=1, connect=None, read=None, redirect=None, status=None)"
    broken = f"WARNING: Retrying ({retry}) after connection broken by '{cause}': /simple/torch/\n"
    fake_pip(monkeypatch, [], 1, f"{broken}ERROR: No matching distribution found for torch==9\n")
    with pytest.raises(NetworkError, match=r"cannot reach the Python index: ProxyError.*refused") as caught:
        index.offers(("torch==9",), "3.11", closure=True)
    assert "https_proxy" in caught.value.hint


def test_an_invalid_proxy_is_named(monkeypatch):
    fake_pip(
        monkeypatch, [], 1, "ERROR: Could not install packages: Please check proxy URL. It is malformed\n"
    )
    monkeypatch.setenv("https_proxy", "http://user:secret@")
    with pytest.raises(NetworkError, match="invalid proxy") as caught:
        index.offers(("torch==9",), "3.11", closure=True)
    assert "secret" not in caught.value.message


def test_a_pip_that_uses_no_https_index_at_an_address_is_told_how(monkeypatch):
    said = "Traceback ...\nValueError: check_hostname requires server_hostname\n"
    fake_pip(monkeypatch, [], 2, said)
    with pytest.raises(NetworkError, match="HTTPS index at an IP address") as caught:
        index.offers(("torch==2.5.1",), "3.11", closure=False)
    assert "PIP_USE_DEPRECATED=legacy-certs" in caught.value.hint


def test_resolving_as_of_a_date_needs_uv_and_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(index.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(index.shutil, "which", lambda name: None)
    with pytest.raises(PrerequisiteError, match="uv is not installed") as caught:
        index.pins_before(("torch==2.4.1",), "3.11", datetime.date(2024, 10, 19))
    assert "pip install uv" in caught.value.hint


def test_uv_is_asked_in_utc_so_that_zones_do_not_matter(monkeypatch):
    asked = {}

    def run(argv, **options):
        asked.update(argv=argv, **options)
        return subprocess.CompletedProcess(argv, 0, "numpy==2.1.2\ntorch==2.4.1\n", "")

    monkeypatch.setattr(index.shutil, "which", lambda name: "/usr/bin/uv")
    monkeypatch.setattr(index.subprocess, "run", run)
    pins = index.pins_before(("torch==2.4.1", "numpy"), "3.11", datetime.date(2024, 10, 19))
    assert pins == ("numpy==2.1.2", "torch==2.4.1")
    assert asked["argv"][asked["argv"].index("--exclude-newer") + 1] == "2024-10-20T00:00:00Z"
    assert asked["input"] == "torch==2.4.1\nnumpy\n"
    assert asked["cwd"] == "/", "uv runs .venv/bin/python of its working directory"


class FakeApt:
    """Stands for the private apt, with the tiny era's one package."""

    def __init__(self, deb):
        self.deb = deb

    def __call__(self, suite, mirror):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def closure(self, packages):
        d = self.deb
        return (apt.AptPackage(d.package, d.version, d.pool, d.size, d.sha256),)


@pytest.fixture
def sources(tiny, monkeypatch):
    """Make pip and apt offer the tiny era's packages, wheels by local path."""
    from kit.image.lock import read_lock

    lock = read_lock(tiny.spec)
    monkeypatch.setattr(resolve, "PrivateApt", FakeApt(lock.debs[0]))
    monkeypatch.setattr(resolve, "mirror_of", lambda suite: "http://m.example/debian")
    monkeypatch.setattr(resolve.platform, "python_version_tuple", lambda: ("3", "11", "2"))
    monkeypatch.setattr(resolve.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(resolve.platform, "system", lambda: "Linux")
    offers = tuple(
        index.IndexWheel(w.project, w.version, (tiny.mirror / w.name).as_uri(), w.sha256) for w in lock.wheels
    )
    monkeypatch.setattr(resolve.index, "offers", lambda *_, **__: offers)
    return lock


def resolved(spec, tiny, tmp_path):
    return resolve.resolve(spec, Store(tmp_path / "store"), [FolderFetcher(tiny.mirror)], no_progress)


def test_what_a_resolver_says_of_local_paths_does_not_reach_the_lock(tiny, sources, tmp_path):
    found = resolved(tiny.spec, tiny, tmp_path)
    assert found == sources
    text = render_lock(tiny.spec, found.debs, found.wheels).decode()
    assert "file:" not in text and str(tiny.mirror) not in text and "http" not in text


def test_only_an_address_that_people_wrote_reaches_the_lock(tiny, sources, tmp_path):
    spec = dataclasses.replace(tiny.spec, urls=(("big", "https://download.pytorch.org/whl/big.whl"),))
    found = {w.project: w.url for w in resolved(spec, tiny, tmp_path).wheels}
    assert found == {"big": "https://download.pytorch.org/whl/big.whl", "small": None}


def test_debs_are_hashed_because_no_index_has_their_sha1(tiny, sources, tmp_path):
    deb = resolved(tiny.spec, tiny, tmp_path).debs[0]
    assert deb.sha1 == hashlib.sha1((tiny.mirror / deb.name).read_bytes()).hexdigest()


def test_another_python_may_not_judge_the_dependencies(tiny, sources, tmp_path, monkeypatch):
    monkeypatch.setattr(resolve.platform, "python_version_tuple", lambda: ("3", "13", "0"))
    with pytest.raises(
        PrerequisiteError, match=r"must run in Python 3\.11 on x86-64 Linux, but this is Python 3\.13"
    ) as caught:
        resolved(tiny.spec, tiny, tmp_path)
    assert "python3.11" in caught.value.hint


def test_an_index_without_hashes_is_refused(tiny, sources, tmp_path, monkeypatch):
    offer = index.IndexWheel("big", "1.0", "https://x.example/big.whl", "")
    monkeypatch.setattr(resolve.index, "offers", lambda *_, **__: (offer,))
    with pytest.raises(PrerequisiteError, match="has no sha256 for big"):
        resolved(tiny.spec, tiny, tmp_path)


def test_lists_that_cannot_be_written_leave_no_folder_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(apt.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(apt, "COMPONENT", "\ud800")
    with pytest.raises(UnicodeEncodeError):
        apt.PrivateApt("bookworm", "http://m.example/debian/").__enter__()
    assert list(tmp_path.iterdir()) == []
