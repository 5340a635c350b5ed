"""One client root, opened for its account, and the way to its servers: what a mount and a program share.

Must not know FUSE, nor who uses it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import trio

from .cache.state import root_label
from .cache.store import Store
from .core.trash import DAYS
from .errors import ConfigError
from .remote.address import is_loopback
from .remote.oaio import HttpOaioServer
from .transfer.hosts import Hosts
from .transfer.traffic import Traffic


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose objects a client root holds: *user*'s at *server* (its URL). *login* is who signs in for that.

    That is the user, '' for short, or a superuser who acts for them.
    """

    user: str
    server: str
    login: str = ""

    def __str__(self) -> str:
        return f"{self.user} at {self.server}"


@dataclass(frozen=True, slots=True)
class Access:
    """How the servers are reached. *url* is the oaio server's where that is not how the owner's server is called.

    *storage_urls* (csh id: base URL) say where storage hosts are that are not where their drivers look. *insecure*:
    plain http may go to another machine.
    """

    password: str = field(repr=False)
    storage_urls: Mapping[str, str] = field(default_factory=dict)
    insecure: bool = False
    url: str = ""


def owner_of(client_root: Path) -> Owner | None:
    """Read from the client root's label, whoever uses it now; None for one without owner, or without a label."""
    label = root_label(client_root)
    user, separator, server = label.get("account", "").partition(" ")
    return Owner(user, server, label.get("login", "")) if separator else None


def signature_of(client_root: Path) -> tuple[str, str]:
    """Application and storage host of new objects, as the last mount or program had them; '' where not known."""
    label = root_label(client_root)
    return label.get("app_id", ""), label.get("csh_id", "")


def open_root(
    client_root: Path, owner: Owner, *, device_id: str, app_id: str, csh_id: str,
    trash_days: float | None = None, local_only: Sequence[str] | None = None,
) -> Store:  # fmt: skip
    """The client root, which belongs to one account and keeps the device id that it began with.

    *trash_days* and *local_only* None leave it as the last mount had it. Raises Busy while a mount or another program
    has it open, ConfigError when it belongs to another account, and StateError.
    """
    store = Store(client_root, local_only=local_only, steady_clock=trio.current_time)
    try:
        check_owner(store, owner)
    except ConfigError:
        store.close(clean=store.state.clean)  # as it was found: recovering is for its owner's next mount
        raise
    claim(store, owner, device_id=device_id, app_id=app_id, csh_id=csh_id)
    if local_only is not None:
        store.keep_local_only()
    if trash_days is not None or store.state.meta("trash_days") is None:
        store.state.set_meta("trash_days", repr(DAYS if trash_days is None else trash_days))
    return store


def check_owner(store: Store, owner: Owner) -> None:
    """Raises ConfigError for a client root that holds the objects of another account."""
    known = store.state.meta("account")
    if known not in (None, _account(owner)):
        user, _, server = (known or "").partition(" ")
        raise ConfigError(
            f"{store.files.root} holds the objects of {Owner(user, server)}: give {owner} another --client-root"
        )


def claim(store: Store, owner: Owner, *, device_id: str, app_id: str, csh_id: str) -> None:
    """Make the client root the owner's. It keeps the device id that it began with."""
    store.state.set_meta("account", _account(owner))
    store.state.set_meta("login", owner.login or owner.user)
    if store.state.meta("device_id") is None:
        store.state.set_meta("device_id", device_id)
    store.state.set_meta("app_id", app_id)  # for objects that commands make without a mount
    store.state.set_meta("csh_id", csh_id)


def _account(owner: Owner) -> str:
    return f"{owner.user} {owner.server}"


@asynccontextmanager
async def connected(
    owner: Owner, access: Access, *, device_id: str, app_id: str, traffic: Traffic
) -> AsyncIterator[tuple[HttpOaioServer, Hosts]]:
    """A session at the oaio server and its storage hosts, for as long as the block runs; nothing is asked yet."""
    url = access.url or owner.server
    server = HttpOaioServer(
        url, owner.login or owner.user, access.password, device_id=device_id, app_id=app_id, insecure=access.insecure,
        acting_for=owner.user,
    )  # fmt: skip
    here = is_loopback(urlsplit(url).hostname or "")
    hosts = Hosts(server, access.storage_urls, insecure=access.insecure, here=here, traffic=traffic)
    try:
        yield server, hosts
    finally:
        await hosts.aclose()
        await server.aclose()
