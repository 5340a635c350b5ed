"""One account on Koofr, Digi Storage or a self-hosted host that speaks their interface.

Says the words of ``contract.StorageHost`` in the calls of ``koofr_api``. Every change can be repeated without harm:
a lost answer is told from a refusal by looking at what is there now. Must not know objects, versions or oaio servers.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import trio

from .. import errors
from . import koofr_api
from .address import server_url
from .bodies import Counted, Nothing, Upload, wanted_bytes
from .koofr_api import MISSING, NO_SUCH_CALL, TAKEN, KoofrApi, Record
from .paths import checked_path, is_storage_path, parent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from ..core.model import FileFact, FileSet, Quota, StorageAccount
    from .contract import Chunks, Source
    from .http import Answer, Surroundings

#: Where the hosts are, by the name of the driver that the oaio server speaks of.
BASE_URLS: Final[Mapping[str, str]] = {"Digi": "https://digistorage.es", "Koofr": "https://app.koofr.net"}

#: No limit is documented; rclone, the most used client, keeps to this many.
_TRANSFERS = 4
#: What a host answers that has no such call as copying.
_NO_COPY = (405, 501)
#: Entries of folders that are listed one by one: a host could go on making them up for ever.
_MOST_LISTED = 250_000
#: Up to this size a file is sent at a venture, before anything is known of its folder.
_SMALL = 64 * 1024


class KoofrHost:
    """``contract.StorageHost`` for *account*, whose arguments are ``root_folder``, ``email`` and ``password``.

    *base_url* wins over the account's own, which wins over the default of its driver. Raises ConfigError for an
    address that can't be used.
    """

    def __init__(
        self,
        account: StorageAccount,
        *,
        base_url: str | None = None,
        insecure: bool = False,
        surroundings: Surroundings | None = None,
    ) -> None:
        arguments = account.arguments
        url = base_url or arguments.get("base_url") or BASE_URLS.get(account.csh_id)
        if url is None:
            raise errors.ConfigError(f"The address of storage {account.csh_id} is not known: give it by --storage-url.")
        root = arguments.get("root_folder", "").strip("/")
        if root and not is_storage_path(root):
            raise errors.ConfigError(f"The root folder of storage {account.csh_id} is no folder's path.")
        self._root = f"/{root}" if root else ""
        self._api = KoofrApi(
            server_url(url, insecure), arguments.get("email", ""), arguments.get("password", ""), surroundings
        )
        self._transfers = trio.CapacityLimiter(_TRANSFERS)
        self._folder_lock = trio.Lock()
        self._changes = trio.CapacityLimiter(_TRANSFERS)  # of their own: a copy does not wait for large files
        self._can_copy = True
        #: Folders that were there when last seen, and when (counted in sights): saves requests, is wrong without harm
        #: (they answer "missing" then).
        self._seen_folders = {"": 0}
        self._sights = 0
        self._listings: list[Callable[[str], Any]] = [self._list_recursive, self._list_nested, self._list_by_folder]

    def __repr__(self) -> str:
        return f"<KoofrHost {self._api.host}>"

    # ---- the contract

    async def list_tree(self, folder: str) -> FileSet:
        top = self._absolute(folder) if folder else self._root
        for listing in tuple(self._listings):
            files: FileSet | None = await listing(top)
            if files is not None:
                return files
            record = await self._record(top)
            if record is None or not record.is_folder:
                raise errors.RemoteNotFound(f"There is no folder {folder} on {self._api.host}.")
            # The folder is there, so it's the call that is not: this host won't be asked that way again.
            if listing in self._listings and len(self._listings) > 1:
                self._listings.remove(listing)
        raise errors.Protocol(f"{self._api.host} can list folders in no known way: check the storage's base URL.")

    async def list_folders(self, folder: str) -> tuple[str, ...]:
        answer = await self._listing(self._absolute(folder) if folder else self._root, "list")
        if answer is None:
            raise errors.RemoteNotFound(f"There is no folder {folder} on {self._api.host}.")
        return await trio.to_thread.run_sync(koofr_api.read_folders, await answer.json())

    async def put(self, path: str, source: Source, size: int, mtime_ns: int) -> FileFact:
        target = self._absolute(path)
        folder = parent(target)
        upload = Upload(source, size, path, target.rpartition("/")[2])
        async with self._transfer():
            if size > _SMALL:
                await self._make_folder(folder)
            sights = self._sights
            answer = await self._send(upload, folder, mtime_ns)
            if answer.status == MISSING:
                await self._make_folder(folder, since=sights)
                answer = await self._send(upload, folder, mtime_ns)
        if answer.status in (MISSING, *TAKEN):
            # A try whose answer was lost may have stored it; then what is there is what was sent.
            record = await self._record(target)
            if record is None or record.is_folder or not upload.is_stored_as(record.fact):
                raise self._api.error(answer, f"store {path}")
            return record.fact
        self._saw(folder)
        fact = await self._stored_fact(answer, target)
        upload.check(fact, self._api.host)
        return fact

    def get(self, path: str, start: int = 0, length: int | None = None) -> AbstractAsyncContextManager[Chunks]:
        return self._get(path, start, length)

    async def copy(self, source: str, target: str, mtime_ns: int | None = None) -> None:
        source_path, target_path = self._absolute(source), self._absolute(target)
        wire: dict[str, Any] = {"toMountId": await self._api.mount_id(), "toPath": target_path}
        if mtime_ns is not None:
            wire["modified"] = _milliseconds(mtime_ns)
        if not self._can_copy:
            raise self._no_copy(source)
        async with self._one_of(self._changes):
            sights = self._sights
            answer = await self._copy(source_path, wire)
            if answer.status == MISSING and await self._record(source_path) is not None:
                await self._make_folder(parent(target_path), since=sights)
                answer = await self._copy(source_path, wire)
        if answer.status in _NO_COPY:
            self._can_copy = False
            raise self._no_copy(source)
        if answer.status == MISSING:
            raise errors.RemoteNotFound(f"There is no {source} on {self._api.host} to copy.")
        if answer.status in TAKEN:
            if await self._record(target_path) is None:
                raise self._api.error(answer, f"copy {source}")
            if answer.attempts == 1:
                raise errors.RemoteExists(f"{self._api.host} has a {target} already.")
            if not await self._same(source, target):
                raise errors.Corrupt(f"{self._api.host} may have copied {source} only in part: it is looked at again.")
        self._saw(target_path)

    async def remove(self, path: str) -> None:
        target = self._absolute(path)
        async with self._one_of(self._changes):
            await self._api.files("DELETE", "remove", f"remove {path}", path=target, accept=(MISSING,))
        gone = [folder for folder in self._seen_folders if f"{folder}/".startswith(f"{target}/")]
        for folder in gone:
            del self._seen_folders[folder]

    async def quota(self) -> Quota:
        return await self._api.quota()

    async def aclose(self) -> None:
        await self._api.aclose()

    # ---- reading

    @asynccontextmanager
    async def _get(self, path: str, start: int, length: int | None) -> AsyncIterator[Chunks]:
        target = self._absolute(path)
        if length == 0:
            # No range says "nothing"; but whether the file is there must be known all the same.
            if await self._record(target) is None:
                raise errors.RemoteNotFound(f"There is no {path} on {self._api.host}.")
            yield Counted(Nothing(), 0, 0, path)
            return
        headers = {} if start == 0 and length is None else {"Range": _range(start, length)}
        async with self._transfer(), self._api.content(target, f"read {path}", headers) as incoming:
            yield wanted_bytes(incoming, path, start, length)

    async def _record(self, path: str) -> Record | None:
        """What is at *path* (absolute) now, or None."""
        answer = await self._api.files("GET", "info", "look at a file", path=path or "/", accept=(MISSING,))
        return None if answer.status == MISSING else koofr_api.read_record(await answer.json())

    async def _same(self, one: str, other: str) -> bool:
        """Whether two files, or two folders with all below them, are surely the same."""
        records = [await self._record(self._absolute(path)) for path in (one, other)]
        if any(record is None for record in records):
            return False
        if not all(record is not None and record.is_folder for record in records):
            first, second = records
            return first is not None and second is not None and first.fact.same_content(second.fact)
        trees = [await self.list_tree(path) for path in (one, other)]
        return trees[0].keys() == trees[1].keys() and all(
            fact.same_content(trees[1][path]) for path, fact in trees[0].items()
        )

    # Each way to list answers None where the host does not know the call, or the folder.

    async def _list_recursive(self, top: str) -> FileSet | None:
        answer = await self._listing(top, "listrecursive", content=True)
        return None if answer is None else await _in_thread(koofr_api.read_listrecursive, answer.body)

    async def _list_nested(self, top: str) -> FileSet | None:
        answer = await self._listing(top, "tree")
        return None if answer is None else await _in_thread(koofr_api.read_tree, await answer.json())

    async def _list_by_folder(self, top: str) -> FileSet | None:
        entries: list[tuple[str, object]] = []
        pending = [""]
        while pending:
            folder = pending.pop()
            answer = await self._listing(f"{top}/{folder}".rstrip("/"), "list")
            if answer is None and not folder:
                return None
            content = await answer.json() if answer is not None else None
            children = content.get("files") if isinstance(content, dict) else None
            if not isinstance(children, list):
                raise errors.ServerFault(f"{self._api.host} did not list all of a folder: try again later.")
            for path, child in koofr_api.named_entries(folder, children):
                entries.append((path, child))
                if koofr_api.read_record(child).is_folder and is_storage_path(path):
                    pending.append(path)
            if len(entries) > _MOST_LISTED:
                raise errors.Protocol(f"{self._api.host} lists more than {_MOST_LISTED} files in one object.")
        return koofr_api.usable_files(entries)

    async def _listing(self, path: str, call: str, content: bool = False) -> Answer | None:
        answer = await self._api.files(
            "GET", call, "list a folder", path=path or "/", content=content, accept=NO_SUCH_CALL
        )
        return None if answer.status in NO_SUCH_CALL else answer

    # ---- writing

    async def _send(self, upload: Upload, folder: str, mtime_ns: int) -> Answer:
        params = {
            "filename": upload.name,
            "info": "true",
            "overwrite": "true",
            "autorename": "false",
            "overwriteIgnoreNonexisting": "",
            "modified": str(_milliseconds(mtime_ns)),
        }
        what = f"store {upload.path}"

        async def arrived() -> Answer | None:
            """A file is not sent again for a lost answer."""
            if not upload.sent:
                return None
            try:
                path = f"{folder}/{upload.name}"
                answer = await self._api.files("GET", "info", what, path=path, accept=(MISSING,))
            except errors.Unreachable:
                raise
            except errors.RemoteError:
                return None
            stored = answer.status != MISSING and upload.is_stored_as(koofr_api.read_record(await answer.json()).fact)
            return answer if stored else None

        return await self._api.files(
            "POST", "put", what, path=folder or "/", content=True, params=params, body=upload.body(arrived),
            accept=(MISSING, *TAKEN),
        )  # fmt: skip

    async def _stored_fact(self, answer: Answer, target: str) -> FileFact:
        content = await answer.json()
        # Without 2.1 some hosts answer a list of names, whatever was asked for.
        record = koofr_api.read_record(content) if isinstance(content, dict) else await self._record(target)
        if record is None or record.is_folder:
            raise errors.Protocol(f"{self._api.host} stored a file but shows none.")
        return record.fact

    async def _copy(self, source: str, wire: Mapping[str, Any]) -> Answer:
        accept = (MISSING, *TAKEN, *_NO_COPY)
        return await self._api.files("PUT", "copy", "copy", path=source, json=wire, accept=accept)

    def _no_copy(self, source: str) -> errors.Unsupported:
        return errors.Unsupported(f"{self._api.host} can't copy {source} by itself.")

    async def _make_folder(self, folder: str, *, since: int | None = None) -> None:
        """Make *folder* (absolute) and those above it, where not seen; with *since* only what was seen after counts.

        One task at a time: hosts refuse some of several concurrent creations of one folder. Who waited finds it seen.
        """
        async with self._folder_lock:
            if since is not None:
                self._seen_folders = {
                    path: seen for path, seen in self._seen_folders.items() if seen > since or not path
                }
            missing = [folder]
            while missing:
                target = missing[-1]
                if target in self._seen_folders or await self._folder_made(target):
                    self._saw(target)
                    missing.pop()
                else:
                    missing.append(parent(target))

    def _saw(self, folder: str) -> None:
        self._sights += 1
        self._seen_folders[folder] = self._sights

    async def _folder_made(self, folder: str) -> bool:
        """Make one folder; False when the one above it is missing."""
        above, _, name = folder.rpartition("/")
        answer = await self._api.files(
            "POST", "folder", "make a folder", path=above or "/", json={"name": name}, accept=(MISSING, *TAKEN)
        )
        if answer.status == MISSING and above not in self._seen_folders:
            return False
        if answer.status in (MISSING, *TAKEN):
            record = await self._record(folder)
            if record is None or not record.is_folder:
                raise self._api.error(answer, "make a folder")
        return True

    # ---- small things

    def _absolute(self, path: str) -> str:
        """*path* as the host names it. Raises InvalidName."""
        return f"{self._root}/{checked_path(path)}"

    def _transfer(self) -> AbstractAsyncContextManager[None]:
        return self._one_of(self._transfers)

    @asynccontextmanager
    async def _one_of(self, limiter: trio.CapacityLimiter) -> AsyncIterator[None]:
        # On behalf of the call and not of the task, which may read two files at a time.
        call = object()
        await limiter.acquire_on_behalf_of(call)
        try:
            yield
        finally:
            limiter.release_on_behalf_of(call)


async def _in_thread(read: Callable[[Any], dict[str, FileFact]], raw: object) -> dict[str, FileFact]:
    return await trio.to_thread.run_sync(read, raw)


def _range(start: int, length: int | None) -> str:
    return f"bytes={start}-" if length is None else f"bytes={start}-{start + length - 1}"


def _milliseconds(mtime_ns: int) -> int:
    return max(0, mtime_ns // 1_000_000)
