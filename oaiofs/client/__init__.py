"""The library door: what ``ae.oaio_client.OaioClient`` offers, trio-async, over the cache and the sync of the mount.

    async with OaioClient("oaio.example.org", {"username": "alice", "password": "…"}) as client:
        note = await client.register_object({"_name": "note", "text": "hello"})
        await client.update_object(note.oaio_id, {"text": "hello all"})
        await client.upsert_subscription(note.oaio_id, "bob", "r")

Each method means what the one of that name means there (facts: version 0.3.19), but errors are raised, as
``oaiofs.errors``, instead of being collected in a text. Being offline is none: what is made or changed is kept here,
survives a kill and a power cut, and goes to the servers with the next synchronization. Nothing travels but in a call.
Must not know FUSE, HTTP, or how rows and files are changed (``cache.whole``).
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import trio

from .. import clientroots, rootpaths, session
from ..cache import rootchoice, trash
from ..cache.records import ObjectRecord
from ..cache.recover import recover
from ..cache.store import Store
from ..core import dialect, names
from ..core.model import FILES_KEY, OLDEST_STAMP, ROOT_PATH_KEY, OaioId, Right
from ..errors import (
    AccessDenied,
    ConfigError,
    NotFound,
    OaiofsError,
    Protocol,
    UsageError,
)
from ..remote.address import server_url
from ..remote.contract import OaioServer, OpenHost
from ..session import Access, Owner
from ..transfer import Transfer
from ..transfer.traffic import Traffic
from . import files as files_of_user
from .edits import Edits, guessed_app
from .removing import unregister
from .shown import OaiObject, UserAccess, shown
from .travel import LAST_SYNC, Travel

__all__ = ["OaiObject", "OaioClient", "UserAccess"]

_NO_ID = "_not__existing__oaio_id_"  # the existing client's way to ask for all users


@dataclass(frozen=True, slots=True)
class _Opened:
    """What there is inside the block."""

    store: Store
    server: OaioServer
    hosts: OpenHost
    transfer: Transfer
    edits: Edits
    travel: Travel


class OaioClient:
    """One user's objects, for as long as the ``async with`` block runs.

    *host* is the oaio server's HOST, HOST:PORT or URL: https, unless it is this machine. *credentials* has
    ``username`` (left out: this machine's user) and ``password``. *app_id* and *device_id* sign what is made here;
    left out they are the program's and this machine's name (a client root keeps the device id that it began with).
    *csh_default_id* is the storage host of new objects. *client_root* is the folder for all that is kept here, with
    placeholders as in ``_root_path``; left out it is the one that this account's mount uses.

    A client root has one mount or one client at a time: entering the block raises Busy while another one has it,
    ConfigError where it belongs to another account or is the existing client's own, StateError. Nothing is asked of the
    server then. *storage_urls* (csh id: base URL) and *insecure* are as in a mount's configuration; a
    superuser may be *acting_for* another user, who is then the one whose objects these are.
    """

    def __init__(
        self,
        host: str,
        credentials: Mapping[str, str],
        app_id: str = "",
        device_id: str = "",
        csh_default_id: str = "Digi",
        client_root: str | os.PathLike[str] = "",
        *,
        storage_urls: Mapping[str, str] | None = None,
        insecure: bool = False,
        acting_for: str = "",
    ) -> None:
        if not credentials.get("password"):
            raise ConfigError("credentials need a password: {'username': …, 'password': …}")
        login = credentials.get("username") or getpass.getuser()
        self.user_name = acting_for or login
        self._owner = Owner(self.user_name, server_url(host, insecure), login)
        self._access = Access(credentials["password"], dict(storage_urls or {}), insecure)
        self.app_id = app_id or guessed_app()
        self.device_id = device_id or clientroots.default_device_id()
        for what, text in {"app_id": self.app_id, "device_id": self.device_id}.items():
            if names.defuse(text) != text:
                raise UsageError(f"{what} {text!r} has characters that can't be in an object's id")
        self.csh_default_id = csh_default_id
        given = rootpaths.resolve(os.fspath(client_root), self.app_id) if client_root else ""
        self.client_root = Path(given) if given else clientroots.default(self.user_name, self._owner.server)
        self._stack = AsyncExitStack()
        self._opened: _Opened | None = None

    # -- the block -------------------------------------------------------------------------------------------

    async def __aenter__(self) -> OaioClient:
        if self._opened is not None:
            raise UsageError("this client is open already")
        clientroots.check_not_foreign(self.client_root)
        clientroots.check_no_cache(self.client_root)
        store = session.open_root(
            self.client_root, self._owner, device_id=self.device_id, app_id=self.app_id, csh_id=self.csh_default_id
        )
        try:
            recover(store)
            self.device_id = store.state.meta("device_id") or self.device_id
            server, hosts = await self._connect()
        except BaseException:
            store.close(clean=False)
            raise
        transfer = Transfer(
            store, server, hosts, username=self.user_name, device_id=self.device_id, app_id=self.app_id,
            csh_id=self.csh_default_id,
        )  # fmt: skip
        edits = Edits(store, transfer.stamps, self.user_name, self.device_id, self.app_id, self.csh_default_id)
        self._opened = _Opened(store, server, hosts, transfer, edits, Travel(store, server, transfer))
        return self

    async def _connect(self) -> tuple[OaioServer, OpenHost]:
        return await self._stack.enter_async_context(
            session.connected(
                self._owner, self._access, device_id=self.device_id, app_id=self.app_id, traffic=Traffic()
            )
        )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            expected = kind is None or issubclass(kind, OaiofsError)
            opened.store.close(clean=expected)  # after anything else the next start looks at what there is
        with trio.CancelScope(shield=True):
            await self._stack.aclose()

    @property
    def _open(self) -> _Opened:
        if self._opened is None:
            raise UsageError("an OaioClient works inside its block: async with OaioClient(…) as client")
        return self._opened

    # -- what is here ----------------------------------------------------------------------------------------

    @property
    def client_objectz(self) -> dict[str, OaiObject]:
        """Every object that is here, by its id; what others share appears with a synchronization."""
        store = self._open.store
        records = [store.record(key) for key in store.heads]
        return {one.oaio_id: one for one in map(self._shown, records)}

    @property
    def last_sync_stamp(self) -> str:
        """When everything was last the same here and on the servers, as a stamp (UTC); the oldest one for never."""
        return self._open.store.state.meta(LAST_SYNC) or OLDEST_STAMP

    async def read_file(self, oaio_id: str, file_name: str = "") -> bytes:
        """The bytes of an attached file, by default of the first one; downloaded and verified where not here yet.

        Raises NotFound, and where it has to be downloaded Unreachable, Corrupt and other RemoteErrors.
        """
        store, record = self._open.store, self._open.edits.record(oaio_id)
        path = file_name or next(iter(sorted(store.attached(record.key))), "")
        node = store.attached(record.key).get(path)
        if node is None:
            raise NotFound(f"{record.name} has no attached file {path}".rstrip())
        await self._open.travel.hydrate(node.ino)
        place = store.absolute(store.node(node.ino))
        return await trio.Path(place).read_bytes()

    def _shown(self, record: ObjectRecord) -> OaiObject:
        return shown(self._open.store, record, self._open.transfer.stamps.get(record.key, ""))

    # -- making ----------------------------------------------------------------------------------------------

    async def register_file(
        self, file_name: str, file_content: bytes | None = None, root_path: str = "", stamp: str = "", csh_id: str = ""
    ) -> OaiObject:
        """Make an object of one file.

        *file_name* is its name, with folders if you like, relative to *root_path* (which may have placeholders:
        ``{doc}/letters``). Without *file_content* the file is there already and is copied; with both the file is made
        there too. *stamp* and *csh_id* as in ``register_object``, as is what it raises; besides NotFound for a missing
        file, Exists where another file is at *root_path*, InvalidName for a name that can't be attached.
        """
        values: dict[str, Any] = {FILES_KEY: [file_name]}
        if root_path:
            values[ROOT_PATH_KEY] = rootpaths.kept(root_path, self.app_id)
        elif file_content is None:
            raise UsageError(f"{file_name}: give its file_content, or the root_path that it is in")
        if file_content is not None and root_path:
            place = os.path.join(rootpaths.resolve(root_path, self.app_id), files_of_user.checked([file_name])[0])
            await trio.to_thread.run_sync(files_of_user.make, place, file_content, None)
        content = {} if file_content is None else {file_name: file_content}
        return await self._made(values, stamp, "", csh_id, content)

    async def register_folder(self, root_path: str, stamp: str = "", csh_id: str = "") -> OaiObject:
        """Make an object of all files below *root_path*, which may have placeholders; raises as ``register_file``.

        The object's ``_root_path`` is the folder in its placeholder form, so that other clients find their own place
        for it. Left out are links to folders, and the files that editors keep beside what they edit.
        """
        folder = rootpaths.resolve(root_path, self.app_id)
        found = await trio.to_thread.run_sync(files_of_user.below, folder, self._open.store.local_only)
        values = {ROOT_PATH_KEY: rootpaths.kept(root_path, self.app_id), FILES_KEY: found}
        return await self._made(values, stamp, "", csh_id, {})

    async def register_object(
        self, values: Mapping[str, Any], stamp: str = "", oaio_id: str = "", csh_id: str = ""
    ) -> OaiObject:
        """Make an object of these values and send it to the server, now or, when that is offline, later.

        *values* is what JSON can hold; files that its ``_file_paths`` lists are copied from its ``_root_path``.
        *stamp* (20 digits, UTC) names the first version, by default now; the server may give another one. *oaio_id* is
        made where it is left out, *csh_id* the storage host, by default ``csh_default_id``.

        Raises UsageError for values or a stamp that can't be, Exists or Conflict for an id that there is already,
        NotFound for a missing file; Unauthorized and other RemoteErrors where the servers refuse it: then it is kept
        here, and the next synchronization tries again.
        """
        return await self._made(values, stamp, oaio_id, csh_id, {})

    async def _made(
        self, values: Mapping[str, Any], stamp: str, oaio_id: str, csh_id: str, content: Mapping[str, bytes]
    ) -> OaiObject:
        key = await self._open.edits.register(values, stamp, oaio_id, csh_id, content)
        await self._open.travel.send(key)
        return self._shown(self._open.store.record(key))

    # -- changing --------------------------------------------------------------------------------------------

    async def update_object(
        self, oaio_id: str, values: Mapping[str, Any], stamp: str = "", reset: bool = False
    ) -> OaiObject:
        """Change the object's values: each key given gets its value, with *reset* all others go.

        ``_file_paths`` among the values is the new list of attached files: those that are not in it are taken away,
        new ones are copied from ``_root_path``; with *reset* and without the key, none stays. *stamp* names the new
        version, by default now.

        Raises NotFound, AccessDenied with right r, UsageError for values or a stamp that can't be. Another device's
        change is merged; where the servers refuse, as ``register_object``.
        """
        record, _ = self._open.edits.writable(oaio_id)
        attached = sorted(self._open.store.attached(record.key))
        before: dict[str, Any] = {} if reset else {**record.values, **({FILES_KEY: attached} if attached else {})}
        chosen = ROOT_PATH_KEY in values
        return await self._changed(oaio_id, {**before, **values}, stamp, {}, again=(), chosen=chosen)

    async def update_file(
        self, oaio_id: str, file_name: str = "", file_content: bytes | None = None, root_path: str = "", stamp: str = ""
    ) -> OaiObject:
        """Give the object's file another content; raises as ``update_object`` and ``register_file``.

        *file_name* makes this the object's only file; left out it is the first one. *root_path* changes where it is
        kept. Without *file_content* it is read from there.
        """
        record, _ = self._open.edits.writable(oaio_id)
        attached = sorted(self._open.store.attached(record.key))
        if not (file_name or attached):
            raise NotFound(f"{record.name} has no attached file: give a file_name")
        path = file_name or attached[0]
        values = {**record.values, FILES_KEY: [path] if file_name else attached}
        if root_path:
            values[ROOT_PATH_KEY] = rootpaths.kept(root_path, self.app_id)
        kept = values.get(ROOT_PATH_KEY)
        content = {} if file_content is None else {path: file_content}
        if file_content is not None and isinstance(kept, str) and kept:
            known = (await self.read_file(oaio_id, path)) if path in attached else None
            place = os.path.join(rootpaths.resolve(kept, self.app_id), files_of_user.checked([path])[0])
            if root_path or (rootchoice.is_chosen(self._open.store, record) and os.path.exists(place)):
                await trio.to_thread.run_sync(files_of_user.make, place, file_content, known)
        again = (path,) if content or kept else ()
        return await self._changed(oaio_id, values, stamp, content, again=again, chosen=bool(root_path))

    async def update_folder(self, oaio_id: str, root_path: str = "", stamp: str = "") -> OaiObject:
        """Make the object's files those that are below *root_path* now, by default below its ``_root_path``.

        An object without one keeps its files. Raises as ``update_object`` and ``register_folder``, and AccessDenied
        for one that another device chose, unless you give it as *root_path*: it could be any folder of yours.
        """
        record, _ = self._open.edits.writable(oaio_id)
        kept = rootpaths.kept(root_path, self.app_id) if root_path else record.values.get(ROOT_PATH_KEY)
        if not (isinstance(kept, str) and kept):
            return await self.update_object(oaio_id, {}, stamp)
        self._open.edits.check_place(record, chosen=bool(root_path))
        folder = rootpaths.resolve(kept, self.app_id)
        found = await trio.to_thread.run_sync(files_of_user.below, folder, self._open.store.local_only)
        values = {**record.values, ROOT_PATH_KEY: kept, FILES_KEY: found}
        return await self._changed(oaio_id, values, stamp, {}, again=found, chosen=bool(root_path))

    async def _changed(
        self, oaio_id: str, values: Mapping[str, Any], stamp: str, content: Mapping[str, bytes], again: Collection[str],
        *, chosen: bool,
    ) -> OaiObject:  # fmt: skip
        key = await self._open.edits.update(oaio_id, values, stamp, content, again, chosen=chosen)
        await self._open.travel.send(key)
        return self._shown(self._open.edits.record(oaio_id))

    async def discard_changes(self, oaio_id: str) -> OaiObject:
        """Take back what was changed here and is not on the server, as where your right to change it was taken away.

        Files that were changed here go to the trash. Raises NotFound, also for an object that no server has a version
        of (``unregister_object`` takes that back), Busy for one that was made again from what was found here and not
        synchronized since, and what keeps the object from being brought up to date.
        """
        key = self._open.edits.discard(oaio_id)
        await trio.to_thread.run_sync(self._open.store.state.sync_to_disk)
        await self._open.travel.send(key)
        return self._shown(self._open.edits.record(oaio_id))

    async def unregister_object(self, oaio_id: str, wipe_files: bool = False) -> None:
        """Delete the object, for all users, now or when the server is reached again; here it goes to the trash.

        With *wipe_files* nothing of it is kept: the trash lets it go, and so does the storage host, with all stored
        versions. Files at a ``_root_path`` are not touched. Raises NotFound, AccessDenied without right D or C,
        Conflict when another device has changed it meanwhile (then it is back), Refused where most objects wait to be
        deleted (a synchronization with *confirmed* does it). With *wipe_files* also Unreachable (then nothing was
        done) and what the storage host says: the next synchronization tries that again.
        """
        opened = self._open
        await unregister(
            opened.store, opened.server, opened.transfer, opened.travel, opened.edits.record(oaio_id),
            wipe_files=wipe_files,
        )  # fmt: skip

    # -- travelling ------------------------------------------------------------------------------------------

    async def synchronize_with_server_if_online(
        self, timeout: float | None = None, *, confirmed: bool = False
    ) -> bool:
        """Send what has changed here and take over what has changed elsewhere; False when the server is offline.

        ``why_offline`` says why then.
        *timeout* in seconds; *confirmed* says that removals are meant, however many. Raises TimedOut, Unauthorized,
        Refused where most objects seem to be removed at once (then none is, for a minute of the same answer), what
        keeps an object from being sent, and UsageError for a timeout that can't be waited.
        """
        return await self._open.travel.synchronize_if_online(timeout, confirmed=confirmed)

    @property
    def why_offline(self) -> str:
        """Why the last synchronization did not reach the server, as a sentence; '' where it did, or there was none."""
        return self._open.travel.why_offline

    # -- sharing ---------------------------------------------------------------------------------------------

    async def upsert_subscription(self, oaio_id: str, user_name: str, access_right: str = "r") -> int:
        """Give a user a right on the object: ``r`` read, ``U`` update, ``D`` delete, ``C`` all, ``x`` none.

        Returns the primary key of the subscription, 0 where there was none to end. Raises AccessDenied or Forbidden
        without right C, RemoteNotFound for an unknown user, UsageError, Unreachable.
        """
        try:
            right = dialect.read_right(access_right)
        except Protocol:
            raise UsageError(f"{access_right!r} is no access right: give one of C D U r x") from None
        record = self._open.store.record_of_id(oaio_id)
        ends_own = right is Right.NONE and user_name == self.user_name
        if record is not None and not record.right.may_share and not ends_own:
            raise AccessDenied(f"you may not share {record.name}: that needs right C")
        return await self._open.server.subscribe(OaioId(oaio_id), user_name, right)

    async def unsubscribe(self, oaio_id: str, user_name: str) -> None:
        """End a user's subscription. The own one: the object leaves, unless it has unsent changes; raises likewise."""
        await self.upsert_subscription(oaio_id, user_name, Right.NONE.value)
        store = self._open.store
        record = store.record_of_id(oaio_id)
        if user_name == self.user_name and record is not None and not (record.dirty or record.removed or record.draft):
            trash.leave(store, record, "your subscription was ended")

    async def userz_access(self, oaio_id: str) -> list[UserAccess]:
        """Every user and their right on the object, sorted by right (C D U r x), then name.

        With an empty or unknown id all rights are ``x``. Raises RemoteErrors.
        """
        rights = await self._open.server.subscribers(OaioId(oaio_id or _NO_ID))
        rows = [UserAccess(username=name, access_right=right.value) for name, right in rights.items()]
        return sorted(rows, key=lambda row: (row["access_right"], row["username"]))

    async def wipe_user(self, user_name: str) -> None:
        """Remove a user with all objects, subscriptions and log entries; needs a superuser's account.

        Raises Forbidden, RemoteNotFound.
        """
        await self._open.server.wipe_user(user_name)
