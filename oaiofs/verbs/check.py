"""``check``: whether a client root is as it should be, and with *repair* made so.

The disk is looked at in threads, one object at a time, while programs go on; what seems wrong after that may only have
changed in between, so it is looked at once more without letting anything happen meanwhile.

    {"repair": false, "deep": false}
    {"objects": 12, "problems": [{"where": …, "what": …, "repair": …}], "repaired": [the same]}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import trio

from ..cache import check, versions
from ..cache.check import Problem
from ..cache.recover import recover
from ..cache.repair import repair
from ..cache.store import ROOT_INO, Store

if TYPE_CHECKING:
    from . import Place


async def run(place: Place, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Look, repair where that is wanted, and look again."""
    store, deep = place.store, bool(arguments.get("deep"))
    found = await examine(store, in_use=place.mounted, deep=deep)
    left = found
    if arguments.get("repair"):
        before = _names(store, found)
        broken = found
        if not place.mounted:
            recover(store)
            broken = await examine(store, in_use=False)  # not what that has mended
        repair(store, broken, in_use=place.mounted)
        for parent, name in {entry[:2] for entry in before ^ _names(store, found)}:
            place.announce(parent, name)
        left = await examine(store, in_use=place.mounted, deep=deep)
    return {
        "objects": len(check.known_keys(store)),
        "problems": [_shown(one) for one in left],
        "repaired": [_shown(one) for one in found if one not in left],
        "notes": [note for note in (store.state.meta("damaged"),) if note],
    }


async def examine(store: Store, *, in_use: bool, deep: bool = False) -> list[Problem]:
    """All that is wrong with a client root; *in_use* while programs may change it."""
    wrong = await trio.to_thread.run_sync(store.state.examine)
    found = [Problem("the state file", one) for one in wrong]
    found += check.examine_root(store, in_use=in_use)
    if deep:
        known = {one.where for one in found}
        spoilt_versions = check.spoilt_versions(await trio.to_thread.run_sync(_spoilt_versions, store.files.root))
        found += [one for one in spoilt_versions if one.where not in known]
    for key in check.known_keys(store):
        found += await _object(store, key)
        if deep:
            spoilt = await trio.to_thread.run_sync(check.spoilt, check.hashes(store, key))
            found += check.examine_contents(store, key, spoilt) if spoilt else ()
    return found


def _spoilt_versions(root: str) -> list[str]:
    return versions.spoilt(root, deep=True)


async def _object(store: Store, key: int) -> list[Problem]:
    head = store.heads.get(key)
    if head is None:
        return check.examine_object(store, key, check.NOWHERE)
    disk = await trio.to_thread.run_sync(check.look, store.files.root, head.folder, head.sidecar)
    if not check.examine_object(store, key, disk):
        return []
    head = store.heads.get(key, head)
    return check.examine_object(store, key, check.look(store.files.root, head.folder, head.sidecar))


def _names(store: Store, found: Iterable[Problem]) -> set[tuple[int, str, int]]:
    """(parent, name, inode) of everything in the mount's root and in the objects with problems."""
    keys = {one.key for one in found if one.key in store.heads}
    names = {(node.parent, node.name, node.ino) for key in keys if key for _, node in store.walk(key)}
    return names | {(ROOT_INO, head.name, head.ino) for head in store.heads.values()}


def _shown(one: Problem) -> dict[str, str]:
    return {"where": one.where, "what": one.what, "repair": one.remedy.value}
