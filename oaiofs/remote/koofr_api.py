"""Koofr's REST interface v2, call by call: signing in, the mount, file records and listings as they are on the wire.

Digi Storage is a white-label Koofr. What the calls are put together to is ``koofr``'s. Facts: PROTOCOL and the public
clients of Koofr (rclone, go-koofrclient, vault and its fake server); where those differ, both forms are taken.

Signing in is by ``/token``, as the existing client does, because the account that the oaio server hands out may hold
the account's own password, which HTTP Basic does not take; app passwords work with both. Where a host has no
``/token`` any more, or refuses it (two-factor sign-in), Basic is tried.
"""

from __future__ import annotations

import base64
import io
import itertools
import logging
import re
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeGuard
from urllib.parse import urlsplit

import trio

from .. import errors
from ..core.model import FileFact, Quota
from . import jsontext
from .address import quoted
from .http import Answer, Body, HttpClient, Incoming, Surroundings
from .paths import is_storage_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping

log = logging.getLogger(__name__)

#: What "it may be there already", "there is nothing" and "no such call" look like in the versions of the interface.
TAKEN: Final = (400, 409)
MISSING: Final = 404
NO_SUCH_CALL: Final = (400, 404, 405, 501)

_MIB = 1024 * 1024
_MAX_SIZE = 1 << 62
_MOST_LOGGED = 20
_MD5 = re.compile(r"[0-9a-f]{32}")
_NAME_WITHOUT_PRIMARY = "DIGIstorage"


@dataclass(frozen=True, slots=True)
class Record:
    """One file or folder as the host knows it."""

    is_folder: bool
    fact: FileFact


@dataclass(frozen=True, slots=True)
class _Session:
    """A signed-in state: compared by identity, so that of many calls which find it over only one renews it."""

    authorization: str = field(repr=False)
    mount: str


class KoofrApi:
    """The calls of one account, signed in with the first one and once more when the host ends the session."""

    def __init__(self, base_url: str, email: str, password: str, surroundings: Surroundings | None = None) -> None:
        self.host = urlsplit(base_url).netloc
        self._email = email
        self._password = password
        self._http = HttpClient(base_url, host=self.host, secrets=[password], surroundings=surroundings)
        self._session: _Session | None = None
        self._session_lock = trio.Lock()

    def __repr__(self) -> str:
        return f"<KoofrApi {self.host}>"

    async def files(
        self,
        method: str,
        action: str,
        what: str,
        *,
        path: str,
        content: bool = False,
        params: Mapping[str, str] | None = None,
        json: object = None,
        body: Body | None = None,
        accept: Iterable[int] = (),
    ) -> Answer:
        """Call ``files/ACTION`` on *path* (absolute in the mount); *content* chooses the prefix of the bulk calls."""
        query = {"path": path, **(params or {})}

        async def send(session: _Session) -> Answer:
            return await self._http.call(
                method,
                _files_url(session.mount, action, content),
                what,
                params=query,
                json=json,
                body=body,
                headers={"Authorization": session.authorization},
                accept=(*accept, 401),
            )

        session = await self._signed_in()
        answer = await send(session)
        if answer.status == 401:
            answer = await send(await self._signed_in(over=session))
        if answer.status == 401:
            raise self._http.error(answer, what)
        return answer

    @asynccontextmanager
    async def content(self, path: str, what: str, headers: Mapping[str, str]) -> AsyncIterator[Incoming]:
        """The bytes of a file as they come; 416 is left to the caller."""
        async with AsyncExitStack() as stack:

            async def send(session: _Session) -> Incoming:
                return await stack.enter_async_context(
                    self._http.stream(
                        "GET",
                        _files_url(session.mount, "get", content=True),
                        what,
                        params={"path": path},
                        headers={**headers, "Authorization": session.authorization},
                        accept=(401, 416),
                    )
                )

            session = await self._signed_in()
            incoming = await send(session)
            if incoming.status == 401:
                await stack.aclose()
                incoming = await send(await self._signed_in(over=session))
            if incoming.status == 401:
                raise self._not_accepted()
            yield incoming

    async def mount_id(self) -> str:
        return (await self._signed_in()).mount

    async def quota(self) -> Quota:
        session = await self._signed_in()
        answer = await self._mounts(session.authorization, f"/api/v2/mounts/{quoted(session.mount)}")
        if answer.status == 401:
            session = await self._signed_in(over=session)
            answer = await self._mounts(session.authorization, f"/api/v2/mounts/{quoted(session.mount)}")
        if answer.status == 401:
            raise self._not_accepted()
        mount = await answer.json()
        if not isinstance(mount, dict):
            raise errors.Protocol(f"{self.host} answered no account when asked for its room.")
        room = Quota(total=_bytes_of(mount.get("spaceTotal")), used=_bytes_of(mount.get("spaceUsed")))
        return Quota(room.total, max(room.used, room.total)) if mount.get("overQuota") is True else room

    def error(self, answer: Answer, what: str) -> errors.RemoteError:
        return self._http.error(answer, what)

    async def aclose(self) -> None:
        with trio.CancelScope(shield=True):
            await self._http.aclose()

    # ---- signing in

    async def _signed_in(self, over: _Session | None = None) -> _Session:
        """The session; a new one where there is none or the caller found this one *over*."""
        async with self._session_lock:
            if self._session is None or self._session is over:
                self._session = None
                self._session = await self._sign_in()
            return self._session

    async def _sign_in(self) -> _Session:
        for authorization in (await self._token(), self._basic()):
            if authorization is None:
                continue
            answer = await self._mounts(authorization, "/api/v2/mounts")
            if answer.status != 401:
                return _Session(authorization, self._chosen_mount(await answer.json()))
        raise self._not_accepted()

    async def _token(self) -> str | None:
        try:
            credentials = {"X-Koofr-Email": self._email, "X-Koofr-Password": self._password}
            answer = await self._http.call("GET", "/token", "sign you in", headers=credentials, accept=(401, 403, 410))
        except (errors.RemoteNotFound, errors.Protocol):
            return None
        token = answer.headers.get("x-koofr-token")
        self._http.keep_secret(token or "")
        return f"Token {token}" if token and answer.status < 300 else None

    def _basic(self) -> str:
        encoded = base64.b64encode(f"{self._email}:{self._password}".encode()).decode()
        self._http.keep_secret(encoded)
        return f"Basic {encoded}"

    async def _mounts(self, authorization: str, path: str) -> Answer:
        headers = {"Authorization": authorization}
        return await self._http.call("GET", path, "tell its storages", headers=headers, accept=(401,))

    def _chosen_mount(self, answer: Any) -> str:
        """The account's main storage; names differ by country, so the name counts only where none is marked."""
        mounts = answer.get("mounts") if isinstance(answer, dict) else None
        usable = [
            mount
            for mount in (mounts if isinstance(mounts, list) else ())
            if isinstance(mount, dict) and isinstance(mount.get("id"), str) and mount["id"]
        ]
        primary = [mount for mount in usable if mount.get("isPrimary") is True]
        named = [mount for mount in usable if mount.get("name") == _NAME_WITHOUT_PRIMARY]
        for mount in (*primary, *named):
            return str(mount["id"])
        raise errors.Protocol(f"{self.host} shows no main storage for this account: check the storage's base URL.")

    def _not_accepted(self) -> errors.Unauthorized:
        return errors.Unauthorized(
            f"{self.host} does not accept the storage account that the oaio server handed out: tell its administrator."
        )


def _files_url(mount: str, action: str, content: bool) -> str:
    return f"{'/content' if content else ''}/api/v2/mounts/{quoted(mount)}/files/{action}"


# ---- records and listings


def read_record(raw: object) -> Record:
    """A ``FilesFile``. Raises Protocol; a hash that is no MD5 counts as none (external mounts have other ones)."""
    if not isinstance(raw, dict) or raw.get("type") not in ("file", "dir"):
        raise errors.Protocol("the storage host answered a file's record that can't be read")
    if raw["type"] == "dir":
        return Record(True, FileFact(0, ""))
    size, md5, modified = raw.get("size"), raw.get("hash"), raw.get("modified")
    if not _is_size(size):
        raise errors.Protocol("the storage host answered a file's record without a size")
    return Record(
        False,
        FileFact(
            size=size,
            md5=md5.lower() if isinstance(md5, str) and _MD5.fullmatch(md5.lower()) else "",
            mtime_ns=modified * 1_000_000 if _is_size(modified) and modified < 1 << 43 else 0,
        ),
    )


def read_listrecursive(body: bytes) -> dict[str, FileFact]:
    """All files of a recursive listing, one JSON document per line. Raises Protocol or ServerFault when incomplete."""
    lines = (line for line in io.BytesIO(body) if line.strip())
    first = next(lines, None)
    if first is None:
        raise errors.Protocol("the storage host's listing is empty, not even the folder itself is in it")
    return usable_files(_entry_of_line(jsontext.parse(line)) for line in itertools.chain([first], lines))


def _entry_of_line(item: Any) -> tuple[str, object]:
    if not isinstance(item, dict) or item.get("type") not in ("file", "error"):
        raise errors.Protocol("the storage host's listing can't be read")
    if item["type"] == "error":
        raise errors.ServerFault("the storage host could not list the whole folder: try again later")
    path = item.get("path")
    if not isinstance(path, str):
        raise errors.Protocol("the storage host's listing has an entry without a path")
    return path.strip("/"), item.get("file")


def read_tree(raw: object) -> dict[str, FileFact]:
    """All files of a nested listing (``tree``). Raises Protocol."""
    return usable_files(_entries_of_tree(raw))


def _entries_of_tree(root: object) -> Iterator[tuple[str, object]]:
    pending: list[tuple[str, object]] = [("", root)]
    while pending:
        folder, node = pending.pop()
        children = node.get("children") if isinstance(node, dict) else None
        if not isinstance(children, list):
            raise errors.Protocol("the storage host's listing can't be read")
        for path, child in named_entries(folder, children):
            # What is in a folder of an impossible name is impossible too, and may make its paths endless.
            if is_storage_path(path) and read_record(child).is_folder:
                pending.append((path, child))
            else:
                yield path, child


def read_folders(raw: object) -> tuple[str, ...]:
    """Names of the usable folders of one folder's listing (``list``), sorted. Raises Protocol."""
    children = raw.get("files") if isinstance(raw, dict) else None
    if not isinstance(children, list):
        raise errors.Protocol("the storage host's listing can't be read")
    named = named_entries("", children)
    return tuple(sorted({name for name, child in named if is_storage_path(name) and read_record(child).is_folder}))


def named_entries(folder: str, children: Iterable[object]) -> Iterator[tuple[str, object]]:
    """The entries of one *folder* with their paths. Raises Protocol."""
    for child in children:
        name = child.get("name") if isinstance(child, dict) else None
        if not isinstance(name, str) or not name:
            raise errors.Protocol("the storage host's listing has an entry without a name")
        # A slash inside a name would move the entry to another folder: replaced, it is refused with the bad names.
        yield f"{folder}/{name.replace('/', chr(0))}".lstrip("/"), child


def usable_files(entries: Iterable[tuple[str, object]]) -> dict[str, FileFact]:
    """The files among *entries* whose paths do no harm; the others are logged and left out. Raises Protocol."""
    files: dict[str, FileFact] = {}
    impossible = 0
    for path, raw in entries:
        record = read_record(raw)
        if is_storage_path(path):
            if not record.is_folder and files.setdefault(path, record.fact) != record.fact:
                raise errors.ServerFault("the storage host lists a file twice, as two different ones: try again later")
        elif path:  # that is the listed folder itself
            impossible += 1
            if impossible <= _MOST_LOGGED:
                log.warning("the storage host lists something with an impossible path, left out: %r", path[:200])
    if impossible > _MOST_LOGGED:
        log.warning("the storage host lists %d more such things", impossible - _MOST_LOGGED)
    return files


def _bytes_of(mebibytes: object) -> int:
    """An amount of room; 0, which means not told, where it is none or more than a system can say."""
    return mebibytes * _MIB if _is_size(mebibytes) and mebibytes < _MAX_SIZE // _MIB else 0


def _is_size(raw: object) -> TypeGuard[int]:
    return isinstance(raw, int) and not isinstance(raw, bool) and 0 <= raw < _MAX_SIZE
