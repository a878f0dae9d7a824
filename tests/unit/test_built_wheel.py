"""What a wheel carries that was built from a clone: commit, absolute links, facts, prompts and rubrics."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import BytesParser
from pathlib import Path

import pytest

from kit.evaluate import provenance

REPOSITORY = Path(__file__).parents[2]
PARTS = (
    "kit",
    "images",
    "records",
    "hints",
    "rubrics",
    "hatch_build.py",
    "pyproject.toml",
    "README.md",
    "LICENSE",
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
GIT = ("git", "-c", "user.name=t", "-c", "user.email=t@example.org")


class Clone:
    """A small repository with the kit's own files."""

    def __init__(self, root: Path, origin: str | None) -> None:
        self.root = root
        root.mkdir()
        for name in PARTS:
            here = REPOSITORY / name
            if here.is_dir():
                shutil.copytree(here, root / name, ignore=shutil.ignore_patterns("__pycache__", "_facts"))
            else:
                shutil.copyfile(here, root / name)
        self.git("init", "--quiet")
        if origin is not None:
            self.git("remote", "add", "origin", origin)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "a commit")
        self.commit = self.git("rev-parse", "HEAD")

    def git(self, *arguments: str) -> str:
        done = subprocess.run([*GIT, *arguments], cwd=self.root, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def build(self) -> zipfile.ZipFile:
        code = "import hatchling.build, sys; hatchling.build.build_wheel(sys.argv[1])"
        subprocess.run(
            [sys.executable, "-c", code, str(self.root / "dist")],
            cwd=self.root,
            check=True,
            capture_output=True,
        )
        (wheel,) = (self.root / "dist").glob("*.whl")
        return zipfile.ZipFile(wheel)


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone whose remote has a token in its address."""
    return Clone(
        tmp_path_factory.mktemp("w") / "clone", "https://me:s3cret@github.com/some-lab/speedrun-kit.git"
    )


@pytest.fixture(scope="module")
def wheel(clone):
    with clone.build() as archive:
        yield archive


def metadata(archive: zipfile.ZipFile):
    (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
    return BytesParser().parsebytes(archive.read(name))


def embedded(archive: zipfile.ZipFile) -> str | None:
    name = f"kit/{provenance.EMBEDDED}"
    return archive.read(name).decode().strip() if name in archive.namelist() else None


def test_the_commit_travels_and_is_what_the_installed_kit_states(clone, wheel, tmp_path, monkeypatch):
    assert embedded(wheel) == clone.commit
    wheel.extractall(tmp_path)
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path / "kit")
    assert provenance.this_kit().commit == clone.commit
    (tmp_path / "kit" / provenance.EMBEDDED).write_text("main\n")
    assert provenance.this_kit().commit is None


def test_the_address_that_an_installed_kit_states_has_no_token(wheel, monkeypatch):
    monkeypatch.setattr(provenance.metadata, "metadata", lambda _: metadata(wheel))
    assert provenance.source_url() == "https://github.com/some-lab/speedrun-kit"

    def missing(name):
        raise provenance.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(provenance.metadata, "metadata", missing)
    assert provenance.source_url() is None


def test_facts_prompts_and_rubrics_travel_byte_for_byte(wheel):
    travel = {f"kit/_facts/{room}": REPOSITORY / room for room in ("images", "records", "hints", "rubrics")}
    travel |= {
        f"kit/{room}": REPOSITORY / "kit" / room for room in ("agent/prompts", "judge/prompts", "guest")
    }
    for inside, folder in travel.items():
        files = [p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
        assert files, folder
        for file in files:
            name = f"{inside}/{file.relative_to(folder).as_posix()}"
            assert wheel.read(name) == file.read_bytes(), name


def test_every_link_of_the_description_is_absolute_and_names_a_file_of_the_commit(clone, wheel):
    base = f"https://github.com/some-lab/speedrun-kit/blob/{clone.commit}/"
    links = LINK.findall(metadata(wheel).get_payload())
    own = [link.removeprefix(base).partition("#")[0] for link in links if link.startswith(base)]
    assert len(own) > 30 and all(link.startswith("https://") for link in links)
    assert [name for name in own if not (REPOSITORY / name).exists()] == []


def test_no_token_of_the_remote_gets_into_the_wheel(wheel):
    assert all(b"s3cret" not in wheel.read(name) for name in wheel.namelist())
    urls = dict(line.split(", ") for line in metadata(wheel).get_all("Project-URL"))
    assert urls["Source"] == "https://github.com/some-lab/speedrun-kit"
    assert len(urls) == 4


def test_without_a_github_remote_links_become_text_and_a_change_takes_the_commit_away(tmp_path):
    clone = Clone(tmp_path / "clone", "/srv/git/kit.git")
    (clone.root / "rubrics" / "more.txt").write_text("not committed\n")
    with clone.build() as wheel:
        assert embedded(wheel) is None
        found = metadata(wheel)
        assert found.get_all("Project-URL") is None
        links = LINK.findall(found.get_payload())
        assert links and all(link.startswith("https://") for link in links)
        assert "The glossary explains this project's terms." in found.get_payload()


@pytest.mark.parametrize(
    ("origin", "address"),
    [
        ("git@github.com:a/b.git", "https://github.com/a/b"),
        ("ssh://git@github.com/a/b", "https://github.com/a/b"),
        ("https://github.com/a/b/", "https://github.com/a/b"),
        ("https://example.org/a/b", None),
        ("https://github.com.example.org/a/b", None),
        ("/srv/a.git", None),
        (None, None),
    ],
)
def test_only_a_github_remote_gives_an_address(origin, address, monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY))
    import hatch_build

    assert hatch_build.repository_url(origin) == address


def test_a_file_that_git_hides_is_a_change(tmp_path, monkeypatch):
    """`status.showUntrackedFiles=no` hides files that a wheel carries and a checkout runs."""
    monkeypatch.syspath_prepend(str(REPOSITORY))
    import hatch_build

    (tmp_path / "kit").mkdir()
    (tmp_path / "kit" / "__init__.py").touch()
    for words in (
        ["init", "-q"],
        ["add", "."],
        ["commit", "-qm", "x"],
        ["config", "status.showUntrackedFiles", "no"],
    ):
        subprocess.run([*GIT, *words], cwd=tmp_path, check=True)
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path / "kit")
    commit = hatch_build.commit_of(tmp_path)
    assert commit is not None and provenance.this_kit().commit == commit
    (tmp_path / "kit" / "new.py").touch()
    assert hatch_build.commit_of(tmp_path) is None and provenance.this_kit().commit is None
