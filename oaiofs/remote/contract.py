"""What oaiofs needs of the outside, in its own words: an oaio server and a storage host.

Implemented over HTTP (``oaio``, ``koofr``) and in memory (``memory``); one contract suite runs on all of them.
Must not know HTTP, the mount or the local state. Every method may raise ``errors.RemoteError`` and nothing else of
the outside; each is cancellable and leaves its implementation usable when cancelled.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from ..core.model import FileFact, FileSet, Listing, OaioId, Outgoing, Quota, RemoteObject, Right, Stamp, StorageAccount

#: Opens a file's bytes from the beginning, as often as a retry needs them: yields chunks of at most 1 MiB.
Source = Callable[[], AsyncIterator[bytes]]


class Chunks(Protocol):
    """The bytes of a file as they come, in chunks; *length* is how many there are in all, None where nobody says."""

    @property
    def length(self) -> int | None: ...

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def __anext__(self) -> bytes: ...


class OaioServer(Protocol):
    """One user's session on one oaio server."""

    @property
    def checks_base(self) -> bool:
        """True once the server has shown that it refuses an upload whose base is not current, all by itself."""

    @property
    def longest_hold(self) -> float:
        """Seconds for which the server holds a listing, as its last one told; 0.0: all are answered at once."""

    async def login(self) -> None:
        """Check the account. Calls made without it log in by themselves. Raises Unauthorized."""

    async def current_stamp(self) -> Stamp:
        """The server's time. Raises ClockSkew when it and this machine's differ by more than 69 s."""

    async def list_objects(self) -> Listing:
        """All objects of the user. Malformed ones are in the listing's *skipped*; the rest is complete."""

    async def next_listing(self, seen: Listing, wait: float) -> Listing:
        """As list_objects, but the server may wait for something new, for *wait* seconds at most.

        *seen* is what the caller has, and what comes back where nothing is new. It is answered at once where
        it is not the last one that this session got, the server does not hold, or has too many to hold already. Not
        tried again when it is cut, since nothing is wrong then: ask list_objects.
        """

    async def register(self, outgoing: Outgoing) -> RemoteObject:
        """Announce a new object; the server may give it another stamp. Raises RemoteExists."""

    async def upload(self, outgoing: Outgoing) -> RemoteObject:
        """Announce a new version, made from ``outgoing.base``.

        Raises Conflict when the server can tell that its current version is another one (servers in the field
        can't and take the last writer: look before, verify after), RemoteNotFound when the object is gone.
        """

    async def delete(self, oaio_id: OaioId, base: str = "") -> None:
        """Delete the object for all users; needs right D or C. An object already gone is success.

        Raises Conflict when the server can tell that its current version is not *base* ('': whichever it is).
        """

    async def subscribe(self, oaio_id: OaioId, username: str, right: Right) -> int:
        """Give *username* this right, or with NONE end that subscription; the subscription's primary key.

        The key stays the same while the right changes. It is 0 where there was no subscription to end, or the server
        tells none. Raises Forbidden.
        """

    async def subscribers(self, oaio_id: OaioId) -> dict[str, Right]:
        """Every registered user and the right each has on the object (NONE included)."""

    async def announced_versions(self, oaio_id: OaioId) -> tuple[RemoteObject, ...]:
        """The object's versions that were ever announced, the newest first, as far as the server keeps and tells them.

        A version twice: the later one counts. Malformed ones are left out. Raises Unsupported where the server keeps
        none (those in the field), RemoteNotFound for an object that this user does not subscribe.
        """

    async def storage_account(self, csh_id: str) -> StorageAccount:
        """How to reach the storage host *csh_id*; asked anew each time, never stored. Raises RemoteNotFound."""

    async def wipe_user(self, username: str) -> None:
        """Remove a user with all objects and subscriptions; needs a superuser."""

    async def aclose(self) -> None:
        """End the session and close connections; never raises RemoteError."""


class StorageHost(Protocol):
    """One account on one storage host. Paths are relative to the account's root folder: ``a/b/c``, no outer slash."""

    async def list_tree(self, folder: str) -> FileSet:
        """All files below *folder*, paths relative to it. Complete or an error. Raises RemoteNotFound."""

    async def list_folders(self, folder: str) -> tuple[str, ...]:
        """Names of the folders directly in *folder*, sorted, without a look at what they hold: one cheap request.

        Names that can't be a path here are left out. Raises RemoteNotFound.
        """

    async def put(self, path: str, source: Source, size: int, mtime_ns: int) -> FileFact:
        """Store a file whole, replacing what is there, making missing folders; the answer is the host's own view.

        A concurrent reader sees the old or the new file, never a part. Raises StorageFull, Corrupt when the host
        tells another size than *size*.
        """

    def get(self, path: str, start: int = 0, length: int | None = None) -> AbstractAsyncContextManager[Chunks]:
        """Read a file from byte *start*, *length* bytes or to its end, in chunks.

        Raises RemoteNotFound; Corrupt when fewer or more bytes come than the host announced.
        """

    async def copy(self, source: str, target: str, mtime_ns: int | None = None) -> None:
        """Copy a file, or a folder with all below it, on the host itself; *target* is the full new path.

        Missing parents of *target* are made; an existing target is never overwritten: Raises RemoteExists where it was
        surely there before, RemoteNotFound where *source* is gone, and Unsupported from a host that can't copy folders,
        or anything: that is told at once, however often it is asked. After any other error *target* may be there, whole
        or in part.
        """

    async def remove(self, path: str) -> None:
        """Remove a file or a folder with all below it; one already gone is success."""

    async def quota(self) -> Quota:
        """Room on this account."""

    async def aclose(self) -> None:
        """Close connections; never raises RemoteError."""


class OpenHost(Protocol):
    """Hands out storage hosts by csh id, opened at the first call for each."""

    async def __call__(self, csh_id: str) -> StorageHost:
        """The host of *csh_id*. Raises Unsupported for one that cannot be used here."""

    async def forget(self) -> None:
        """Ask for the accounts anew at the next call: a password was not accepted any more."""
