"""Sends a submission to a dataset repository of the Hub as a pull request. Checks nothing: the bot does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from kit.core.errors import NetworkError, PrerequisiteError, UsageError
from kit.core.extras import install_command

SCHEME = "hf://"
_REPO = re.compile(r"(?:datasets/)?([A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})")


def repository(url: str) -> str:
    """Return `owner/name` of `hf://owner/name` or `hf://datasets/owner/name`. Raises `UsageError`."""
    match = _REPO.fullmatch(url.removeprefix(SCHEME))
    if not url.startswith(SCHEME) or match is None:
        raise UsageError(f"{url[:100]!r} is no dataset of the Hub", "write it like hf://owner/name")
    return match[1]


def send(
    repo: str, root: Path, files: Sequence[str], title: str, endpoint: str | None, token: str | None
) -> str:
    """
    Open a pull request that adds `files` (below `root`) to a dataset repository; return its address.

    `endpoint` and `token` None are those that `huggingface_hub` is configured for. Raises `PrerequisiteError`
    if the repository or the permission is not there, `NetworkError` if the Hub does not answer.
    """
    try:
        import huggingface_hub as library
        from huggingface_hub.errors import (  # type: ignore[attr-defined]
            HfHubHTTPError,
            HTTPError,
            RepositoryNotFoundError,
        )
    except ImportError as e:
        raise PrerequisiteError("huggingface_hub is not installed", install_command("hub")) from e
    api = library.HfApi(endpoint=endpoint, token=token)
    operations = [
        library.CommitOperationAdd(path_in_repo=name, path_or_fileobj=str(root / name)) for name in files
    ]
    try:
        commit = api.create_commit(
            repo, operations, commit_message=title, repo_type="dataset", create_pr=True
        )
    except RepositoryNotFoundError as e:
        raise PrerequisiteError(
            f"the Hub has no dataset {repo}, or you may not see it", "hf auth login, or set HF_TOKEN"
        ) from e
    except HfHubHTTPError as e:
        status = e.response.status_code
        if status in (401, 403):
            raise PrerequisiteError(
                f"the Hub does not let you write to {repo} ({status})", "hf auth login, or set HF_TOKEN"
            ) from e
        raise NetworkError(f"the Hub answers {status}", "run the command again later") from e
    except (HTTPError, OSError) as e:
        raise NetworkError(f"the Hub does not answer ({e})", "check the network or --endpoint") from e
    except (RuntimeError, ValueError) as e:  # what the library makes of an upload that failed half-way
        raise NetworkError(
            f"the upload failed ({e.__cause__ or e})", "run the command again; nothing was committed"
        ) from e
    return commit.pr_url or commit.commit_url
