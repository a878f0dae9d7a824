"""Send an entry to a Hugging Face dataset repository as a pull request. The bot there checks it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from kit.core.errors import NetworkError, PrerequisiteError, UsageError
from kit.core.extras import install_command
from kit.core.proxy import require_socks

SCHEME = "hf://"
_REPO = re.compile(r"(?:datasets/)?([A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})")


def repository(url: str) -> str:
    """Return `owner/name` of `hf://owner/name` or `hf://datasets/owner/name`. Raises `UsageError`."""
    match = _REPO.fullmatch(url.removeprefix(SCHEME))
    if not url.startswith(SCHEME) or match is None:
        raise UsageError(f"{url[:100]!r} is not a Hub dataset", "use the form hf://owner/name")
    return match[1]


def open_pull_request(
    repo: str, root: Path, files: Sequence[str], title: str, endpoint: str | None, token: str | None
) -> str:
    """
    Open a pull request that adds `files` (below `root`) to a dataset repository; return its URL.

    With `endpoint` or `token` None, the configuration of `huggingface_hub` applies. Raises
    `PrerequisiteError` if the repository or a permission is missing, `NetworkError` if the Hub cannot be
    reached.
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
    require_socks(api.endpoint, module="socksio")
    try:
        commit = api.create_commit(
            repo, operations, commit_message=title, repo_type="dataset", create_pr=True
        )
    except RepositoryNotFoundError as e:
        raise PrerequisiteError(
            f"dataset {repo} not found on the Hub, or permission denied", "run hf auth login, or set HF_TOKEN"
        ) from e
    except HfHubHTTPError as e:
        status = e.response.status_code
        if status in (401, 403):
            raise PrerequisiteError(
                f"permission denied: cannot write to {repo} on the Hub (HTTP {status})",
                "run hf auth login, or set HF_TOKEN",
            ) from e
        raise NetworkError(f"the Hub returned HTTP {status}", "run the command again later") from e
    except (HTTPError, OSError) as e:
        raise NetworkError(f"cannot reach the Hub: {e}", "check the network or --endpoint") from e
    except (RuntimeError, ValueError) as e:  # raised by the library for a failed upload
        raise NetworkError(
            f"the upload failed: {e.__cause__ or e}", "run the command again; nothing was committed"
        ) from e
    return commit.pr_url or commit.commit_url
