"""The remedies that ``check`` names, carried out.

Nothing that may be an edit is deleted: what is on the disk is believed, as after a crash (``recover``, ``rebuild``).
Must not know the mount, nor the servers.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from . import objects, parked, rebuild, records, versions
from .check import Problem, Remedy, is_key_path
from .recover import compare
from .state import PRIVATE
from .store import Store
from .workdir import OBJECTS

#: In this order: rows first, then what is compared with them.
_OF_OBJECTS = (Remedy.FORGET, Remedy.REMAKE, Remedy.COMPARE, Remedy.RESEND)


def repair(store: Store, problems: Iterable[Problem], *, in_use: bool) -> None:
    """Mend what can be mended; looking again tells what remains. *in_use*: programs may have files open."""
    found = list(problems)
    remedies = {one.remedy for one in found}
    if Remedy.CLOSE in remedies:
        _close_to_others(store)
    if Remedy.TIDY in remedies:
        _tidy(store, in_use=in_use)
    for one in found:
        if one.remedy is Remedy.TAKE_IN:
            rebuild.take_in(store, one.where.removeprefix(f"{OBJECTS}/"), compare)
    for remedy in _OF_OBJECTS:
        for key in sorted({one.key for one in found if one.remedy is remedy and one.key is not None}):
            if not (in_use and _being_written(store, key)):
                _mend_object(store, key, remedy)


def _being_written(store: Store, key: int) -> bool:
    """Whoever writes just now has an inode that must not be taken from under them: next time."""
    return any(store.writers[node.ino] for node in records.nodes_of(store.db, key))


def _mend_object(store: Store, key: int, remedy: Remedy) -> None:
    head = store.heads.get(key)
    if remedy is Remedy.FORGET:
        _forget(store, key)
    elif remedy is Remedy.RESEND:
        _resend(store, key)
    elif head is not None and remedy is Remedy.REMAKE:
        rebuild.remake(store, head, compare)
    elif head is not None:
        compare(store, head)


def _close_to_others(store: Store) -> None:
    os.chmod(store.files.root, 0o700)
    for name in PRIVATE:
        if store.files.exists(name):
            os.chmod(store.files.absolute(name), 0o600)


def _tidy(store: Store, *, in_use: bool) -> None:
    objects.run_intents(store)
    versions.clear(store.files.root)
    if not in_use:
        moving = [source for _, source, _, _ in records.intents(store.db)]
        store.files.clear_staging(keep=[*parked.places(store), *moving])
    rebuild.keep_detached(store)
    rebuild.reserve_numbers(store)
    store.skip_inos()


def _forget(store: Store, key: int) -> None:
    """Records about something that is not there."""
    with store.state.transaction():
        for node in records.nodes_of(store.db, key):
            if node.parent == records.DISPLACED and not store.files.exists(store.work_path(node)):
                store.delete_node(node.ino)
        for one in records.conflicts(store.db, key):
            if one.kind == "value" and not is_key_path(one.path):
                records.delete_conflict(store.db, one.id)


def _resend(store: Store, key: int) -> None:
    """What is settled is in doubt: a change more, and the next push finds out what differs."""
    record, base = store.record(key), store.base_files(key)
    with store.state.transaction():
        for path, node in store.attached(key).items():
            if node.local and node.fact != base.get(path):
                store.update_node(node.ino, dirty=1)
        store.update_object(key, local_seq=max(record.local_seq, record.settled_seq))
        store.touch(key)
