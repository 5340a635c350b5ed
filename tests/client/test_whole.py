"""One call is one step: whatever fails or is killed in it, the object is as it was or as it was to be."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from oaiofs.cache import objects, records, whole
from oaiofs.cache.recover import recover
from oaiofs.cache.store import Store
from oaiofs.core.model import OaioId
from tests.devicekit import problems

_OWNER = {"csh_id": "Digi", "username": "alice", "device_id": "desk", "app_id": "test"}
_ID = OaioId("test-id")


async def made(store: Store) -> None:
    files = {path: await whole.stage(store, path.encode(), 10**18) for path in ("a.txt", "deep/b.txt")}
    whole.create(store, _ID, {"_name": "n"}, files, **_OWNER)


async def changed(store: Store) -> None:
    files = {path: await whole.stage(store, b"new", 10**18) for path in ("deep/b.txt", "values.json", "x/y/z.txt")}
    head = next(iter(store.heads.values()))
    whole.change(store, head, {"_name": "n", "k": 1}, files, ["a.txt"])


def content(store: Store) -> dict[str, Any]:
    """All that is here: values, and bytes by path."""
    found: dict[str, Any] = {}
    for key in store.heads:
        found["values"] = dict(store.record(key).values)
        found |= {path: Path(store.absolute(node)).read_bytes() for path, node in store.attached(key).items()}
    return found


BEFORE: dict[str, Any] = {"values": {"_name": "n"}, "a.txt": b"a.txt", "deep/b.txt": b"deep/b.txt"}
AFTER: dict[str, Any] = {
    "values": {"_name": "n", "k": 1}, "deep/b.txt": b"new", "values.json": b"new", "x/y/z.txt": b"new"
}  # fmt: skip


class _Fault(Exception):
    pass


async def test_files_and_values_come_together(tmp_path: Path) -> None:
    store = Store(tmp_path / "root")
    recover(store)
    await made(store)
    assert content(store) == BEFORE
    await changed(store)
    assert content(store) == AFTER
    assert problems(store) == []
    store.close(clean=True)


async def interrupted(
    folder: Path, step: Callable[[Store], Any], module: ModuleType, names: Collection[str], after: int
) -> tuple[Store, dict[str, Any]]:
    """A store whose *step* failed once these functions of *module* were called *after* times; what it had before."""
    store = Store(folder)
    recover(store)
    if step is changed:
        await made(store)
    before = content(store)
    calls = 0

    def failing(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > after:
                raise _Fault
            return real(*arguments, **more)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setattr(module, name, failing(getattr(module, name)))
        with pytest.raises(_Fault):
            await step(store)
    return store, before


@pytest.mark.parametrize("step", [made, changed])
@pytest.mark.parametrize("moment", range(8))
async def test_a_failure_at_any_row_takes_all_of_it_back(
    tmp_path: Path, step: Callable[[Store], Any], moment: int
) -> None:
    rows = ("add_node", "delete_node", "update_object", "add_object")
    store, before = await interrupted(tmp_path / "root", step, records, rows, moment)
    assert content(store) == before
    assert problems(store) == []
    store.close(clean=True)


@pytest.mark.parametrize("step", [made, changed])
@pytest.mark.parametrize("done", range(4))
async def test_a_kill_between_the_rows_and_the_files_is_mended_by_the_next_start(
    tmp_path: Path, step: Callable[[Store], Any], done: int
) -> None:
    store, _ = await interrupted(tmp_path / "root", step, objects, ["_carry_out"], done)
    store.close(clean=False)
    after = Store(tmp_path / "root")
    recover(after)
    assert content(after) == (AFTER if step is changed else BEFORE)
    assert problems(after) == []
    after.close(clean=True)
