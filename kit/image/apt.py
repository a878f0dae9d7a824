"""Look up and download Debian packages with apt, from private package lists. Installs nothing."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from urllib.parse import unquote, urlsplit

from kit.core.errors import NetworkError, PrerequisiteError

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
COMPONENT = "main"
ARCHITECTURE = "amd64"
DEBIAN = "run the command on Debian, or in a Debian container"
SOURCES = "check this machine's apt sources, then run the command again"

_CONF = """\
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
Dir::Etc::sourcelist "{root}/sources.list";
Dir::Etc::sourceparts "{root}/empty";
Dir::Etc::preferences "{root}/empty/none";
Dir::Etc::preferencesparts "{root}/empty";
Dir::State "{root}/state";
Dir::State::status "{root}/status";
Dir::Cache "{root}/cache";
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Default-Release "";
APT::Install-Recommends "false";
APT::Install-Suggests "false";
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::ForceHash "SHA256";
Acquire::Retries "2";
Debug::NoLocking "true";
"""


@dataclass(frozen=True, slots=True)
class AptPackage:
    """A package that apt would install, as the index describes it."""

    package: str
    version: str
    pool: str
    size: int
    sha256: str


def mirror_of(suite: str) -> str:
    """
    Return the root URI of the Debian mirror that this machine's apt is configured for.

    A source of the suite itself is preferred to another Debian suite. Raises `PrerequisiteError` if
    there is no apt or no such source.
    """
    if shutil.which("apt-get") is None:
        raise PrerequisiteError("apt-get is not installed", DEBIAN)
    fields = "$(CREATED_BY) $(REPO_URI) $(RELEASE) $(COMPONENT)"
    targets = [line.split(" ") for line in _run(["apt-get", "indextargets", "--format", fields]).splitlines()]
    indexes = [t for t in targets if len(t) == 4 and t[0] == "Packages" and t[3] == COMPONENT]
    for _, uri, release, _ in indexes:
        if release == suite:
            return uri
    for _, uri, _, _ in indexes:
        if urlsplit(uri).path.rstrip("/").endswith("/debian"):
            return uri
    raise PrerequisiteError(f"apt has no source for Debian {suite}", DEBIAN)


class PrivateApt:
    """An apt with private lists of one suite and an empty dpkg status; a context manager."""

    def __init__(self, suite: str, mirror: str) -> None:
        self.suite = suite
        self.mirror = mirror if mirror.endswith("/") else f"{mirror}/"
        self._root: Path | None = None

    def __enter__(self) -> PrivateApt:
        root = Path(tempfile.mkdtemp(prefix="speedrun-apt-"))
        self._root = root
        try:
            for folder in ("empty", "state/lists/partial", "cache/archives/partial"):
                (root / folder).mkdir(parents=True)
            (root / "status").touch()
            signed = f" signed-by={KEYRING}" if KEYRING.exists() else ""
            (root / "sources.list").write_text(
                f"deb [arch={ARCHITECTURE}{signed}] {self.mirror} {self.suite} {COMPONENT}\n"
            )
            (root / "apt.conf").write_text(_CONF.format(root=root, architecture=ARCHITECTURE))
            self._apt("update", "--error-on=any")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the private lists."""
        if self._root is not None:
            shutil.rmtree(self._root, ignore_errors=True)
            self._root = None

    def closure(self, packages: tuple[str, ...]) -> tuple[AptPackage, ...]:
        """
        Return `packages` and their dependencies for an empty system, without recommended packages.

        Raises `NetworkError` with apt's error if they cannot be resolved.
        """
        printed = self._apt("install", "--print-uris", "--yes", "-qq", *packages)
        return tuple(self._offer(line) for line in printed.splitlines() if line.startswith("'"))

    def download(self, package: str, version: str) -> Path:
        """
        Download one package in exactly this version; return the file, which `close` removes.

        Raises `PrerequisiteError` if the suite offers another version now, or the transfer failed.
        """
        folder = self._folder() / "cache" / "archives" / package
        folder.mkdir(exist_ok=True)
        try:
            self._apt("download", f"{package}={version}", cwd=folder)
        except NetworkError as e:
            raise PrerequisiteError(e.message) from e
        deb = next(folder.glob("*.deb"), None)
        if deb is None:
            raise PrerequisiteError(f"apt did not download {package} {version}")
        return deb

    def _offer(self, line: str) -> AptPackage:
        try:
            uri, file, size, digest = line.split(" ")
            uri = uri.strip("'")
            package, version, _ = file.removesuffix(".deb").split("_")
            if not uri.startswith(self.mirror) or not digest.startswith("SHA256:"):
                raise ValueError("the line names another mirror or lacks a SHA256")
            pool = unquote(uri.removeprefix(self.mirror))
            return AptPackage(package, unquote(version), pool, int(size), digest.removeprefix("SHA256:"))
        except ValueError as e:
            raise NetworkError(f"cannot parse the output of apt: {line[:200]}", SOURCES) from e

    def _folder(self) -> Path:
        if self._root is None:
            raise NetworkError("the private apt lists were removed")
        return self._root

    def _apt(self, *arguments: str, cwd: Path | None = None) -> str:
        return _run(["apt-get", "-c", str(self._folder() / "apt.conf"), *arguments], cwd)


def _run(argv: list[str], cwd: Path | None = None) -> str:
    """Run apt with messages in English; raise `NetworkError` with its first error."""
    done = subprocess.run(["env", "LC_ALL=C", *argv], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        words = [line for line in done.stderr.splitlines() if line.startswith("E:")] or [
            "E: no error message"
        ]
        raise NetworkError(f"{argv[0]} failed: {words[0].removeprefix('E: ')}", SOURCES)
    return done.stdout
