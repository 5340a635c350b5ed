"""Ending a conflict as its user decides: this side, the other one, or both.

*Mine* is what lost: the conflict copy, whoever made it, or the value that this device had; *theirs* is what has the
name or the place now. Whatever is taken out of sight is on the storage host in an older version, or goes to the trash:
nothing that only this machine has is destroyed. Each resolution is an ordinary local change that the next version
carries to every other device. Must not know who asked.
"""

from __future__ import annotations

import enum
from typing import Any

from ..core import conflicts as names_of
from ..core.keypaths import key_text
from ..core.merge import MISSING, same
from ..core.model import Values
from ..errors import AccessDenied, UsageError
from . import conflicts, objects, trash, tree
from .conflicts import Conflict, FileConflict, ValueConflict
from .records import Kind, Node
from .store import ROOT_INO, Store


class Keep(enum.Enum):
    MINE = "mine"
    THEIRS = "theirs"
    BOTH = "both"


#: Names that mean something else now, as (parent inode, name).
Names = frozenset[tuple[int, str]]


def check(store: Store, conflict: Conflict, keep: Keep) -> None:
    """Raises AccessDenied where the object may only be read, UsageError where *keep* can't be for this conflict."""
    head = store.heads[conflict.object]
    if not head.right.may_update and not (isinstance(conflict, ValueConflict) and keep is Keep.THEIRS):
        raise AccessDenied(f"you may only read {head.name}: its owner can give you right U")
    if isinstance(conflict, ValueConflict):
        if keep is not Keep.THEIRS:
            _decided(store.record(conflict.object).values, conflict, keep)
    elif keep is Keep.MINE:
        _check_replacing(store, conflict)


def _check_replacing(store: Store, conflict: FileConflict) -> None:
    parent, name = conflict.node.parent, _last(conflict.path)
    head = store.heads[conflict.object]
    if parent == head.ino and name == head.sidecar:
        raise UsageError(f"{name} shows the object's values by now: keep both, or rename {conflict.copy_path}.")
    standing = store.child(parent, name)
    folders = Kind.DIRECTORY in (conflict.node.kind, *([standing.kind] if standing is not None else []))
    if standing is not None and folders:
        kind = "folder" if standing.kind is Kind.DIRECTORY else "file"
        raise UsageError(
            f"{conflict.path} is a {kind} by now, which {conflict.copy_path} can't replace: keep both, or rename one."
        )


def resolve(store: Store, conflict: Conflict, keep: Keep) -> Names:
    """End the conflict, after ``check`` had nothing against it; the names that mean something else now.

    A file is replaced in one step, as by a rename; programs that have it open keep what they opened.
    """
    if isinstance(conflict, ValueConflict):
        return _resolve_value(store, conflict, keep)
    parent = conflict.node.parent
    if keep is Keep.THEIRS:
        return _remove(store, conflict.node)
    if keep is Keep.MINE:
        name = _last(conflict.path)
        standing = store.child(parent, name)
        if standing is not None:
            _keep_only_copy(store, standing)
    else:
        name = names_of.plain_name(conflict.copy, {node.name for node in store.children(parent)})
    tree.rename(store, conflict.node, parent, name)
    return frozenset({(parent, conflict.node.name), (parent, name)})


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def _remove(store: Store, node: Node) -> Names:
    """Remove a file, or a folder with all that is in it."""
    changed = {(node.parent, node.name)}
    if node.kind is Kind.DIRECTORY:
        for below in store.children(node.ino):
            changed |= _remove(store, below)
        tree.remove_folder(store, node)
    else:
        _keep_only_copy(store, node)
        tree.unlink(store, node)
    return frozenset(changed)


def _keep_only_copy(store: Store, node: Node) -> None:
    """Put the bytes of a file that is about to lose its name into the trash, unless the agreed version has them."""
    if node.kind is not Kind.FILE or not node.local:
        return
    stored = store.base_files(node.object).values()
    if not node.dirty and any(node.fact.same_content(fact) for fact in stored):
        return
    trash.keep_replaced(store, node)


def _resolve_value(store: Store, conflict: ValueConflict, keep: Keep) -> Names:
    head, record = store.heads[conflict.object], store.record(conflict.object)
    values = record.values if keep is Keep.THEIRS else _decided(record.values, conflict, keep)
    changed = set()
    with store.state.transaction():
        if not same(values, record.values) and objects.set_values(store, head.key, values):
            changed.add((head.ino, head.sidecar))
        conflicts.end_value(store, conflict, values)
    objects.run_intents(store)
    now = store.heads[conflict.object]
    if now.name != head.name:
        changed |= {(ROOT_INO, head.name), (ROOT_INO, now.name)}
    return frozenset(changed)


def _decided(values: Values, conflict: ValueConflict, keep: Keep) -> dict[str, Any]:
    """The object's values with mine, or both, at the conflict's place. Raises UsageError where that can't be."""
    wanted = conflict.mine
    if keep is Keep.BOTH:
        joined = names_of.joined(conflict.mine, names_of.value_at(values, conflict.keys))
        if joined is None:
            raise UsageError(
                f"{key_text(conflict.keys)} holds one value, and only two lists can be joined: keep mine or "
                "theirs, or write what you want into values.json."
            )
        wanted = joined
    if wanted is MISSING and names_of.value_at(values, conflict.keys) is MISSING:
        return dict(values)
    return names_of.with_value(values, conflict.keys, wanted)
