"""``import``: the objects of an existing client's root become those of a client root that nothing else uses.

The old root is only read. Without *now* nothing is done: the answer says what would be. Objects that are known here
already, by their ids, are left alone, so that it can be done again.

    {"done": false, "objects": [{"name": …, "oaio_id": …, "state": "registered" | "unsent" | "new", "files": 2,
     "bytes": 70, "absent": 1, "removed": 0, "folder": null, "left_out": [{"what": …, "why": …}]}],
     "left_out": [{"what": …, "why": …}]}

*state*: whether the server has been told of all of it, *unsent*: not of its newest version, *new*: of none. *absent*
files are not on this machine and are downloaded when they are opened; *folder* is where files outside the old root are
read from. Must not know the command line nor the servers.

Files of objects with ``_root_path`` are in a folder of the user's that the object names, and others may have named it.
So they are read from there only where the existing client would send them too, or where the object is the user's own
and so is its agreed version.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from .. import session
from ..cache import takeover
from ..cache.existing import ExistingRoot, Files
from ..cache.recover import recover
from ..cache.room import is_full
from ..cache.store import Store
from ..core import names, rootpath
from ..core.existing import Held
from ..core.leftout import LeftOut
from ..core.model import Right, Skipped
from ..errors import ChangedMeanwhile, ConfigError, OaiofsError, Protocol


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose objects they are, at which server (its URL), and what a new client root begins with."""

    user: str
    server: str
    device_id: str
    app_id: str
    csh_id: str
    local_only: Sequence[str] = names.LOCAL_ONLY
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)


@dataclass(frozen=True, slots=True)
class _Found:
    """An object that can be imported, and which of its files are there."""

    held: Held
    files: Files
    outside: bool


async def run(client_root: Path, root: Path, owner: Owner, *, now: bool) -> dict[str, Any]:
    """Import *root*, or only say what that would do.

    Raises NotFound where *root* is none, Busy while something uses *client_root*, ConfigError where that belongs to
    another account or is in *root*, StateError, NoSpace.
    """
    source = ExistingRoot(root)
    real, old = Path(os.path.realpath(client_root)), Path(os.path.realpath(root))
    if real.is_relative_to(old) or old.is_relative_to(real):
        raise ConfigError(f"{client_root} and {root} must not be one in the other: choose another --client-root.")
    if not now and not (client_root / "root.json").exists():
        return await _look(source, owner, frozenset()).answer(now)
    store = Store(client_root, local_only=owner.local_only)
    in_order = False
    try:
        account = session.Owner(owner.user, owner.server)
        session.check_owner(store, account)
        if now:
            session.claim(
                store, account, device_id=owner.device_id, app_id=owner.app_id, csh_id=owner.csh_id
            )
        recover(store)
        done = _look(source, owner, _known(store))
        if now:
            await done.carry_out(store)
        in_order = True
        return await done.answer(now)
    except OaiofsError:
        in_order = True
        raise
    finally:
        store.close(clean=in_order and store.state.clean)


def _known(store: Store) -> frozenset[str]:
    """Ids of all objects here, those that are removed and not yet told to the server too."""
    return frozenset(row[0] for row in store.db.execute("SELECT oaio_id FROM object WHERE oaio_id IS NOT NULL"))


def _look(source: ExistingRoot, owner: Owner, known: Iterable[str]) -> _Import:
    return _Import(source, owner, frozenset(known))


class _Import:
    """One import; what was left out of it comes together as it goes."""

    def __init__(self, source: ExistingRoot, owner: Owner, known: frozenset[str]) -> None:
        self._source = source
        self._owner = owner
        self._known = known
        self._left_out = LeftOut("objects")
        self._told: list[dict[str, Any]] | None = None

    async def carry_out(self, store: Store) -> None:
        told = []
        for name in await trio.to_thread.run_sync(self._source.names):
            found = await trio.to_thread.run_sync(self._find, name)
            if found is not None and await self._bring(store, found):
                told.append(_shown(found))
        self._told = told

    async def answer(self, done: bool) -> dict[str, Any]:
        """What was done or, where nothing was, what would be."""
        if self._told is None:
            every = await trio.to_thread.run_sync(self._source.names)
            found = [await trio.to_thread.run_sync(self._find, name) for name in every]
            self._told = [_shown(one) for one in found if one is not None]
        return {"done": done, "objects": self._told, "left_out": _listed(self._left_out.all)}

    def _find(self, name: str) -> _Found | None:
        try:
            held = self._source.read(name)
            self._judge(held)
        except Protocol as error:
            self._left_out.add(name, str(error))
            return None
        folder = self._source.own_folder(held) if held.root_path is None else self._outside(held)
        if folder is None:
            nothing = Files("", {}, len(held.now.file_paths), ())
            return _Found(held, nothing, outside=False)
        return _Found(held, self._source.files(held, folder), outside=held.root_path is not None)

    def _judge(self, held: Held) -> None:
        now = held.now
        if now.oaio_id in self._known:
            more = (
                "; its unsent changes are not taken over: let the existing client send them once" if held.unsent else ""
            )
            raise Protocol(f"it is here already{more}")
        if held.agreed is None and now.username not in ("", self._owner.user):
            raise Protocol(f"it was made by {now.username} and never registered: import it for that user")

    def _outside(self, held: Held) -> str | None:
        """The folder that ``_root_path`` means here; None where it can't be told, or is not to be looked into."""
        own = held.now.right is Right.CREATE and held.now.username == self._owner.user
        if not own and not held.unsent:
            return None
        environ = self._owner.environ
        places = rootpath.places(
            home=os.path.expanduser("~"), config=environ.get("XDG_CONFIG_HOME", ""), app_name=held.now.app_id
        )
        folder = rootpath.expand(held.root_path or "", places)
        return None if folder is None else os.path.realpath(folder)

    async def _bring(self, store: Store, found: _Found) -> bool:
        """Copy the files and make the object; False, and left out, where they can't be read."""
        copying = functools.partial(
            takeover.copy, store.files, found.files.sizes, functools.partial(self._source.open, found.files)
        )
        try:
            copied = await trio.to_thread.run_sync(copying)
        except (ChangedMeanwhile, OSError) as error:
            if is_full(error):
                raise store.state.room.refused() from error
            self._left_out.add(found.held.now.oaio_id, getattr(error, "strerror", None) or str(error))
            return False
        takeover.take_over(store, found.held, copied, csh_id=self._owner.csh_id)
        return True


def _shown(found: _Found) -> dict[str, Any]:
    held, now = found.held, found.held.now
    return {
        "name": names.display_name(now.values, now.file_paths, now.oaio_id),
        "oaio_id": now.oaio_id,
        "state": "new" if held.agreed is None else "unsent" if held.unsent else "registered",
        "files": len(found.files.sizes),
        "bytes": sum(found.files.sizes.values()),
        "absent": found.files.absent,
        "removed": len(held.removed),
        "folder": found.files.folder if found.outside else None,
        "left_out": _listed((*now.skipped, *found.files.skipped)),
    }


def _listed(skipped: Iterable[Skipped]) -> list[dict[str, str]]:
    return [{"what": one.what, "why": one.why} for one in skipped]
