"""Look up and download the files of a data set on the Hugging Face Hub. The store checks the digests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, BinaryIO

from kit.core.digest import Sha256, is_sha256
from kit.core.download import advice, download, repeated, retry
from kit.core.errors import IntegrityError, NetworkError, PrerequisiteError
from kit.core.extras import install_command
from kit.core.proxy import require_socks
from kit.core.store import Artifact, Progress, no_progress
from kit.core.transfer import BrokenTransfer, is_temporary, refused_for_now
from kit.data.dataset import DataSet, ShardDigests, StatedBy

_ELSEWHERE = "check --endpoint, and --revision of speedrun data lock"
_LATER = "run the command again later"
_OFFLINE = "check the network and --endpoint, or use local files: speedrun data fetch --mirror DIR"


class Hub:
    """
    The Hub at `endpoint`, or the one that `huggingface_hub` is configured for.

    No token is sent: the data are public, and the endpoint may be untrusted.
    """

    def __init__(self, endpoint: str | None = None) -> None:
        try:
            import huggingface_hub
        except ImportError as e:
            raise PrerequisiteError("huggingface_hub is not installed", install_command("hub")) from e
        self._lib = huggingface_hub
        self._endpoint = endpoint
        self._api = huggingface_hub.HfApi(endpoint=endpoint, token=False)

    def state(
        self,
        dataset: DataSet,
        names: Sequence[str],
        revision: str | None = None,
        progress: Progress = no_progress,
    ) -> ShardDigests:
        """
        Return the sizes and sha256s of `names` on the Hub at `revision` (the newest if None).

        Raises `PrerequisiteError` if the repository, the revision or a file is missing, `IntegrityError` if
        the Hub has no sha256 or a wrong size for a file, `NetworkError` if it does not answer.
        """
        with repeated(progress, f"look up {dataset.name} on the Hub") as report:
            try:
                commit, infos = retry(lambda: self._look_up(dataset.repo, names, revision), report)
            except BrokenTransfer as e:
                raise NetworkError(f"cannot look up {dataset.repo} on the Hub: {e}", advice(e, _LATER)) from e
        repo_files = {i.path: i for i in infos if isinstance(i, self._lib.RepoFile)}
        files = []
        for name in sorted(names):
            if name not in repo_files:
                raise PrerequisiteError(
                    f"file {name} not found in {dataset.repo} at revision {commit}", _ELSEWHERE
                )
            lfs, size = repo_files[name].lfs, repo_files[name].size
            stated = lfs is not None and is_sha256(lfs.sha256)
            if lfs is None or not stated or size != dataset.size:
                raise IntegrityError(
                    f"the Hub reports {size} bytes and {'a' if stated else 'no'} sha256 for {name},"
                    f" expected {dataset.size} bytes and a sha256"
                )
            files.append(Artifact(name, size, Sha256(lfs.sha256)))
        return ShardDigests(dataset.repo, commit, StatedBy.HUB, dataset.sha256, tuple(files))

    def _look_up(self, repo: str, names: Sequence[str], revision: str | None) -> tuple[str | None, list[Any]]:
        """Return the commit, and what the Hub says about the files; raise `BrokenTransfer` to try again."""
        require_socks(self._api.endpoint, module="socksio")
        # HTTPError is the transport's base error; the transport depends on the library's version.
        from huggingface_hub.errors import (  # type: ignore[attr-defined]
            HfHubHTTPError,
            HTTPError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )

        try:
            commit = self._api.repo_info(repo, repo_type="dataset", revision=revision).sha
            infos = self._api.get_paths_info(repo, list(names), revision=commit, repo_type="dataset")
            return commit, list(infos)
        except (RepositoryNotFoundError, RevisionNotFoundError) as e:
            where = f" at revision {revision}" if revision else ""
            raise PrerequisiteError(f"data set {repo}{where} not found on the Hub", _ELSEWHERE) from e
        except HfHubHTTPError as e:
            if is_temporary(e.response.status_code):
                raise refused_for_now(e.response.status_code, e.response.headers) from e
            raise NetworkError(
                f"cannot look up {repo} on the Hub: HTTP status {e.response.status_code}",
                _LATER,
            ) from e
        except (HTTPError, OSError) as e:
            raise NetworkError(f"cannot reach the Hub: {e}", _OFFLINE) from e
        except (
            AttributeError,
            KeyError,
            TypeError,
            ValueError,
        ) as e:  # for example the login page of a proxy
            raise NetworkError("the endpoint answered, but not as the Hub does", _OFFLINE) from e

    def fetcher(self, repo: str, revision: str) -> HubFetcher:
        """Return a fetcher for the files of one revision."""
        return HubFetcher(self, repo, revision)

    def url(self, repo: str, revision: str, name: str) -> str:
        """Return the URL of one file of one revision."""
        return self._lib.hf_hub_url(
            repo, name, repo_type="dataset", revision=revision, endpoint=self._endpoint
        )


class HubFetcher:
    """
    A `kit.core.store.Fetcher` of one revision.

    It uses `kit.core.download`: `huggingface_hub` does not resume in a new process, and a shard has 200 MB.
    """

    def __init__(self, hub: Hub, repo: str, revision: str) -> None:
        self._hub, self._repo, self._revision = hub, repo, revision
        self.source = f"the Hub, {repo} at {revision[:12]}"

    def fetch(self, artifact: Artifact, sink: BinaryIO, offset: int, progress: Progress) -> None:
        """See `Fetcher.fetch`."""
        download(self._hub.url(self._repo, self._revision, artifact.name), artifact, sink, offset, progress)
