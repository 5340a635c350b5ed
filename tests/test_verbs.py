"""Verbs without a mount: on the client root itself, opened as a mount opens it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from oaiofs import errors
from oaiofs.cache import objects
from oaiofs.cache.store import Store
from oaiofs.verbs import Place, Verb
from oaiofs.verbs.direct import directly


def with_an_object(root: Path) -> None:
    store = Store(root)
    store.state.set_meta("device_id", "laptop")
    objects.create(store, "Notes", csh_id="Digi", username="alice", device_id="laptop", app_id="oaiofs")
    store.close(clean=True)


async def names(place: Place, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"names": sorted(place.store.by_name), "device": place.device_id, **arguments}


async def refusing(place: Place, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    raise errors.Refused("not today")


async def failing(place: Place, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    raise RuntimeError("a bug")


async def test_a_verb_is_done_on_the_client_root(tmp_path: Path) -> None:
    with_an_object(tmp_path)
    assert await directly(tmp_path, names, {"word": 1}) == {"names": ["Notes"], "device": "laptop", "word": 1}


async def test_what_a_mount_uses_is_left_alone(tmp_path: Path) -> None:
    with_an_object(tmp_path)
    store = Store(tmp_path)
    try:
        with pytest.raises(errors.Busy, match="in use by a running oaiofs"):
            await directly(tmp_path, names, {})
    finally:
        store.close(clean=True)


@pytest.mark.parametrize(("verb", "error", "clean"), [(refusing, errors.Refused, True), (failing, RuntimeError, False)])
async def test_after_a_bug_the_next_start_compares_everything(
    tmp_path: Path, verb: Verb, error: type[Exception], clean: bool
) -> None:
    with_an_object(tmp_path)
    with pytest.raises(error):
        await directly(tmp_path, verb, {})
    store = Store(tmp_path)
    assert store.state.clean is clean
    store.close(clean=True)
