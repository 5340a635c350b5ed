"""Which folder of this machine's user an object's files are from, where the user has said so here (``_root_path``).

A value that came from elsewhere says nothing about that: it could name any folder, to have its files sent. Must not
know what the folder is, nor whether it is there.
"""

from __future__ import annotations

from ..core.model import ROOT_PATH_KEY, Values
from .records import ObjectRecord
from .store import Store


def choose(store: Store, key: int, values: Values) -> None:
    """The ``_root_path`` among *values*, if there is one, is the user's word for the object *key*."""
    root_path = values.get(ROOT_PATH_KEY)
    if isinstance(root_path, str):
        store.state.set_meta(f"root_path {key}", root_path)


def is_chosen(store: Store, record: ObjectRecord) -> bool:
    """Whether the object's ``_root_path`` was chosen here."""
    return store.state.meta(f"root_path {record.key}") == record.values.get(ROOT_PATH_KEY)
