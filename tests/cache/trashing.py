"""One client root's trash, for the tests of what gets there and back."""

from __future__ import annotations

from pathlib import Path

from oaiofs.cache import records, restore, trash, tree
from oaiofs.cache.restore import Maker, Restored
from oaiofs.cache.store import Head
from oaiofs.cache.trash import Entry
from tests.cache.conftest import Root, remote_object

LATER = "20260202000000000000"
MAKER = Maker("alice", "one", "oaiofs", "Digi")


def entries(root: Root) -> list[Entry]:
    return [one for one in trash.entries(root.store.files.root) if not trash.is_stale(root.store, one)]


def come_back(root: Root, entry: Entry) -> Restored:
    files = trash.files_below(str(root.path / "trash" / entry.key))
    return restore.restore(root.store, entry, files, MAKER)


def contents(root: Root, name: str) -> dict[str, bytes | None]:
    """Path -> bytes of what the mount shows in an object but for its sidecar; None for a placeholder."""
    head = root.store.by_name[name]
    nodes = root.store.attached(head.key)
    shown = {p: Path(root.store.absolute(node)).read_bytes() if node.local else None for p, node in nodes.items()}
    on_disk = {path for path in root.on_disk(head) if (root.path / "objects" / head.folder / path).is_file()}
    assert on_disk == {path for path, data in shown.items() if data is not None}, "rows and disk agree"
    return shown


def rm_r(root: Root, head: Head) -> None:
    for _, node in list(root.store.walk(head.key)):
        if node.kind is records.Kind.FILE:
            tree.unlink(root.store, root.store.node(node.ino))
    for _, node in sorted(root.store.walk(head.key), reverse=True):
        tree.remove_folder(root.store, root.store.node(node.ino))
    trash.remove(root.store, head)


BOTH = {"a.txt": b"first", "d/b.txt": b"second"}


def dropping(root: Root, head: Head) -> None:
    """A version from elsewhere that removes a.txt."""
    files = {"d/b.txt": root.store.base_files(head.key)["d/b.txt"]}
    root.pull(head, remote_object({"_name": "Notes"}, files, LATER), files)


def leaving(root: Root, head: Head) -> None:
    trash.leave(root.store, root.store.record(head.key), "no longer on the server")
