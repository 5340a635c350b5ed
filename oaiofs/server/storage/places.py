"""The accounts' files, and which folders of them the oaio server hands out.

Must not know who is asking or what they may.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import defaultdict
from collections.abc import Iterable

from django.conf import settings

from ..models import StorageAccount, StorageHost
from ..site import DataDir
from . import paths
from .disk import StorageError
from .index import Index
from .tree import Shared, Tree

_shared: dict[int, Shared] = {}
_shared_lock = threading.Lock()


def tree_of(account: StorageAccount) -> Tree:
    """The files of *account*."""
    place = DataDir(settings.OAIO_DATA)
    with _shared_lock:
        shared = _shared.setdefault(account.pk, Shared())
    root = os.path.join(place.storage, account.directory)
    return Tree(root, place.spool, Index(account.pk), shared, account.quota)


def roots_of(account: StorageAccount) -> tuple[paths.Parts, ...]:
    """The root folders in which *account* has objects."""
    return _parsed(StorageHost.objects.filter(base_url="", email=account.email).values_list("root_folder", flat=True))


def is_stored(name: str) -> bool:
    """Whether there is a file or folder *name*, in any case, in a root folder of any account."""
    try:
        checked = paths.checked_name(name)
    except paths.BadPath:
        return False
    folders = defaultdict(set)
    for email, folder in StorageHost.objects.filter(base_url="").values_list("email", "root_folder"):
        folders[email].add(folder)
    accounts = StorageAccount.objects.filter(email__in=folders)
    return any(_has(tree_of(one), (*root, checked)) for one in accounts for root in _parsed(folders[one.email]))


def _parsed(folders: Iterable[str]) -> tuple[paths.Parts, ...]:
    """These root folders, but those that no path leads to."""
    roots = set()
    for folder in folders:
        with contextlib.suppress(paths.BadPath):
            roots.add(paths.parse(folder))
    return tuple(roots)


def _has(tree: Tree, path: paths.Parts) -> bool:
    try:
        tree.info(path)
    except StorageError as error:
        return error.code != "NotFound"
    return True
