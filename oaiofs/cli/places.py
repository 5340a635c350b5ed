"""Which client root a command is about, and how it is reached: through its running mount, or without one directly."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .. import config, control, errors
from . import logs, terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..session import Access, Owner

_Function = TypeVar("_Function", bound="Callable[..., Any]")


def place_options(function: _Function) -> _Function:
    """The options ``--mountpoint`` and ``--client-root``, which ``ask`` takes as they come."""
    place = click.Path(path_type=Path)
    function = click.option("--mountpoint", type=place, metavar="M", help="Which running mount is meant.")(function)
    return click.option("--client-root", type=place, metavar="DIR", help="Which client root, mounted or not.")(function)


def account_options(function: _Function) -> _Function:
    """The options that tell whose account is meant, as ``config.account`` takes them."""
    say = click.option("--insecure", is_flag=True, default=None, help="The server is another machine, over plain http.")
    function = say(function)
    function = click.option("--user", metavar="NAME", help="Your user name there.")(function)
    return click.option("--server", metavar="HOST", help="The oaio server: host[:port] or a URL.")(function)


def ask(
    verb: str, *, path: Path | None = None, mountpoint: Path | None = None, client_root: Path | None = None,
    **arguments: Any,
) -> dict[str, Any]:
    """The answer to *verb*: of the mount meant by the first that is given, else of the only one that runs.

    Where nothing is mounted, of the client root itself: the one given, else the known account's. Raises what the verb
    raises, NotMounted where *path* or *mountpoint* name no running mount and where there is no client root either.
    """  # fmt: skip
    mount = mount_of(client_root) if client_root else _running(path, mountpoint)
    if mount is not None:
        return control.call(mount, verb, **arguments)
    return _directly(client_root or _known_root(), verb, arguments)


def inside(mount: control.RunningMount, path: Path) -> str | None:
    """What *path* is called from the mountpoint on, '' for the mountpoint itself; None where it is not in the mount."""
    for candidate in (Path(os.path.abspath(path)), control.resolve(path)):
        if candidate.is_relative_to(mount.mountpoint):
            relative = candidate.relative_to(mount.mountpoint)
            return str(relative) if relative.parts else ""
    return None


def named(
    words: Sequence[str], mountpoint: Path | None, client_root: Path | None
) -> tuple[list[tuple[str, str | None]], Path | None]:
    """Each word with the path in its mount, if it is one; and a word that tells which mount is meant."""
    mounts = [] if client_root is not None else control.running()
    if mountpoint is not None:
        mounts = [control.find(mountpoint=mountpoint)]
    found: list[tuple[str, str | None]] = []
    within: Path | None = None
    for word in words:
        path = next((path for mount in mounts if (path := inside(mount, Path(word))) is not None), None)
        found.append((word, path))
        if path is not None and within is None:
            within = Path(word)
    return found, within


def ask_about(
    verb: str, oaio: str, mountpoint: Path | None, client_root: Path | None, **arguments: Any
) -> dict[str, Any]:
    """The answer to a *verb* about one object, however it is named. Raises as ``ask`` does."""
    words, within = named((oaio,), mountpoint, client_root)
    return ask(verb, path=within, mountpoint=mountpoint, client_root=client_root, word=words[0], **arguments)


def mount_of(client_root: Path) -> control.RunningMount | None:
    """The running mount of a client root."""
    wanted = client_root.expanduser().resolve()
    return next((mount for mount in control.running() if mount.client_root.resolve() == wanted), None)


def _running(path: Path | None, mountpoint: Path | None) -> control.RunningMount | None:
    try:
        return control.find(path, mountpoint)
    except errors.NotMounted:
        if path is not None or mountpoint is not None:
            raise
        return None


def _known_root() -> Path:
    try:
        return config.client_root({})
    except errors.UsageError as error:
        raise errors.NotMounted(
            f"No oaiofs mount is running, and which client root is meant is not known: name it with --client-root. "
            f"({error})"
        ) from None


def _directly(client_root: Path, verb: str, arguments: dict[str, Any]) -> dict[str, Any]:
    import trio

    from ..verbs import ASKING, VERBS
    from ..verbs.direct import directly

    _check_root(client_root)
    reach = _reach(client_root) if verb in ASKING else None
    logs.of_command()
    answer = trio.run(functools.partial(directly, client_root.absolute(), VERBS[verb], arguments, reach=reach))
    return dict(answer)


def _check_root(client_root: Path) -> None:
    if not any((client_root / name).exists() for name in ("state.db", "root.json")):
        raise errors.NotMounted(f"No oaiofs mount is running, and {client_root} is no client root of oaiofs.")


def synchronize(client_root: Path, timeout: float | None, *, confirmed: bool) -> None:
    """Make everything the same here and on the servers, without a mount. Raises as ``OaioClient`` does, Unreachable."""
    import trio

    from ..client import OaioClient
    from ..session import signature_of

    _check_root(client_root)
    owner, access = _reach(client_root)
    app_id, csh_id = signature_of(client_root)
    credentials = {"username": owner.login or owner.user, "password": access.password}

    async def run() -> None:
        async with OaioClient(
            owner.server, credentials, app_id or "oaiofs", csh_default_id=csh_id or "Digi", client_root=client_root,
            storage_urls=access.storage_urls, insecure=access.insecure, acting_for=owner.user,
        ) as client:  # fmt: skip
            if not await client.synchronize_with_server_if_online(timeout, confirmed=confirmed):
                raise errors.Unreachable(client.why_offline)

    logs.of_command(but="oaiofs.sync")  # what that warns of is raised as well
    trio.run(run)


def _reach(client_root: Path) -> tuple[Owner, Access]:
    """How the servers of the client root's account are reached. Raises NotMounted, Unauthorized, ConfigError."""
    from ..session import Access, owner_of

    owner = owner_of(client_root)
    if owner is None:
        raise errors.NotMounted(f"{client_root} does not tell whose it is, so no server can be asked: mount it once.")
    who, options = config.account({"server": owner.server, "user": owner.login or owner.user})
    secret = config.password(who, options, ask=terminal.ask())
    return owner, Access(secret.reveal(), options.storage_urls or {}, bool(options.insecure))
