"""What an object has on this machine, learnt anew where programs changed it. Must not know the outside."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import trio

from ..cache import apply, records
from ..cache.records import Kind, Node, ObjectRecord
from ..cache.store import Store
from ..cache.workdir import md5_of_open
from ..core.model import FileFact, FileSet
from ..errors import Stale

_NOT_KNOWN = FileFact(-1, "")  # a file in the middle of being written is like no other


_SLICE = 200  # rows read without letting others have their turn: about a millisecond
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment of an object: its record, its attached files by path, and those of the agreed version."""

    record: ObjectRecord
    nodes: Mapping[str, Node]
    base: FileSet


class Local:
    """One store's working copies. A writer is waited for at most *longest_quiet* seconds after its last write."""

    def __init__(self, store: Store, longest_quiet: float) -> None:
        self.store = store
        self._longest_quiet = longest_quiet

    async def moment(self, key: int) -> Moment:
        """What the object has, read in slices: programs are served meanwhile, however many files it has.

        Where they change it over and over, it is read at one go in the end.
        """
        for _ in range(_TRIES):
            record = self.store.record(key)
            seen = Moment(record, await self._attached(key), await self._base_files(key))
            now = self.store.record(key)
            if (now.local_seq, now.base_stamp) == (record.local_seq, record.base_stamp):
                return replace(seen, record=now)
        return Moment(self.store.record(key), self.store.attached(key), self.store.base_files(key))

    async def _attached(self, key: int) -> dict[str, Node]:
        nodes: list[Node] = []
        while part := records.nodes_of(self.store.db, key, after=nodes[-1].ino if nodes else 0, most=_SLICE):
            nodes += part
            await trio.lowlevel.checkpoint()
        attached = {}
        for number, (path, node) in enumerate(self.store.walk(key, nodes)):
            if self.store.is_attached(node, path):
                attached[path] = node
            if number % _SLICE == 0:
                await trio.lowlevel.checkpoint()
        return attached

    async def _base_files(self, key: int) -> dict[str, FileFact]:
        files: dict[str, FileFact] = {}
        last = ""
        while part := records.base_files(self.store.db, key, after=last, most=_SLICE):
            files |= part
            last = next(reversed(part))
            await trio.lowlevel.checkpoint()
        return files

    async def places(self, nodes: Iterable[Node]) -> list[str]:
        """Absolute paths of the bytes of those that are here, by their names now."""
        places = []
        for number, seen in enumerate(nodes):
            node = self.store.find_node(seen.ino)
            if node is not None and node.local:
                places.append(self.store.absolute(node))
            if number % _SLICE == 0:
                await trio.lowlevel.checkpoint()
        return places

    async def hash_changed(self, key: int) -> None:
        """Learn the content of every changed file that nobody is writing just now."""
        last = 0
        while dirty := records.nodes_of(self.store.db, key, after=last, most=_SLICE, dirty=True):
            last = dirty[-1].ino
            for ino in [node.ino for node in dirty if self._is_attached(node)]:
                await self._hash(ino)
            await trio.lowlevel.checkpoint()

    async def _hash(self, ino: int) -> None:
        node = self.store.find_node(ino)  # looked at anew: others were renamed while the last one was read
        if node is None or not node.dirty or not node.local or self._being_written(ino):
            return
        writes = self.store.writes[ino]
        self.store.marked.discard(ino)  # a write from now on is noted anew
        try:
            # Opened before anything can happen: its name may be another file's by the time that a thread is free.
            descriptor = os.open(self.store.absolute(node), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except (FileNotFoundError, Stale):
            return  # removed, alone or with its object: seen at the next look
        try:
            status = os.fstat(descriptor)
            md5 = await trio.to_thread.run_sync(md5_of_open, descriptor)
        finally:
            os.close(descriptor)
        apply.hashed(self.store, ino, writes, status.st_size, md5, status.st_mtime_ns)

    def _is_attached(self, node: Node) -> bool:
        return self.store.is_attached(node, self.store.path_in_object(node))

    def _being_written(self, ino: int) -> bool:
        """Whether a program has written and neither closed nor synced, nor paused for long: a part may be missing."""
        last = self.store.changes.contents.get(ino, 0.0)
        return self.store.unflushed[ino] > 0 and self.store.steady_clock() - last < self._longest_quiet

    def facts(self, key: int) -> dict[str, FileFact]:
        """What is here, editors' own files too, for a merge: those being written count as changed."""
        facts = {}
        for path, node in self.store.walk(key):
            if node.kind is not Kind.DIRECTORY and not self.store.is_sidecar(node):
                facts[path] = _NOT_KNOWN if node.dirty or node.kind is Kind.LINK else node.fact
        return facts
