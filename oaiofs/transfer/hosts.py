"""Storage hosts by csh id, each opened with what the oaio server hands out, once, and kept while it accepts us.

Must not know what is stored. Credentials live in memory only, in the hosts themselves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import trio

from ..core.model import StorageAccount
from ..errors import RemoteNotFound, Unsupported
from ..remote import hosts
from ..remote.contract import OaioServer, StorageHost
from .metered import MeteredHost
from .traffic import Traffic


class Hosts:
    """Opens hosts at the first call. *storage_urls* point csh ids at other base URLs, *here* as in ``open_storage``.

    Their transfers are reported to *traffic*, which holds them up where there is a limit.
    """

    def __init__(
        self,
        server: OaioServer,
        storage_urls: Mapping[str, str],
        *,
        insecure: bool = False,
        here: bool = True,
        traffic: Traffic | None = None,
    ) -> None:
        self._server = server
        self._storage_urls = storage_urls
        self._insecure = insecure
        self._here = here
        self.traffic = traffic or Traffic()
        self._open: dict[str, StorageHost] = {}
        self._opening: defaultdict[str, trio.Lock] = defaultdict(trio.Lock)

    async def __call__(self, csh_id: str) -> StorageHost:
        """The host of *csh_id*. Raises Unsupported for one that nobody here knows, and what the server raises."""
        if csh_id not in self._open:
            async with self._opening[csh_id]:  # others need not wait for what the server says of this one
                if csh_id not in self._open:
                    account = await self._account(csh_id)
                    self._open[csh_id] = MeteredHost(self._connect(account), csh_id, self.traffic)
        return self._open[csh_id]

    async def _account(self, csh_id: str) -> StorageAccount:
        try:
            return await self._server.storage_account(csh_id)
        except RemoteNotFound:
            raise Unsupported(f"the server has no storage account {csh_id!r} for you") from None

    def _connect(self, account: StorageAccount) -> StorageHost:
        return hosts.open_storage(account, self._storage_urls, insecure=self._insecure, here=self._here)

    async def forget(self) -> None:
        """See ``contract.OpenHost``."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        hosts_open, self._open = self._open, {}
        for host in hosts_open.values():
            await host.aclose()
