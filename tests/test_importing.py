"""``oaiofs import`` of hand-made roots: as a command, killed in between, and full of what could do harm."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from oaiofs.cache import objects, takeover
from oaiofs.cache.recover import recover
from oaiofs.cache.store import Store
from oaiofs.cache.workdir import copy_hashing
from oaiofs.core.model import Right
from oaiofs.errors import Busy, ConfigError, NoSpace, NotFound
from oaiofs.verbs import importing
from tests.clikit import home, oaiofs, refused
from tests.devicekit import CSH, USER, Device, World, problems, share, simulated
from tests.sync.stories import two_with_notes

__all__ = ["home"]

OLD, NEW = "20250101000000000001", "20250101000000000002"
SERVER = "http://localhost:1"


class OldRoot:
    """What the existing client could have, or somebody made to look so."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "objz").mkdir(parents=True)
        (path / "filez").mkdir()

    def add(self, oaio_id: str, files: dict[str, bytes] | None = None, /, **changes: Any) -> None:
        values = {"_name": oaio_id, **({"_file_paths": list(files)} if files else {})}
        held = {
            "oaio_id": oaio_id, "client_stamp": NEW, "server_stamp": OLD, "client_values": values,
            "server_values": values, "csh_id": "Digi", "username": "ann", "device_id": "pc", "app_id": "demo",
            "csh_access_right": "C", **changes,
        }  # fmt: skip
        (self.path / "objz" / oaio_id).write_text(repr(held))
        for path, data in (files or {}).items():
            place = self.path / "filez" / oaio_id / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)


@pytest.fixture
def old(tmp_path: Path) -> OldRoot:
    return OldRoot(tmp_path / "old")


def run(old: OldRoot, *, now: bool = True, user: str = "ann", environ: dict[str, str] | None = None) -> dict[str, Any]:
    """Import into ``new`` beside the old root."""
    owner = importing.Owner(user, SERVER, "pc", "oaiofs", "Digi", environ=environ or {})
    return trio.run(lambda: importing.run(old.path.parent / "new", old.path, owner, now=now))


@contextmanager
def opened(old: OldRoot) -> Iterator[Store]:
    """The client root as the next mount finds it; all is well with it."""
    store = Store(old.path.parent / "new")
    recover(store)
    assert problems(store) == []
    yield store
    store.close(clean=True)


def contents(old: OldRoot) -> dict[str, dict[str, bytes]]:
    """Name -> path -> bytes of all that is here now."""
    with opened(old) as store:
        return {
            head.name: {path: Path(store.absolute(node)).read_bytes() for path, node in store.attached(key).items()}
            for key, head in store.heads.items()
        }


def reasons(answer: dict[str, Any]) -> dict[str, str]:
    return {one["what"]: one["why"] for one in answer["left_out"]}


# -- the command -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("home")
def test_the_command_tells_first_and_then_does_it(old: OldRoot) -> None:
    old.add("Notes", {"a.txt": b"first", "d/b.txt": b"second"})
    old.add("Fresh", server_stamp="", server_values={})
    words = ["import", old.path, "--server", SERVER, "--user", "ann", "--client-root", old.path.parent / "new"]
    told = oaiofs(*words)
    assert told.returncode == 0, told.stderr
    assert "Notes: 2 files, 11 B, with changes that were not sent yet" in told.stdout
    assert "Fresh: values, not registered yet" in told.stdout
    assert "2 objects would be imported for ann at http://localhost:1. Nothing was done: --yes does it." in told.stdout
    assert not (old.path.parent / "new").exists()
    done = oaiofs(*words, "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert [(one["name"], one["state"]) for one in json.loads(done.stdout)["objects"]] == [
        ("Fresh", "new"), ("Notes", "unsent"),
    ]  # fmt: skip
    checked = oaiofs("check", "--client-root", old.path.parent / "new", "--deep")
    assert checked.returncode == 0, checked.stdout
    assert contents(old) == {"Fresh": {}, "Notes": {"a.txt": b"first", "d/b.txt": b"second"}}
    again = oaiofs(*words, "--yes")
    assert "Left out: Notes: it is here already" in again.stdout
    assert "0 objects imported" in again.stdout


@pytest.mark.usefixtures("home")
def test_the_command_refuses_what_is_no_root(tmp_path: Path) -> None:
    done = oaiofs("import", tmp_path, "--server", SERVER, "--user", "ann")
    refused(done, 1, "is no root of an existing client")


def test_refused_while_something_uses_the_client_root(old: OldRoot) -> None:
    old.add("Notes")
    run(old)
    with opened(old), pytest.raises(Busy):
        run(old)


def test_refused_for_another_account(old: OldRoot) -> None:
    run(old)
    with pytest.raises(ConfigError, match="another --client-root"):
        run(old, user="bob")


def test_refused_into_itself(old: OldRoot) -> None:
    owner = importing.Owner("ann", SERVER, "pc", "oaiofs", "Digi")
    with pytest.raises(ConfigError, match="one in the other"):
        trio.run(lambda: importing.run(old.path / "new", old.path, owner, now=True))
    with pytest.raises(NotFound):
        trio.run(lambda: importing.run(old.path / "new", old.path / "objz", owner, now=True))


def test_a_dry_run_says_what_is_here_already_and_changes_nothing(old: OldRoot) -> None:
    old.add("Notes", {"a.txt": b"first"})
    run(old)
    old.add("Later", {"b.txt": b"second"})
    told = run(old, now=False)
    assert [one["name"] for one in told["objects"]] == ["Later"]
    assert reasons(told) == {
        "Notes": "it is here already; its unsent changes are not taken over: let the existing client send them once",
    }
    assert contents(old) == {"Notes": {"a.txt": b"first"}}


# -- killed ----------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """kill -9 at this step."""


@pytest.mark.parametrize("step", ["copy", "rows", "intents"])
def test_killed_in_between_the_object_is_there_whole_or_not_at_all(
    old: OldRoot, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"a.txt": b"first", "d/b.txt": b"second"}
    old.add("Notes", files)

    def die(*_: Any, **__: Any) -> Any:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(takeover, "_drop", lambda *_: None)  # whoever is killed tidies nothing
        if step == "copy":
            copy_one: Callable[..., Any] = takeover._copy
            patch.setattr(takeover, "_copy", lambda files, path, source: copy_one(files, path, source) and die())
        elif step == "rows":
            patch.setattr(takeover, "_place", die)
        elif step == "intents":
            patch.setattr(objects, "_carry_out", die)
        with pytest.raises(Killed):
            run(old)
    assert os.listdir(old.path.parent / "new" / "staging") != []
    here = contents(old)
    assert here == ({} if step != "intents" else {"Notes": files})
    assert os.listdir(old.path.parent / "new" / "staging") == []
    run(old)
    assert contents(old) == {"Notes": files}


# -- harm ------------------------------------------------------------------------------------------------------------


def test_links_and_pipes_are_not_followed(old: OldRoot, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_bytes(b"private")
    old.add("Notes", {"ok": b"fine"}, client_values={"_name": "Notes", "_file_paths": ["ok", "link", "d/key", "pipe"]})
    place = old.path / "filez" / "Notes"
    (place / "link").symlink_to(secret / "key")
    (place / "d").symlink_to(secret)
    os.mkfifo(place / "pipe")
    old.add("Whole", client_values={"_name": "Whole", "_file_paths": ["key"]})
    (old.path / "filez" / "Whole").symlink_to(secret)
    answer = run(old)
    [notes] = [one for one in answer["objects"] if one["name"] == "Notes"]
    assert {one["what"] for one in notes["left_out"]} >= {"link", "pipe"}
    assert contents(old) == {"Notes": {"ok": b"fine"}, "Whole": {}}


def test_an_object_file_that_is_a_link_a_folder_or_a_pipe_is_left_out(old: OldRoot, tmp_path: Path) -> None:
    old.add("Real")
    os.rename(old.path / "objz" / "Real", tmp_path / "Real")
    (old.path / "objz" / "Real").symlink_to(tmp_path / "Real")
    (old.path / "objz" / "folder").mkdir()
    os.mkfifo(old.path / "objz" / "pipe")
    (old.path / "objz" / "cut").write_text("{'oaio_id': 'cut', 'client_st")
    (old.path / "objz" / "code").write_text("__import__('os').mkdir('harm')")
    answer = run(old)
    assert answer["objects"] == []
    assert reasons(answer).keys() == {"Real", "folder", "pipe", "cut", "code"}
    assert reasons(answer)["Real"] == "it is a link"
    assert not Path("harm").exists()
    assert contents(old) == {}


def test_hostile_paths_and_names_stay_inside(old: OldRoot, tmp_path: Path) -> None:
    paths = ["../../escaped", "/etc/passwd", "a/../../x", "values.json", "ok/values.json", ".versions/x", "n\nl"]
    old.add("Notes", {"values.json": b"mine", "ok/values.json": b"too"}, client_values={
        "_name": "../../../up\x1b[2J", "_file_paths": paths,
    })  # fmt: skip
    (old.path / "escaped").write_bytes(b"no")
    answer = run(old)
    assert len(answer["objects"][0]["left_out"]) == 5
    [[name, files]] = contents(old).items()
    assert "/" not in name
    assert files == {"values.json": b"mine", "ok/values.json": b"too"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old"]


@pytest.mark.parametrize(
    ("right", "username", "server_stamp", "read"),
    [
        ("C", "ann", NEW, True), ("C", "bob", NEW, False), ("U", "ann", NEW, False), ("r", "bob", NEW, False),
        ("U", "bob", OLD, True), ("C", "ann", "", True),
    ],
)  # fmt: skip
def test_a_folder_that_a_stranger_may_have_named_is_not_read(
    old: OldRoot, tmp_path: Path, right: str, username: str, server_stamp: str, read: bool
) -> None:
    folder = tmp_path / "keys"
    folder.mkdir()
    (folder / "id").write_bytes(b"private")
    values = {"_root_path": str(folder), "_file_paths": ["id"]}
    changes = {"csh_access_right": right, "username": username, "server_stamp": server_stamp}
    old.add("Bait", client_values=values, server_values=values, **changes)
    [told] = run(old, now=False)["objects"]
    assert told["folder"] == (str(folder) if read else None), "said before anything is done"
    run(old)
    assert contents(old) == {"keys": {"id": b"private"} if read else {}}


def test_placeholders_mean_what_they_mean_to_the_existing_client(
    old: OldRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for place in ("Documents/letters", "conf/demo/x"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "f").write_text(place)
    old.add("One", client_values={"_root_path": "{doc}/letters", "_file_paths": ["f"]})
    old.add("Two", client_values={"_root_path": "{app}/x", "_file_paths": ["f"]})
    old.add("Three", client_values={"_root_path": "{cwd}/far", "_file_paths": ["f"]})
    answer = run(old, environ={"XDG_CONFIG_HOME": str(tmp_path / "conf")})
    assert {one["oaio_id"]: (one["files"], one["absent"]) for one in answer["objects"]} == {
        "One": (1, 0), "Two": (1, 0), "Three": (0, 1),
    }  # fmt: skip
    assert contents(old) == {"letters": {"f": b"Documents/letters"}, "x": {"f": b"conf/demo/x"}, "far": {}}


def test_what_another_user_never_registered_is_left_out(old: OldRoot) -> None:
    old.add("Theirs", server_stamp="", username="bob")
    old.add("Shared", username="bob")
    answer = run(old)
    assert [one["name"] for one in answer["objects"]] == ["Shared"]
    assert "made by bob" in reasons(answer)["Theirs"]


def test_a_full_disk_ends_it_and_leaves_nothing_half(old: OldRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    old.add("First", {"a": b"1"})
    old.add("Second", {"a": b"1", "b": b"2"})

    def full(source: int, target: int) -> str:
        if os.readlink(f"/proc/self/fd/{source}").endswith("/b"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return copy_hashing(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(takeover, "copy_hashing", full)
        with pytest.raises(NoSpace, match="full"):
            run(old)
    assert os.listdir(old.path.parent / "new" / "staging") == []
    assert contents(old) == {"First": {"a": b"1"}}


def test_copies_share_nothing_with_the_old_root(old: OldRoot) -> None:
    old.add("Notes", {"a.txt": b"first"})
    run(old)
    with open(old.path / "filez" / "Notes" / "a.txt", "r+b") as stream:
        stream.write(b"FIRST")
    assert contents(old) == {"Notes": {"a.txt": b"first"}}


# -- with a server ---------------------------------------------------------------------------------------------------


async def import_beside(world: World, old: OldRoot) -> Device:
    """Import into the client root of a new device, and sync that."""
    owner = importing.Owner(USER, SERVER, "new", "oaiofs", CSH, environ={})
    await importing.run(world.folder / "new", old.path, owner, now=True)
    device = await world.syncing("new")
    await world.go_on(60)
    return device


@pytest.mark.parametrize("claimed", ["20250101000000000001", "99990101000000000000"])
@simulated
async def test_a_root_that_lies_about_what_was_agreed_overwrites_nothing(world: World, claimed: str) -> None:
    one, two = await two_with_notes(world)
    notes = world.announced("Notes")
    before = (dict(notes.values), world.stored("Notes"))
    lies = {"_name": "Notes", "k": "lie", "_file_paths": ["a.txt"]}
    old = OldRoot(world.folder / "old")
    old.add(
        notes.oaio_id, {"a.txt": b"lie"}, client_stamp=claimed, server_stamp=claimed, client_values=lies,
        server_values={**lies, "_file_paths": ["a.txt", "b.txt"]}, username=USER, csh_id=CSH,
    )  # fmt: skip
    device = await import_beside(world, old)
    for one_device in (one, two, device):
        files = await one_device.files("Notes")
        assert before[1].items() <= files.items()
        assert set(files.values()) - set(before[1].values()) == {b"lie"}, "kept as a conflict copy"
        assert before[0].items() <= (await one_device.values("Notes")).items()


@simulated
async def test_an_object_that_may_only_be_read_sends_nothing(world: World) -> None:
    await two_with_notes(world)
    world.cloud.add_user("bob")
    share(world, "Notes", "bob", Right.READ)
    notes = world.announced("Notes")
    versions = world.versions("Notes")
    old = OldRoot(world.folder / "old")
    values = {"_name": "Notes", "_file_paths": ["a.txt"]}
    old.add(
        notes.oaio_id, {"a.txt": b"edited without a right"}, client_stamp=notes.stamp, server_stamp=notes.stamp,
        client_values=values, server_values=values, csh_access_right="C", csh_id=CSH,
    )  # fmt: skip
    owner = importing.Owner("bob", SERVER, "new", "oaiofs", CSH, environ={})
    await importing.run(world.folder / "new", old.path, owner, now=True)
    device = await world.syncing("new", user="bob")
    await world.go_on(60)
    assert world.versions("Notes") == versions
    assert device.record("Notes").right is Right.READ
    assert b"edited without a right" in (await device.files("Notes")).values(), "but it is the user's"
