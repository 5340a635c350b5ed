"""How calls of the library become changes of the client root: all that can be refused is refused before one is made.

Must not know when anything is sent (``OaioClient`` does that after), nor how rows and files change (``cache.whole``).
"""

from __future__ import annotations

import copy
import os
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from .. import rootpaths
from ..cache import revert, rootchoice, whole
from ..cache.records import ObjectRecord
from ..cache.store import Head, Store
from ..cache.whole import Staged
from ..core import dialect, names, stamps
from ..core.model import FILES_KEY, OLDEST_STAMP, ROOT_PATH_KEY, OaioId, Stamp, Values
from ..errors import AccessDenied, Busy, Exists, NotFound, Protocol, UsageError
from . import files as files_of_user
from .shown import shown


@dataclass
class Edits:
    """Changes of one open client root. *stamps*: what the next versions of objects (by number) are to be called."""

    store: Store
    stamps: dict[int, Stamp]
    username: str
    device_id: str
    app_id: str
    csh_id: str

    def record(self, oaio_id: str) -> ObjectRecord:
        """Raises NotFound."""
        store = self.store
        record = store.record_of_id(oaio_id)
        if record is None or record.removed:
            raise NotFound(f"there is no object {oaio_id!r} here: synchronize, or look in client_objectz")
        return record

    def writable(self, oaio_id: str) -> tuple[ObjectRecord, Head]:
        """Raises NotFound, AccessDenied."""
        record = self.record(oaio_id)
        if not record.right.may_update:
            raise AccessDenied(f"you may only read {record.name}: its owner can give you right U")
        return record, self.store.heads[record.key]

    async def register(
        self, values: Mapping[str, Any], stamp: str, oaio_id: str, csh_id: str, content: Mapping[str, bytes]
    ) -> int:
        """Make an object; its number. Files that *values* lists are from *content* or their ``_root_path``."""
        store = self.store
        own, paths = checked(values)
        if paths:
            paths = files_of_user.checked(paths, store.local_only)
        new_stamp = self._stamp(stamp, "")
        made_id = names.make_oaio_id(self.app_id, self.username, self.device_id, own, tuple(paths), new_stamp)
        new_id = _read_id(oaio_id) if oaio_id else made_id
        self._check_free(new_id)
        files = await self._stage(paths, own, content)
        try:
            self._check_free(new_id)
        except Exists:
            whole.drop(store, files)
            raise
        head = whole.create(
            store, new_id, own, files, csh_id=csh_id or self.csh_id, username=self.username, device_id=self.device_id,
            app_id=self.app_id,
        )  # fmt: skip
        self.stamps[head.key] = new_stamp
        rootchoice.choose(store, head.key, own)
        await whole.make_durable(store, head.key, files)
        return head.key

    def check_place(self, record: ObjectRecord, *, chosen: bool) -> None:
        """Raises AccessDenied for a ``_root_path`` from elsewhere: it could name any folder, to have its files sent."""
        if not chosen and record.values.get(ROOT_PATH_KEY) and not rootchoice.is_chosen(self.store, record):
            raise AccessDenied(
                f"where {record.name} has its files was chosen on another device: give the root_path, if you mean to "
                f"attach files from {record.values[ROOT_PATH_KEY]}"
            )

    def _check_free(self, oaio_id: OaioId) -> None:
        if self.store.record_of_id(oaio_id) is not None:
            raise Exists(f"there is an object {oaio_id} already")

    async def _stage(
        self, paths: Collection[str], values: Values, content: Mapping[str, bytes]
    ) -> dict[str, Staged]:
        """Bring these files here, from *content* or from the object's ``_root_path``. Raises NotFound."""
        store = self.store
        root_path = values.get(ROOT_PATH_KEY)
        folder = rootpaths.resolve(root_path, self.app_id) if isinstance(root_path, str) and root_path else ""
        staged: dict[str, Staged] = {}
        try:
            for path in paths:
                if path not in content and not folder:
                    raise NotFound(f"{path} can't be attached: the values have no {ROOT_PATH_KEY} that it could be in")
                source = content[path] if path in content else os.path.join(folder, path)
                staged[path] = await whole.stage(store, source, int(store.wall_clock() * 1e9))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            whole.drop(store, staged)
            raise NotFound(f"there is no file {error.filename}") from None
        except BaseException:
            whole.drop(store, staged)
            raise
        return staged

    def _stamp(self, stamp: str, newer_than: str) -> Stamp:
        """The stamp asked for, or now's. Raises UsageError."""
        if not stamp:
            return stamps.after(newer_than or OLDEST_STAMP, datetime.fromtimestamp(time.time(), UTC))
        parsed = stamps.parse(stamp)
        if parsed is None:
            raise UsageError(f"{stamp!r} is no stamp: 20 digits, the UTC time as YYYYMMDDhhmmss and microseconds")
        if parsed <= (newer_than or OLDEST_STAMP):
            raise UsageError(f"the stamp {stamp} is not later than {newer_than or OLDEST_STAMP}")
        return parsed

    async def update(
        self, oaio_id: str, values: Mapping[str, Any], stamp: str, content: Mapping[str, bytes], again: Collection[str],
        *, chosen: bool,
    ) -> int:  # fmt: skip
        """Make *values* the object's; of its files those in *again* and new ones are taken anew. Its number.

        *chosen* says that the caller has given the ``_root_path``.
        """
        store = self.store
        own, paths = checked(values)
        record, _ = self.writable(oaio_id)
        before = shown(store, record, self.stamps.get(record.key, "")).client_stamp
        new_stamp = self._stamp(stamp, before if stamp else record.base_stamp or "")
        attached = set(store.attached(record.key))
        fresh = [path for path in paths if path in again or path not in attached]
        if fresh:
            files_of_user.checked(paths, store.local_only)
        if not content.keys() >= set(fresh):
            self.check_place(record, chosen=chosen)
        files = await self._stage(fresh, own, content)
        try:
            record, head = self.writable(oaio_id)
        except BaseException:
            whole.drop(store, files)
            raise
        whole.change(store, head, own, files, set(store.attached(record.key)) - set(paths))
        self.stamps[record.key] = new_stamp
        if chosen:
            rootchoice.choose(store, record.key, own)
        await whole.make_durable(store, record.key, files)
        return record.key

    def discard(self, oaio_id: str) -> int:
        """Make the object what was agreed on with the server; its number. Raises NotFound, Busy."""
        record = self.record(oaio_id)
        if record.base_stamp is None:
            raise NotFound(f"no server has a version of {record.name} yet: unregister_object takes it back")
        if record.rebuilt:
            raise Busy(f"{record.name} was made again from what was found here: synchronize before")
        place = f"{record.csh_id}/{record.oaio_id}/{record.base_stamp}"
        if record.differs:
            revert.revert(
                self.store, record.key, record.base_stamp, self.store.base_files(record.key),
                lambda path: f"{place}/{path}", self.device_id, values=record.base_values,
            )  # fmt: skip
        self.stamps.pop(record.key, None)
        return record.key


def _read_id(oaio_id: str) -> OaioId:
    try:
        return dialect.read_id(oaio_id)
    except Protocol as error:
        raise UsageError(str(error)) from None


def checked(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A copy of the values, and the files that they list. Raises UsageError."""
    own = copy.deepcopy(dict(values))
    paths = own.pop(FILES_KEY, [])
    problem = dialect.values_problem(own)
    if problem is not None:
        raise UsageError(f"values {problem}")
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise UsageError(f"{FILES_KEY} must be a list of texts")
    return own, paths


def guessed_app() -> str:
    """The name of the running program, as the existing client takes it."""
    stem = os.path.splitext(os.path.basename(sys.argv[0]))[0]
    return names.defuse(stem) if stem and not stem.startswith(("-", "__")) else "oaiofs"
