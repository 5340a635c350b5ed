"""Programs that wait in the mount for the network, and whether they have been told to end meanwhile.

pyfuse3 3.5 hands no FUSE_INTERRUPT on, and the kernel keeps a program in its call, even a killed one, until the answer
comes (request_wait_answer in its fs/fuse/dev.c). So while a call waits, the signals that its caller has not taken yet
are looked at: SigPnd, ShdPnd and SigBlk in proc_pid_status(5). Must not know what is waited for.
"""

from __future__ import annotations

import contextlib
import errno
import signal
from collections.abc import Iterator

import trio

_INTERVAL = 0.1
_MOST_AT_ONCE = 100  # so that to look at very many takes no time from others
_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL, signal.SIGTERM)
_ENDING = sum(1 << number - 1 for number in _SIGNALS)  # as the masks in /proc have them


class Callers:
    """The calls that wait now."""

    def __init__(self) -> None:
        self._waiting: dict[trio.CancelScope, int] = {}
        self._arrival = trio.Event()
        self._over = False

    @contextlib.contextmanager
    def waiting(self, thread: int) -> Iterator[None]:
        """The block works for *thread*, the kernel's number of who called.

        Raises InterruptedError when that one is told to end.
        """
        with trio.CancelScope() as scope:
            self._waiting[scope] = thread
            if self._over:
                scope.cancel()
            self._arrival.set()
            try:
                yield
            finally:
                del self._waiting[scope]
        if scope.cancelled_caught:
            raise InterruptedError(errno.EINTR, "whoever waited for this was ended")

    def give_up(self) -> None:
        """The mount ends: nobody waits any longer."""
        self._over = True
        for scope in self._waiting:
            scope.cancel()

    async def watch(self) -> None:
        """Give up the calls of those who are ended, until cancelled."""
        while True:
            if not self._waiting:
                self._arrival = trio.Event()
                await self._arrival.wait()
            await trio.sleep(_INTERVAL)
            for number, (scope, thread) in enumerate(list(self._waiting.items()), 1):
                if is_ending(thread):
                    scope.cancel()
                if number % _MOST_AT_ONCE == 0:
                    await trio.sleep(_INTERVAL)


def is_ending(thread: int) -> bool:
    """True when *thread* was sent a signal that ends programs and has not taken it yet."""
    try:
        with open(f"/proc/{thread}/status", "rb") as status:
            masks = dict(line.split(b":\t", 1) for line in status if line.startswith((b"Sig", b"Shd")))
    except OSError:  # of another process namespace, or gone
        return False
    pending = int(masks[b"SigPnd"], 16) | int(masks[b"ShdPnd"], 16)
    return bool(pending & ~int(masks[b"SigBlk"], 16) & _ENDING)
