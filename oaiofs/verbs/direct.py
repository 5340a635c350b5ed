"""Verbs without a mount: the command opens the client root itself, and reaches the servers where the verb asks them.

Must not know the command line, nor where a password comes from.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from ..cache.recover import recover
from ..cache.store import Store
from ..errors import OaiofsError
from . import Place, Verb, check

if TYPE_CHECKING:
    from ..session import Access, Owner

#: Verbs that want to see what the last process left, before anything is mended.
_AS_FOUND: tuple[Verb, ...] = (check.run,)


async def directly(
    client_root: Path, verb: Verb, arguments: Mapping[str, Any], *, reach: tuple[Owner, Access] | None = None
) -> Mapping[str, Any]:
    """Do *verb* on a client root that no mount uses. Raises Busy where one does, StateError, and what the verb raises.

    Changes that it makes here go to the servers with the next mount. *reach* tells how the servers are asked
    meanwhile; without it none is.
    """
    store = Store(client_root, steady_clock=trio.current_time)
    ended_in_order = False
    try:
        if verb not in _AS_FOUND or store.state.rebuild:
            recover(store)
        if reach is None:
            answer = await verb(_alone(store), arguments)
        else:
            async with _reaching(store, *reach) as place:
                answer = await verb(place, arguments)
        ended_in_order = True
        return answer
    except OaiofsError:
        ended_in_order = True  # a refusal is an answer too
        raise
    finally:
        store.close(clean=ended_in_order and store.state.clean)


def _alone(store: Store) -> Place:
    return Place(store, store.state.meta("device_id") or "unknown")


@asynccontextmanager
async def _reaching(store: Store, owner: Owner, access: Access) -> AsyncIterator[Place]:
    """A place with its servers, for as long as the block runs. Raises ConfigError where it is another account's."""
    from .. import session  # HTTP takes as long to come as all the rest: not for who asks no server
    from ..transfer import Transfer
    from ..transfer.traffic import Traffic

    session.check_owner(store, owner)
    meta = store.state.meta
    device_id, app_id, csh_id = meta("device_id") or "unknown", meta("app_id") or "oaiofs", meta("csh_id") or "Digi"
    failed: OaiofsError | None = None
    async with (
        session.connected(owner, access, device_id=device_id, app_id=app_id, traffic=Traffic()) as (server, hosts),
        trio.open_nursery() as nursery,
    ):
        transfer = Transfer(
            store, server, hosts, username=owner.user, device_id=device_id, app_id=app_id, csh_id=csh_id
        )
        downloads = transfer.downloads
        downloads.bind(nursery)
        try:
            yield Place(
                store, device_id, hydrate=downloads.hydrate, fetch=downloads.fetch, history=transfer.history,
                sharing=transfer.sharing,
            )  # fmt: skip
        except OaiofsError as error:  # as it is, not in a group
            failed = error
        nursery.cancel_scope.cancel()
    if failed is not None:
        raise failed
