"""The door of the server package: run a server on a data directory, and manage its accounts.

Must not know the command line (prints nothing, asks nothing). Django and waitress are imported on the first call; where
they are missing each function raises ``errors.UsageError`` with the command that installs them. The account functions
may be used while a server runs on the same data, from this process or another.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from .. import errors
from .site import MAX_OBJECT_SIZE, allow_hosts, open_site, serving_site

if TYPE_CHECKING:
    from .models import StorageAccount

#: The storage host that every server has: on itself, for all users.
DEFAULT_CSH_ID = "Digi"
DEFAULT_EMAIL = "storage@oaiofs.localhost"
DEFAULT_ROOT_FOLDER = "/oaio"

_LONGEST_NAME = 150
_THREADS = 8
#: Bytes of one request: ``intake`` knows better.
_MAX_BODY = 1 << 50


class Account(NamedTuple):
    """A user of the server."""

    name: str
    superuser: bool


def run(
    data: Path,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    sock: socket.socket | None = None,
    allowed_hosts: Sequence[str] = (),
    ready: Callable[[str, int], None] | None = None,
    max_object_size: int = MAX_OBJECT_SIZE,
    trusted_proxy: str | None = None,
) -> None:
    """Serve *data* until SIGTERM or SIGINT, then return (in the main thread; elsewhere it never ends).

    Listens on *host* and *port* (0: any free one) or on *sock*, which must be bound and is closed at the end.
    *ready* is called with host and port once requests are accepted. *allowed_hosts* are the names, beyond loopback's
    and *host*, under which clients reach the server. *trusted_proxy* is the address of a reverse proxy whose
    X-Forwarded-For, -Proto and -Host are believed. Raises UsageError, Busy where another server runs on *data*,
    StateError where *data* or the address can't be used.
    """
    with serving_site(data) as place, contextlib.ExitStack() as stack:
        _empty(place.spool)
        _forget_old_sessions()
        _ensure_default_storage()
        listener = sock or _listen(host, port)
        stack.enter_context(listener)
        address, bound_port = listener.getsockname()[:2]
        allow_hosts([*allowed_hosts, *_names_of(address)], max_object_size)
        stack.enter_context(_spooling_to(place.spool))
        channel = _channel_class(place.spool, max_object_size)
        _serve(listener, channel, trusted_proxy, lambda: ready(address, bound_port) if ready else None)


def add_user(data: Path, name: str, password: str, superuser: bool = False) -> None:
    """Add a user; one that exists without a password (made by somebody's share) gets this one.

    Raises Exists, UsageError for an impossible name or an empty password.
    """
    if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
        raise errors.UsageError(f"A user name has 1 to {_LONGEST_NAME} printable characters.")
    if not password:
        raise errors.UsageError("The password is empty.")
    with open_site(data):
        from django.contrib.auth.models import User
        from django.db import transaction

        _ensure_default_storage()
        with transaction.atomic():
            user = User.objects.filter(username=name).first() or User(username=name)
            if user.pk is not None and user.has_usable_password():
                raise errors.Exists(f"There is a user {name} already.")
            user.set_password(password)
            user.is_superuser = superuser
            user.save()


def set_password(data: Path, name: str, password: str) -> None:
    """Change a user's password; their sessions end. Raises NotFound, UsageError for an empty password."""
    if not password:
        raise errors.UsageError("The password is empty.")
    with open_site(data):
        from django.contrib.auth.models import User

        user = User.objects.filter(username=name).first()
        if user is None:
            raise errors.NotFound(f"There is no user {name}.")
        user.set_password(password)
        user.save()


def delete_user(data: Path, name: str) -> None:
    """Remove a user with the objects they created, their subscriptions and log entries; stored files stay.

    Raises NotFound.
    """
    with open_site(data):
        from .objects import wipe

        if not wipe(name):
            raise errors.NotFound(f"There is no user {name}.")


def list_users(data: Path) -> list[Account]:
    """All users by name."""
    with open_site(data):
        from django.contrib.auth.models import User

        return [Account(*row) for row in User.objects.order_by("username").values_list("username", "is_superuser")]


def add_storage(
    data: Path,
    csh_id: str,
    email: str,
    password: str,
    root_folder: str,
    base_url: str | None = None,
    user: str | None = None,
    quota: int | None = None,
) -> None:
    """Set which storage account ``csh_args/<csh_id>`` hands out: to *user*, or to all users without an own one.

    Without *base_url* it is an account on this server's own storage host, made where needed, with *quota* in bytes
    (None: as much as the disk holds; password and quota of an existing account are changed); users get logins of their
    own to it, with which each reaches what their rights allow, while *email* and *password* open all of it, for tools
    of the administrator's. With *base_url* it is one elsewhere (https://digistorage.es for Digi's own): its password is
    kept in clear in the server's database, because all users get it in clear. Raises NotFound for an unknown *user*,
    UsageError for missing words.
    """
    for what, value in (("csh id", csh_id), ("email", email), ("password", password)):
        if not value:
            raise errors.UsageError(f"The {what} of the storage account is empty.")
    if quota is not None and quota < 0:
        raise errors.UsageError("The quota can't be less than 0 bytes.")
    with open_site(data):
        from django.contrib.auth.models import User
        from django.db import transaction

        from .storage.logins import is_users

        if not base_url and is_users(email):
            raise errors.UsageError("An email like this is a user's login to the storage host: choose another one.")
        with transaction.atomic():
            owner = User.objects.filter(username=user).first() if user is not None else None
            if user is not None and owner is None:
                raise errors.NotFound(f"There is no user {user}.")
            if not base_url:
                _set_account(email, password, quota)
            _set_host(csh_id, owner, email, password if base_url else "", root_folder, base_url or "")


def _set_host(csh_id: str, owner: Any, email: str, password: str, root_folder: str, base_url: str) -> None:
    from .models import StorageHost

    values = {"email": email, "password": password, "root_folder": root_folder, "base_url": base_url.rstrip("/")}
    StorageHost.objects.update_or_create(csh_id=csh_id, user=owner, defaults=values)


def _set_account(email: str, password: str | None, quota: int | None) -> StorageAccount:
    """Make or change an account on this server; *password* None: only users' logins open it."""
    from django.contrib.auth.hashers import make_password

    from .models import StorageAccount

    account = StorageAccount.objects.filter(email=email).first()
    if account is None:
        account = StorageAccount(email=email, directory=str(uuid.uuid4()))
    account.password_hash = make_password(password)
    account.quota = quota
    account.save()
    return account


def _ensure_default_storage() -> None:
    from django.db import transaction

    from .models import StorageHost

    with transaction.atomic():
        if not StorageHost.objects.filter(csh_id=DEFAULT_CSH_ID, user=None).exists():
            _set_account(DEFAULT_EMAIL, None, None)
            _set_host(DEFAULT_CSH_ID, None, DEFAULT_EMAIL, "", DEFAULT_ROOT_FOLDER, "")


def _empty(spool: str) -> None:
    """Remove what a crash left on its way; the server's lock is held, so nobody else is at work here."""
    for entry in os.scandir(spool):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)


def _forget_old_sessions() -> None:
    from django.contrib.sessions.backends.db import SessionStore

    SessionStore.clear_expired()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise errors.StateError(f"The server can't listen on {host}, port {port}: {error.strerror}.") from error


def _names_of(address: str) -> list[str]:
    if address in ("0.0.0.0", "::"):  # noqa: S104 - all addresses: which names that makes, only the user knows
        return []
    return [f"[{address}]" if ":" in address else address]


@contextlib.contextmanager
def _spooling_to(folder: str) -> Iterator[None]:
    """Let request bodies be spooled in *folder*: waitress knows tempfile's default place only, often memory."""
    before = tempfile.tempdir
    tempfile.tempdir = folder
    try:
        yield
    finally:
        tempfile.tempdir = before


def _channel_class(spool: str, max_object_size: int) -> type[Any]:
    from .intake import House, channel_class
    from .storage.accounts import is_known
    from .waiting import patient

    return patient(channel_class(House(max_object_size, spool, is_known)))


def _serve(listener: socket.socket, channel: type[Any], trusted_proxy: str | None, ready: Callable[[], None]) -> None:
    from django.core.wsgi import get_wsgi_application
    from waitress.server import create_server

    from .waiting import putting_aside

    proxied = {
        "trusted_proxy": trusted_proxy,
        "trusted_proxy_headers": "x-forwarded-for x-forwarded-proto x-forwarded-host",
    }
    sockets: dict[int, Any] = {}
    server = create_server(
        putting_aside(get_wsgi_application()),
        map=sockets,
        sockets=[listener],
        threads=_THREADS,
        ident="oaiofs",
        asyncore_use_poll=True,
        connection_limit=1000,
        recv_bytes=256 * 1024,
        max_request_body_size=_MAX_BODY,
        log_socket_errors=False,
        **(proxied if trusted_proxy else {}),
    )
    server.channel_class = channel
    try:
        with _ending_on_signals():
            ready()
            # waitress lets the requests at work finish on SystemExit
            server.run()
    except SystemExit:
        server.task_dispatcher.shutdown()
    finally:
        for channel in list(sockets.values()):
            channel.close()


@contextlib.contextmanager
def _ending_on_signals() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(signum: int, frame: object) -> NoReturn:
        raise SystemExit(0)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
