"""Fetches a pinned revision from the Hugging Face hub; no other module reaches the network."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from cascade_core.errors import ModelUnavailable


def download(repo_id: str, commit: str, patterns: list[str], cached_only: bool) -> Path:
    """Fetch the files of one commit that match the patterns, or find them in the local cache.

    Args:
        repo_id: owner and name.
        commit: full hash.
        patterns: which files.
        cached_only: do not use the network, and accept the files that are cached.

    Raises:
        ModelUnavailable: no such repository or commit, no access, or no network and nothing cached.
    """
    try:
        folder = snapshot_download(
            repo_id, revision=commit, allow_patterns=patterns, local_files_only=cached_only
        )
        return Path(folder)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ModelUnavailable(f"cannot fetch {repo_id} at {commit[:12]}: {reason}") from error
