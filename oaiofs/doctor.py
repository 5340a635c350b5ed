"""What ``oaiofs doctor`` looks at: all that has to be right before a mount can work, with what to do where it is not.

From this machine outwards: FUSE, what is mounted, settings, the client root, the password, the oaio server, the storage
hosts. What can't be looked at because of something before is left out. Changes nothing. Must not know how findings are
shown.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import queue
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import trio

from . import clientroots, config, control, mountinfo, session
from .config import Options
from .credentials import Secret
from .errors import NotMounted, OaiofsError
from .remote.contract import OpenHost
from .session import Access, Owner
from .transfer.traffic import Traffic

State = Literal["ok", "note", "wrong"]

#: Seconds that a mount has for its status, and to be looked at, and the servers for each answer.
_MOUNT_TIMEOUT = 10.0
_LOOK_TIMEOUT = 3.0
_SERVER_TIMEOUT = 30.0
#: A disk with less room than this is soon full.
_LITTLE_ROOM = 256 << 20
#: What is for some users only: the module, its name in ``pip install oaiofs[NAME]``, and what it is good for.
_EXTRAS = (
    ("keyring", "keyring", "passwords in the desktop's keyring"),
    ("rich", "ui", "bars and colours on a terminal"),
    ("django", "server", "your own server, and `oaiofs demo`"),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """*what* was looked at and what it *says*: in order, worth knowing, or wrong; then *do* is what helps."""

    what: str
    state: State
    says: str
    do: str = ""


def look(flags: Mapping[str, Any], ask: Callable[[str], str] | None) -> Iterator[Finding]:
    """All findings, one by one as they are made, for the account that *flags* or the settings mean. Blocks."""
    yield from _system()
    yield from _mounts()
    try:
        who, options = config.account(flags)
        root = config.client_root(flags)
    except OaiofsError as error:
        yield Finding("account", "wrong", str(error))
        return
    owner = Owner(options.acting_for or who.user, who.server, who.user)
    yield Finding("account", "ok", f"{owner}, device {options.device_id or clientroots.default_device_id()}")
    yield from _client_root(root, owner)
    try:
        secret = config.password(who, options, ask=ask)
    except OaiofsError as error:
        yield Finding("password", "wrong", str(error))
        return
    yield from trio.run(_servers, owner, secret, options)


# -- this machine --------------------------------------------------------------------------------------------


def _system() -> Iterator[Finding]:
    yield Finding("system", "ok", f"Linux {platform.release()}, Python {platform.python_version()}, {sys.prefix}")
    problem = mountinfo.obstacle()
    if problem:
        yield Finding("FUSE", "wrong", problem)
    else:
        yield Finding("FUSE", "ok", "/dev/fuse can be used")
    for module, extra, purpose in _EXTRAS:
        if importlib.util.find_spec(module) is None:
            yield Finding(module, "note", f"not installed: {purpose}", f"`pip install oaiofs[{extra}]`")


def _mounts() -> Iterator[Finding]:
    running = {mount.mountpoint: mount for mount in control.running()}
    for mount in running.values():
        yield _mount(mount)
    for mounted in mountinfo.of_oaiofs():
        if mounted.mountpoint not in running:
            yield from _strange_mount(mounted.mountpoint)


def _strange_mount(mountpoint: Path) -> Iterator[Finding]:
    """What is wrong with a mount that has no socket where we look: another session's, another user's, or a dead one."""
    answers: queue.SimpleQueue[bool] = queue.SimpleQueue()
    look = threading.Thread(target=lambda: answers.put(_is_dead(mountpoint)), daemon=True)  # it may hang for ever
    look.start()
    try:
        dead = answers.get(timeout=_LOOK_TIMEOUT)
    except queue.Empty:
        advice = f"see what its process waits for, or end it and `umount -l {mountpoint}`"
        yield Finding(str(mountpoint), "wrong", "mounted, but whoever looks into it hangs", advice)
        return
    if dead:
        advice = f"`oaiofs umount {mountpoint}`, or mount it again; what was not sent yet is kept"
        yield Finding(str(mountpoint), "wrong", "left by a mount whose process is gone", advice)


def _mount(mount: control.RunningMount) -> Finding:
    place = str(mount.mountpoint)
    try:
        status = control.call(mount, "status", _MOUNT_TIMEOUT)
    except NotMounted:
        return Finding(place, "note", "it was just ending")
    except OaiofsError as error:
        return Finding(place, "wrong", f"mounted, but it does not answer: {error}", f"its process is {mount.pid}")
    problems = len(status.get("errors", ())) + int(status.get("conflicts", 0))
    online = bool(status.get("online"))
    state = f"{'online' if online else 'offline'}, changes to be sent: {status.get('pending', 0)}"
    if problems or not online:
        return Finding(place, "note", f"mounted, {state}, errors and conflicts: {problems}", f"`oaiofs status {place}`")
    return Finding(place, "ok", f"mounted, {state}")


def _is_dead(mountpoint: Path) -> bool:
    try:
        return mountinfo.is_dead(mountpoint)
    except OSError:
        return False  # another user's, or just taken away


def _client_root(root: Path, owner: Owner) -> Iterator[Finding]:
    try:
        clientroots.check_not_foreign(root)
        clientroots.check_no_cache(root)
    except OaiofsError as error:
        yield Finding("client root", "wrong", str(error))
        return
    there = next(folder for folder in (root, *root.parents) if folder.exists())
    if not os.access(there, os.R_OK | os.W_OK | os.X_OK):
        yield Finding("client root", "wrong", f"{there} can't be written to", "choose another --client-root")
        return
    known = session.owner_of(root)
    if known is not None and (known.user, known.server) != (owner.user, owner.server):
        yield Finding("client root", "wrong", f"{root} holds the objects of {known}", "choose another --client-root")
        return
    free = shutil.disk_usage(there).free
    says = f"{root}, {free >> 20} MiB free{'' if there == root else '; the first mount makes it'}"
    if free < _LITTLE_ROOM:
        yield Finding("client root", "note", says, "make room on that disk: changes are refused when it is full")
    else:
        yield Finding("client root", "ok", says)


# -- the servers ---------------------------------------------------------------------------------------------


async def _servers(owner: Owner, secret: Secret, options: Options) -> list[Finding]:
    access = Access(secret.reveal(), options.storage_urls or {}, bool(options.insecure))
    device_id, app_id = options.device_id or clientroots.default_device_id(), options.app_id or "oaiofs"
    connected = session.connected(owner, access, device_id=device_id, app_id=app_id, traffic=Traffic())
    async with connected as (server, hosts):
        try:
            with trio.fail_after(_SERVER_TIMEOUT):
                await server.login()
                await server.current_stamp()
                listing = await server.list_objects()
        except (OaiofsError, trio.TooSlowError) as error:
            return [Finding("server", "wrong", _said(error), "mounts work offline: what is changed goes out later")]
        kind = "checks what a new version was made from" if server.checks_base else "takes the last writer's version"
        objects = f"{owner.server} has {len(listing.objects)} objects for {owner.user}, and {kind}"
        used = sorted({one.csh_id for one in listing.objects} | {options.csh_id or "Digi"})
        return [
            Finding("server", "ok", objects),
            *(Finding("server", "note", f"an object is left out: {one.what}", one.why) for one in listing.skipped),
            *[await _storage(csh_id, hosts) for csh_id in used],
        ]


async def _storage(csh_id: str, hosts: OpenHost) -> Finding:
    what = f"storage {csh_id}"
    try:
        with trio.fail_after(_SERVER_TIMEOUT):
            quota = await (await hosts(csh_id)).quota()
    except (OaiofsError, trio.TooSlowError) as error:
        return Finding(what, "wrong", _said(error), "files that are not here yet can't be read, nor new ones stored")
    if not quota.total:
        return Finding(what, "ok", "signs you in")
    return Finding(what, "ok", f"signs you in, {quota.used >> 20} of {quota.total >> 20} MiB used")


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, OaiofsError) else f"no answer within {_SERVER_TIMEOUT:.0f} seconds"
