"""What commands ask of a client root: the same answers from its running mount and, without one, from the command.

Each verb is one function from a ``Place`` and the request's arguments to a JSON object. A mount offers every one of
``VERBS`` at its control socket; without a mount the command opens the client root itself (``direct``) for as long as
the verb takes. Must not know the socket, the command line or FUSE.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import trio

from ..cache.store import Store
from ..transfer.history import History
from ..transfer.sharing import Sharing
from . import adding, check, compare, conflicts, copies, history, objects, removing, sharing, trash, values

__all__ = ["ASKING", "VERBS", "Place", "Verb"]


def _nobody_looks(_parent: int, _name: str) -> None:
    """Without a mount no kernel remembers any name."""


def _nobody_syncs(_key: int) -> bool:
    """Nor is anything sent."""
    return False


def _nobody_confirms() -> None:
    """Nor what this machine's clock says."""


@dataclass(frozen=True, slots=True)
class Place:
    """One open client root. *announce* tells the kernel, if there is one, which names mean something else now.

    *hydrate* brings the bytes of an inode here, *fetch* gives those of a stored file (``csh_id/oaio_id/stamp/path``) up
    to a number of bytes, *history* knows old versions, *sharing* who else uses an object: all None where no server is
    to be asked, all raise RemoteError. *busy*: an object is being synced. *state_of*: an object's state in a word,
    where that is known. *time*: that of the wall clock as far as a server confirmed it, None where none did.
    """

    store: Store
    device_id: str
    announce: Callable[[int, str], None] = _nobody_looks
    hydrate: Callable[[int], Awaitable[None]] | None = None
    fetch: Callable[[str, int], Awaitable[bytes]] | None = None
    history: History | None = None
    sharing: Sharing | None = None
    state_of: Callable[[int], str] | None = None
    busy: Callable[[int], bool] = _nobody_syncs
    time: Callable[[], float | None] = _nobody_confirms
    read_only: bool = False
    mounted: bool = False
    trash_lock: trio.Lock = field(default_factory=trio.Lock)


#: Runs on the trio thread; raises OaiofsError for the caller to see.
Verb: TypeAlias = Callable[[Place, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]

#: Every verb by the name that requests call it.
VERBS: Mapping[str, Verb] = {
    "check": check.run,
    **adding.VERBS,
    **compare.VERBS,
    **conflicts.VERBS,
    **copies.VERBS,
    **history.VERBS,
    **objects.VERBS,
    **removing.VERBS,
    **sharing.VERBS,
    **trash.VERBS,
    **values.VERBS,
}
#: Verbs that have to ask the servers.
ASKING = frozenset({*compare.VERBS, *history.VERBS, *sharing.VERBS})
