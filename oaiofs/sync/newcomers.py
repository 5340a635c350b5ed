"""Objects never seen here, whose listing is all there is to know of them: shown at once, however many.

The others need their version's files from a storage host first: they are steps of the plan, a few at a time, and shown
when their directory is whole. Must not know how an object is taken in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container

import trio

from ..core.model import OaioId
from .sight import Sight
from .trouble import Subject, Troubles


async def show(
    seen: Sight, trouble: Troubles, busy: Container[Subject], adopt: Callable[[OaioId], Awaitable[None]]
) -> None:
    """Take in those without attached files. What goes wrong with one is told by the step that tries it again."""
    for oaio_id in list(seen.unknown):
        remote = seen.moved.get(oaio_id)
        if remote is None or remote.file_paths or oaio_id in busy or trouble.left(oaio_id) > 0:
            continue
        try:
            await adopt(oaio_id)
        except Exception:  # noqa: S112 - whatever it is: its step meets it too, and reports it
            continue
        await trio.lowlevel.checkpoint()  # programs are not to wait for all of them
