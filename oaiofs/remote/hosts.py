"""Which driver reaches a storage host: the one place that knows all of them.

Must not know how any of them works, nor where the account came from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import errors
from .address import foreign_url, is_loopback
from .koofr import BASE_URLS, KoofrHost

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..core.model import StorageAccount
    from .contract import StorageHost
    from .http import Surroundings


def open_storage(
    account: StorageAccount,
    overrides: Mapping[str, str],
    *,
    insecure: bool = False,
    here: bool = True,
    surroundings: Surroundings | None = None,
) -> StorageHost:
    """The storage host of *account*; nothing is sent yet.

    *overrides* are base URLs by csh id (``--storage-url``), which win over the account's own ``base_url``, which wins
    over the driver's default. An id that is no known driver's is taken for a Koofr-compatible host where such an
    address is given, else raises Unsupported. Raises ConfigError for an address that can't be used: that is also one on
    this machine which only the account names, unless the server that handed it out is *here* too. Such a server means
    its own machine, and requests would go to whatever program listens on this one.
    """
    base_url = overrides.get(account.csh_id) or account.arguments.get("base_url")
    if base_url and not (here or account.csh_id in overrides) and is_loopback(foreign_url(base_url).hostname or ""):
        raise errors.ConfigError(
            f"The server says that the storage {account.csh_id} is on this machine, which it can't know: name its "
            f"address with --storage-url {account.csh_id}=URL."
        )
    if account.csh_id not in BASE_URLS and not base_url:
        raise errors.Unsupported(
            f"The storage {account.csh_id!r} is of a kind that oaiofs can't use (it knows {', '.join(BASE_URLS)}): "
            f"if it speaks Koofr's interface, name its address with --storage-url {account.csh_id}=URL."
        )
    return KoofrHost(account, base_url=base_url, insecure=insecure, surroundings=surroundings)
