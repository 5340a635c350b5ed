"""What was made of two edits of one text file, on its way into the tree.

Must not know how it was made or where the other edit came from.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from ..core.model import FileFact, FileSet
from . import objects, records
from .records import Node
from .store import Store


@dataclass(frozen=True, slots=True)
class MergedText:
    """The content *fact*, durable in the client root at *staged*.

    True only while inode *ino* has the content *mine* here, the version that comes in has *theirs*, and *base* is the
    content that both come from.
    """

    ino: int
    base: FileFact
    mine: FileFact
    theirs: FileFact
    fact: FileFact
    staged: str


def still_true(
    store: Store, texts: Mapping[str, MergedText], nodes: Mapping[str, Node], base: FileSet, files: FileSet
) -> dict[str, MergedText]:
    """Those of the *texts*, by path, that are true even now, with nobody about to write the file."""
    return {
        path: text
        for path, text in texts.items()
        if (node := nodes.get(path)) is not None
        and node.ino == text.ino
        and not node.dirty
        and not store.writers[node.ino]
        and text.mine.same_content(node.fact)
        and text.base.same_content(base.get(path))
        and text.theirs.same_content(files.get(path))
    }


def move_in(store: Store, text: MergedText, node: Node) -> None:
    """Give the new *node* its bytes, as part of the running transaction."""
    os.chmod(store.files.absolute(text.staged), node.mode | 0o600)
    objects.move_later(store, text.staged, store.work_path(node), store.files.inode(text.staged) or 0)


def discard(store: Store, texts: Mapping[str, MergedText]) -> None:
    """Remove what is staged and not on its way into the tree."""
    moving = {source for _, source, _, _ in records.intents(store.db)}
    for text in texts.values():
        if text.staged not in moving:
            store.files.remove(text.staged)
