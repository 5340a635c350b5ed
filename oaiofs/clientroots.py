"""Where a client root is, and where it must not be: it may hold the only copy of an edit.

Must not know what is in it.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
from pathlib import Path

import platformdirs

from . import errors

_UNSAFE = re.compile(r"[^A-Za-z0-9.@_-]+")
_CACHE_SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55"


def default(user: str, server: str) -> Path:
    """One folder per account, named so that a person knows whose it is."""
    plain = f"{user}@{server.partition('://')[2]}"
    safe = _UNSAFE.sub("_", plain).lstrip(".")[:100]
    if safe != plain:
        safe += "-" + hashlib.sha256(f"{user}\0{server}".encode()).hexdigest()[:8]
    return platformdirs.user_data_path("oaiofs") / safe


def default_device_id() -> str:
    """This machine's name as the servers get it, where the user gives no other."""
    return _UNSAFE.sub("_", socket.gethostname().partition(".")[0]) or "device"


def check_apart(mountpoint: Path, client_root: Path) -> None:
    """Raises ConfigError when one of the two is in the other."""
    real = Path(os.path.realpath(mountpoint.parent), mountpoint.name)
    root = Path(os.path.realpath(client_root.parent), client_root.name)
    if root.is_relative_to(real) or real.is_relative_to(root):
        raise errors.ConfigError(
            f"The client root {client_root} and the mountpoint {mountpoint} must not be one in the other: choose "
            "another --client-root."
        )


def check_not_foreign(client_root: Path) -> None:
    """Raises ConfigError for a folder that the existing client keeps its objects in."""
    if (client_root / "objz").is_dir():
        raise errors.ConfigError(
            f"{client_root} is kept by the existing client: choose another client root; `oaiofs import {client_root}` "
            "takes its objects over."
        )


def check_no_cache(client_root: Path) -> None:
    """What is not on the servers yet does not live where cleaners take everything for made anew at need.

    The temporary folders are the user's own choice: they say by their name what becomes of them. Raises ConfigError.
    """
    real = Path(os.path.realpath(client_root))
    caches = Path(os.path.realpath(platformdirs.user_cache_path()))
    marked = next((folder for folder in (real, *real.parents) if _is_marked_as_cache(folder)), None)
    if real.is_relative_to(caches) or marked is not None:
        raise errors.ConfigError(
            f"The client root {client_root} would be in a cache folder ({marked or caches}), which cleaners empty, "
            "and with it changes that are not on the servers yet: choose another --client-root."
        )


def _is_marked_as_cache(folder: Path) -> bool:
    """Whether the folder has a CACHEDIR.TAG, as https://bford.info/cachedir/ has it."""
    try:
        with open(folder / "CACHEDIR.TAG", "rb") as tag:
            return tag.read(len(_CACHE_SIGNATURE)) == _CACHE_SIGNATURE
    except OSError:
        return False
