"""Asks the Hugging Face Hub what a data set's files are, and brings them. Checks no byte: the store does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO

from kit.core.digest import Sha256, is_sha256
from kit.core.download import download
from kit.core.errors import IntegrityError, NetworkError, PrerequisiteError
from kit.core.extras import install_command
from kit.core.store import Artifact, Progress
from kit.data.dataset import DataSet, ShardDigests, StatedBy

_ELSEWHERE = "check --endpoint, and the --revision that was given to: speedrun data lock"
_OFFLINE = "check the network or --endpoint; with the shards at hand, use: speedrun data fetch --mirror DIR"


class Hub:
    """
    The Hub at `endpoint`, or the one that `huggingface_hub` is configured for.

    No token is ever sent: the data are public, and an endpoint may be anybody's.
    """

    def __init__(self, endpoint: str | None = None) -> None:
        try:
            import huggingface_hub
        except ImportError as e:
            raise PrerequisiteError("huggingface_hub is not installed", install_command("hub")) from e
        self._lib = huggingface_hub
        self._endpoint = endpoint
        self._api = huggingface_hub.HfApi(endpoint=endpoint, token=False)

    def state(self, dataset: DataSet, names: Sequence[str], revision: str | None = None) -> ShardDigests:
        """
        Return the sizes and sha256s that the Hub states for `names` at `revision` (its newest if None).

        Raises `PrerequisiteError` if repository, revision or a file is not there, `IntegrityError` if the
        Hub states no sha256 or another size than the data set's, `NetworkError` if it does not answer.
        """
        # HTTPError is the base of the transport's errors; which transport it is depends on the version.
        from huggingface_hub.errors import (  # type: ignore[attr-defined]
            HfHubHTTPError,
            HTTPError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )

        try:
            commit = self._api.repo_info(dataset.repo, repo_type="dataset", revision=revision).sha
            infos = self._api.get_paths_info(dataset.repo, list(names), revision=commit, repo_type="dataset")
        except (RepositoryNotFoundError, RevisionNotFoundError) as e:
            where = f" at revision {revision}" if revision else ""
            raise PrerequisiteError(f"the Hub has no data set {dataset.repo}{where}", _ELSEWHERE) from e
        except HfHubHTTPError as e:
            raise NetworkError(
                f"the Hub answers {e.response.status_code}", "run the command again later"
            ) from e
        except (HTTPError, OSError) as e:
            raise NetworkError(f"the Hub does not answer ({e})", _OFFLINE) from e
        except (AttributeError, KeyError, TypeError, ValueError) as e:  # the page of somebody between
            raise NetworkError("what answers does not speak as the Hub does", _OFFLINE) from e
        repo_files = {i.path: i for i in infos if isinstance(i, self._lib.RepoFile)}
        files = []
        for name in sorted(names):
            if name not in repo_files:
                raise PrerequisiteError(f"{dataset.repo} has no file {name} at revision {commit}", _ELSEWHERE)
            lfs, size = repo_files[name].lfs, repo_files[name].size
            stated = lfs is not None and is_sha256(lfs.sha256)
            if lfs is None or not stated or size != dataset.size:
                raise IntegrityError(
                    f"the Hub states {size} bytes and {'a' if stated else 'no'} sha256 for {name}"
                )
            files.append(Artifact(name, size, Sha256(lfs.sha256)))
        return ShardDigests(dataset.repo, commit, StatedBy.HUB, dataset.sha256, tuple(files))

    def fetcher(self, repo: str, revision: str) -> HubFetcher:
        """Return the source of one revision's files."""
        return HubFetcher(self, repo, revision)

    def url(self, repo: str, revision: str, name: str) -> str:
        """Return where one file of one revision is."""
        return self._lib.hf_hub_url(
            repo, name, repo_type="dataset", revision=revision, endpoint=self._endpoint
        )


class HubFetcher:
    """
    A `kit.core.store.Fetcher` of one revision.

    The transfer is the kit's own: `huggingface_hub` starts anew in each process, and a shard has 200 MB.
    """

    def __init__(self, hub: Hub, repo: str, revision: str) -> None:
        self._hub, self._repo, self._revision = hub, repo, revision
        self.source = f"the Hub, {repo} at {revision[:12]}"

    def fetch(self, artifact: Artifact, sink: BinaryIO, offset: int, progress: Progress) -> None:
        """See `Fetcher.fetch`."""
        download(self._hub.url(self._repo, self._revision, artifact.name), artifact, sink, offset, progress)
