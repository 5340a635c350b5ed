"""One placeholder's download, shared by all who want it, some of whom read it while it goes on.

What is read before the end is not verified yet. But who reads all of it gets its last byte only when it is: no program
that copies a file takes a spoilt one for good. Must not know the store, nor how the bytes
travel.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Awaitable, Callable, Iterator

import trio

from ..cache.records import Node
from ..errors import Corrupt, OaiofsError
from .streams import Stream

#: Up to this many bytes a file is verified before anybody reads it.
VERIFIED_FIRST = 4 << 20


class Flight:
    """The download of the placeholder *node* to *staged* in the client root, while it runs or is held open.

    *target* is the same place as an absolute path, *host* what the storage host is called. *begin* runs it once more
    after it has failed; *unwanted* is told when the last one who wanted it has let go.
    """

    def __init__(
        self,
        node: Node,
        host: str,
        staged: str,
        target: str,
        stream: Stream,
        *,
        begin: Callable[[Flight], Awaitable[None]],
        unwanted: Callable[[Flight], None],
    ) -> None:
        self.ino, self.name, self.md5 = node.ino, node.name, node.md5
        self.host = host
        self.staged, self.target = staged, target
        self.stream = stream
        self.running = False
        self.done = trio.Event()  # of the present run
        self.scope = trio.CancelScope()  # likewise
        self.error: OaiofsError | None = None  # of the last one
        self.shown = False  # opened before it was verified
        self.verified = self.spoilt = self.abandoned = False
        self.left = 0  # how often nobody wanted it any more
        self._wanted = 0
        self._begin = begin
        self._unwanted = unwanted

    # -- who wants it ----------------------------------------------------------------------------------------

    @property
    def wanted(self) -> bool:
        return self._wanted > 0

    @property
    def worth_finishing(self) -> bool:
        """Whether so much of it is here that the rest is to come too, wanted or not."""
        return self.stream.missing <= max(VERIFIED_FIRST, self.stream.size // 2)

    @contextlib.contextmanager
    def interest(self) -> Iterator[None]:
        """Somebody wants it for as long as the block runs."""
        self._wanted += 1
        try:
            yield
        finally:
            self.let_go()

    def open(self) -> int:
        """A descriptor of the file that the bytes come to; ``let_go`` when it is not wanted any more."""
        descriptor = os.open(self.target, os.O_RDONLY | os.O_CLOEXEC)
        self._wanted += 1
        self.shown = True
        return descriptor

    def let_go(self) -> None:
        """Somebody does not want it any more."""
        self._wanted -= 1
        if not self._wanted:
            self.left += 1
            self._unwanted(self)

    def abandon(self) -> None:
        """The file has another content now, made here: nobody is to wait for this one."""
        self.abandoned = True
        self.scope.cancel()
        self.stream.tell()

    def mismatch(self) -> Corrupt:
        return Corrupt(f"the storage host {self.host} sent other bytes for {self.name} than were announced")

    # -- its runs --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """A new run begins."""
        self.running = True
        self.done = trio.Event()
        self.scope = trio.CancelScope()
        self.error = None
        self.stream.begun = trio.Event()

    def end(self) -> None:
        """The run has ended, with ``error`` or not."""
        self.running = False
        self.done.set()
        self.stream.begun.set()
        self.stream.tell()

    # -- reading ---------------------------------------------------------------------------------------------

    async def ready(self, offset: int, size: int) -> None:
        """Return when these bytes, as far as the file has them, can be read.

        Raises Corrupt once the file has turned out to be another than announced, Unreachable at once when they are
        not here and nothing can be fetched, and whatever else keeps them from coming.
        """
        end = offset + size
        while not self._may_read(offset, end):
            if not self.running:
                await self._begin(self)
            done = self.done
            if self.stream.has(offset, end):
                await done.wait()
            else:
                await self.stream.wait_for(offset, end)
            if done.is_set() and not self._may_read(offset, end) and self.error is not None:
                raise self.error.with_traceback(None)

    def _may_read(self, start: int, stop: int) -> bool:
        """Whether these bytes are here and may be shown. Raises Corrupt."""
        if self.verified or self.abandoned:
            return True
        if self.spoilt:
            raise self.mismatch()
        self.stream.note_demand(start, stop)
        last = stop >= self.stream.size
        return self.stream.has(start, stop) and not (last and self.stream.complete)
