"""Fetch files of upstream commits from a local git directory or over https."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import IO, BinaryIO, cast

from kit.core.download import download
from kit.core.errors import PrerequisiteError
from kit.core.store import Artifact, Progress

RAW = "https://raw.githubusercontent.com/KellerJordan/modded-nanogpt"


class CloneFile:
    """A `kit.core.store.Fetcher` of one file of one commit from a git directory, bare or not."""

    def __init__(self, git_dir: Path, commit: str, path: str) -> None:
        self.git_dir = git_dir
        self.name = f"{commit}:{path}"
        self.source = f"clone {git_dir}"

    def fetch(self, artifact: Artifact, sink: BinaryIO, offset: int, progress: Progress) -> None:
        """See `Fetcher.fetch`. The raw blob is read: no filter, conversion or hook runs."""
        # safe.directory: allow a clone of another user, because it is only read. Missing objects must not be
        # fetched: the clone's settings would choose the source and the command.
        argv = ["git", "-c", "safe.directory=*", "-C", str(self.git_dir), "cat-file", "blob", self.name]
        alone = {**os.environ, "GIT_ALLOW_PROTOCOL": "", "GIT_NO_LAZY_FETCH": "1"}
        try:
            with (
                tempfile.TemporaryFile() as words,
                subprocess.Popen(
                    argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=words, env=alone
                ) as git,
            ):
                with cast("IO[bytes]", git.stdout) as out:
                    data = out.read(artifact.size + 1)  # one extra byte shows that the size differs
                failed = git.wait() != 0 and len(data) <= artifact.size
                words.seek(0)
                message = words.read(4096).decode("utf-8", "replace")
                error_lines = message.strip().splitlines() or ["git failed"]
        except FileNotFoundError as e:
            raise PrerequisiteError("git is not installed", "install git, or omit --upstream") from e
        except OSError as e:
            again = "reinstall git, or omit --upstream"
            raise PrerequisiteError(f"cannot start git: {e.strerror}", again) from e
        if failed:
            raise PrerequisiteError(f"{self.name} not found in {self.source}: {error_lines[-1][:200]}")
        sink.truncate(0)
        sink.write(data)
        progress(artifact.name, len(data), artifact.size)


class HttpsFile:
    """A `kit.core.store.Fetcher` of one file of one commit over https; it resumes broken transfers."""

    def __init__(self, commit: str, path: str, base: str = RAW) -> None:
        self.url = f"{base}/{commit}/{path}"
        self.source = self.url

    def fetch(self, artifact: Artifact, sink: BinaryIO, offset: int, progress: Progress) -> None:
        """See `Fetcher.fetch`."""
        download(self.url, artifact, sink, offset, progress)
