"""Fixtures of the local side's tests: client roots on clocks that only the test turns."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oaiofs.cache import apply, objects, records, tree
from oaiofs.cache.records import Kind, Node
from oaiofs.cache.recover import recover
from oaiofs.cache.store import Head, Store
from oaiofs.cache.texts import MergedText
from oaiofs.core.model import FileFact, OaioId, RemoteObject, Right, Stamp, Values
from tests.devicekit import problems


class Root:
    """One client root; its store can be closed and opened again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.steady = 0.0
        self.wall = 1_780_000_000.0
        self.wrong_on_purpose = ""  # why the client root is not checked at the end
        self.store = self._open()

    def _open(self) -> Store:
        return Store(self.path, wall_clock=lambda: self.wall, steady_clock=lambda: self.steady)

    def reopen(self, *, clean: bool = False) -> Store:
        """End the process, as a kill does or in order, and begin the next one."""
        self.store.close(clean=clean)
        self.store = self._open()
        recover(self.store)
        return self.store

    def object(self, name: str = "Notes") -> Head:
        return objects.create(
            self.store, name, csh_id="Digi", username="alice", device_id="one", app_id="oaiofs"
        )  # fmt: skip

    def file(self, parent: int, name: str, data: bytes = b"") -> Node:
        """A new file, written and closed."""
        node, descriptor = tree.create_file(self.store, parent, name, 0o644)
        os.write(descriptor, data)
        os.close(descriptor)
        return self.store.node(node.ino)

    def write(self, node: Node, data: bytes) -> None:
        """Write a file whole, as the mount does: the rows know first."""
        tree.mark_written(self.store, node)
        Path(self.store.absolute(node)).write_bytes(data)

    def content(self, head: Head, path: str) -> bytes:
        return (self.path / "objects" / head.folder / path).read_bytes()

    def on_disk(self, head: Head) -> set[str]:
        folder = self.path / "objects" / head.folder
        return {str(path.relative_to(folder)) for path in folder.rglob("*")} - {head.sidecar}

    def hash_all(self, key: int) -> dict[str, FileFact]:
        """Learn the contents of all local files, as a push does first."""
        for node in self.store.attached(key).values():
            if node.local:
                self.store.marked.discard(node.ino)
                path = Path(self.store.absolute(node))
                md5 = hashlib.md5(path.read_bytes()).hexdigest()
                status = path.stat()
                writes = self.store.writes[node.ino]
                assert apply.hashed(self.store, node.ino, writes, status.st_size, md5, status.st_mtime_ns)
        return {path: node.fact for path, node in self.store.attached(key).items()}

    def agree(self, head: Head, stamp: str = "20260101000000000000") -> RemoteObject:
        """What is here now becomes the version last agreed with the server."""
        store = self.store
        files = self.hash_all(head.key)
        record = store.record(head.key)
        remote = remote_object(dict(record.values), files, stamp)
        store.update_object(
            head.key, oaio_id=remote.oaio_id, base_stamp=remote.stamp, base_values=dict(record.values),
            settled_seq=record.local_seq, pending_since=None,
        )  # fmt: skip
        records.set_base_files(store.db, head.key, files)
        store.settled(head.key)
        return remote

    def pull(
        self,
        head: Head,
        remote: RemoteObject,
        files: dict[str, FileFact],
        merged_texts: dict[str, MergedText] | None = None,
    ) -> apply.Applied:
        """Take over a remote version, with what is here hashed."""
        self.hash_all(head.key)
        local = {  # editors' own files too, as an arriving one may want their names
            path: FileFact(-1, "") if node.dirty else node.fact
            for path, node in self.store.walk(head.key)
            if node.kind is not Kind.DIRECTORY and not self.store.is_sidecar(node)
        }
        return apply.remote_version(self.store, head.key, remote, files, local, "one", merged_texts=merged_texts)


def remote_object(values: Values, files: dict[str, FileFact], stamp: str) -> RemoteObject:
    return RemoteObject(OaioId("oaio Notes"), Stamp(stamp), values, tuple(files), Right.CREATE, "Digi", "alice", "two")


def fact(data: bytes) -> FileFact:
    """What a storage host tells of a file."""
    return FileFact(len(data), hashlib.md5(data).hexdigest(), 1_770_000_000_000_000_000)


@pytest.fixture
def make_root(tmp_path: Path) -> Iterator[Callable[[str], Root]]:
    made: list[Root] = []

    def make(name: str) -> Root:
        made.append(Root(tmp_path / name))
        return made[-1]

    yield make
    try:
        for root in made:
            assert root.wrong_on_purpose or problems(root.store) == []
    finally:
        for root in made:
            root.store.close(clean=True)


@pytest.fixture
def root(make_root: Callable[[str], Root]) -> Root:
    return make_root("root")


@pytest.fixture
def head(root: Root) -> Head:
    """An object with two agreed files, one of them in a folder."""
    made = root.object()
    root.file(made.ino, "a.txt", b"first")
    folder = tree.make_folder(root.store, made.ino, "d", 0o755)
    root.file(folder.ino, "b.txt", b"second")
    root.agree(made)
    return made
