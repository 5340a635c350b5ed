"""What the storage hosts have of an object's versions: the one that is announced, and those that it came from.

Must not know the oaio server, nor what is made of it here.
"""

from __future__ import annotations

from ..cache import records
from ..cache.records import ObjectRecord
from ..cache.store import Store
from ..core import names
from ..core.model import FileSet, RemoteObject, Version
from ..errors import RemoteError, RemoteNotFound
from ..remote.contract import OpenHost


class Versions:
    """The versions of one store's objects."""

    def __init__(self, store: Store, open_host: OpenHost) -> None:
        self.store = store
        self._open_host = open_host

    async def files_of(self, remote: RemoteObject) -> FileSet:
        """The attached files of an announced version, as the storage host has them; RemoteError if it lacks any."""
        if not remote.file_paths:
            return {}
        host = await self._open_host(remote.csh_id)
        shown = names.safe_name(remote.oaio_id)[:80]
        missing = f"version {remote.stamp} of {shown} is announced, but the storage host "
        try:
            listed = await host.list_tree(f"{remote.oaio_id}/{remote.stamp}")
        except RemoteNotFound:
            raise RemoteError(missing + "does not have it") from None
        lacking = [path for path in remote.file_paths if path not in listed]
        if lacking:
            raise RemoteError(f"{missing}lacks {len(lacking)} of its files, {lacking[0][:80]!r} for one")
        return {path: listed[path] for path in remote.file_paths}

    async def stored_base(self, record: ObjectRecord) -> FileSet:
        """The files of the version that a rebuilt object was last agreed in; {} where no host has it any more."""
        if record.base_stamp is None or record.oaio_id is None:
            return {}
        host = await self._open_host(record.csh_id)
        try:
            return await host.list_tree(f"{record.oaio_id}/{record.base_stamp}")
        except RemoteNotFound:
            return {}

    def take_base(self, key: int, stored: FileSet) -> None:
        """Of the version's files only those that are here tell something: the others may never have been downloaded.

        But those that the rows have as agreed although nothing else is known: they were removed (``cache.takeover``).
        """
        base = {path: stored[path] for path in self.store.base_files(key) if path in stored}
        for path, node in self.store.attached(key).items():
            fact = stored.get(path)
            if fact is not None:
                here = node.fact
                unhashed = not fact.md5 and not node.dirty and here.size == fact.size
                as_stored = unhashed and here.mtime_ns // 1_000_000 == fact.mtime_ns // 1_000_000
                base[path] = here if as_stored else fact
        records.set_base_files(self.store.db, key, base)

    async def ancestor(self, record: ObjectRecord, remote: RemoteObject) -> Version | None:
        """What *remote* was made from, of what is known here, if that is not just the last agreed version.

        Existing clients send what they have without a look at what they replace: then it is the newest of those agreed
        before. What two devices made of such a version is what the next one of either was made from.
        """
        if record.base_stamp in remote.lineage:
            restored = record.restored
            return restored if restored and restored.stamp in remote.lineage else None
        known = records.ancestors(self.store.db, record.key)
        stamp = next((one for one in remote.lineage if one in known), None)
        if stamp is None:
            return None
        values, files = known[stamp]
        try:
            host = await self._open_host(record.csh_id)
            listed = await host.list_tree(f"{record.oaio_id}/{stamp}") if files else {}
        except RemoteNotFound:
            return None  # somebody has cleared old versions away
        return Version(stamp, values, listed) if len(listed) == files else None
