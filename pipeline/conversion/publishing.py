"""Upload of an exported model to a hub."""

import re
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def require_name(repository: str) -> None:
    """Check the name of a repository before a model is exported for it.

    Raises:
        ValueError: it is not OWNER/NAME or NAME.
    """
    if not _NAME.fullmatch(repository):
        raise ValueError(
            f"--push = {repository}: must be OWNER/NAME, or NAME for your own account, of letters, digits, '.', '_' "
            "and '-'"
        )


def push(directory: Path, repository: str, private: bool) -> str:
    """Upload a directory to a repository of the hub, which is created if it does not exist.

    The address of the hub and the token are those of huggingface_hub's own settings.

    Args:
        directory: an exported model.
        repository: OWNER/NAME, or NAME for the own account.
        private: whether a repository that is created is private.

    Returns:
        The address of the upload.

    Raises:
        ValueError: the upload failed, for want of a network or of permission, for example. The directory is not
            changed.
    """
    try:
        return upload(directory, repository, private)
    except Exception as error:  # errors of the network, of the hub and of the settings have no common type
        reason = (str(error).strip().splitlines() or [""])[0] or type(error).__name__
        raise ValueError(
            f"--push = {repository}: {directory} is complete, but was not uploaded ({reason}); check network and login "
            f"(hf auth login), and run: hf upload {repository} {directory}"
        ) from None


def upload(directory: Path, repository: str, private: bool) -> str:
    """Create the repository and upload the files of a directory; returns the address."""
    from huggingface_hub import HfApi

    hub = HfApi()
    created = hub.create_repo(repository, private=private, exist_ok=True)
    return str(hub.upload_folder(repo_id=created.repo_id, folder_path=directory, commit_message="Export"))
