"""Who may do what, whichever door they take: every right × operation × door, with real mounts and a real server.

Doors: the mount, attributes, commands, and plain HTTP to the self-hosted server and to its storage host with the same
account; the library is in ``test_rights_library``. A refusal is EACCES in the mount (EPERM for modes and times, as for
another user's file), exit code 1 for a command, 403 over HTTP, always with a sentence; and what was refused has changed
nothing for the owner.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.mountkit import Account, Cloud, MountKit, MountMaker, needs_fuse, wait_same
from tests.server.clients import Oaio, Storage, error_of
from tests.serverkit import ServerKit

from .rights import FILES, MAY_CHANGE, MAY_DELETE, MAY_SHARE, RIGHTS, bob, content, made, third

__all__ = ["bob", "third"]

pytestmark = needs_fuse


class Doors:
    """What *user* tries with the object *name*; each attempt ends in 'done' or in how it was refused."""

    def __init__(self, kit: MountKit, session: Oaio, name: str, owner: str, third: str) -> None:
        self.kit, self.session, self.owner, self.third = kit, session, owner, third
        self.place, self.name = kit.path / name, name
        [self.wire] = [one for one in session.listing().values() if one["client_values"]["_name"] == name]

    def file(self, attempt: Callable[[], object]) -> str:
        try:
            attempt()
        except OSError as error:
            return errno.errorcode[error.errno or 0]
        return "done"

    def command(self, *words: object) -> str:
        run = self.kit.oaiofs(*words)
        if run.returncode == 0:
            return "done"
        assert run.stdout == ""
        assert run.stderr.startswith("oaiofs: "), run.stderr
        assert run.stderr.endswith("\n")
        assert " right " in run.stderr or "may only read" in run.stderr, run.stderr
        return f"exit {run.returncode}"

    def http(self, slug: str, body: object) -> str:
        answer = self.session.post(slug, body)
        if answer.status_code == 200:
            return "done"
        assert answer.json()["error"]["message"].endswith("."), answer.text
        return f"status {answer.status_code}"

    def version(self) -> dict[str, object]:
        """The next version of an object without files, as another client would send it."""
        [now] = [one for one in self.session.listing().values() if one["client_values"]["_name"] == "bare"]
        stamp = str(int(now["client_stamp"]) + 1)
        values = {**now["client_values"], "forced": True}
        return {**now, "client_stamp": stamp, "server_stamp": now["client_stamp"], "client_values": values}

    def rename_and_back(self) -> None:
        other = self.place.with_name("renamed")
        self.place.rename(other)
        other.rename(self.place)

    # -- operations ------------------------------------------------------------------------------------------

    def change(self) -> dict[str, str]:
        place, own = self.place, self.file
        return {
            "mount: chmod": own(lambda: (place / "a.txt").chmod(0o600)),
            "mount: times": own(lambda: os.utime(place / "a.txt", (1, 1))),
            "mount: write": own(lambda: (place / "a.txt").write_bytes(b"mine")),
            "mount: truncate": own(lambda: os.truncate(place / "a.txt", 1)),
            "mount: append": own(lambda: os.close(os.open(place / "a.txt", os.O_WRONLY | os.O_APPEND))),
            "mount: create": own(lambda: (place / "new.txt").write_bytes(b"new")),
            "mount: mkdir": own(lambda: (place / "new").mkdir()),
            "mount: rename": own(lambda: (place / "b.txt").rename(place / "b2.txt")),
            "mount: lock link": own(lambda: os.symlink("x", place / ".#lock")),
            "mount: unlink": own(lambda: (place / "folder/c.txt").unlink()),
            "mount: rmdir inside": own(lambda: (place / "folder").rmdir()),
            "mount: values": own(lambda: (place / "values.json").write_text(json.dumps({"_name": self.name, "v": 1}))),
            "mount: rename object": own(self.rename_and_back),
            "xattr: set": own(lambda: os.setxattr(place, "user.note", b"x")),
            "xattr: own of an object": own(lambda: os.setxattr(place, "user.oaio.name", b"x")),
            "command: set": self.command("set", self.name, "w", "1"),
            "command: unset": self.command("set", self.name, "w", "--remove"),
            "command: restore": self.command("restore", self.place, "--version", self.wire["client_stamp"]),
        }

    def change_by_http(self) -> dict[str, str]:
        return {"http: upload": self.http("upload/", self.version())}

    def share(self) -> dict[str, str]:
        access, oaio_id = f"user.oaio.access.{self.third}", self.wire["oaio_id"]

        def body(user: str, right: str) -> dict[str, str]:
            return {"oaio_id": oaio_id, "username": user, "access_right": right}

        me = self.kit.account.user
        return {
            "xattr: share": self.file(lambda: os.setxattr(self.place, access, b"C")),
            "xattr: unshare": self.file(lambda: os.removexattr(self.place, access)),
            "command: share": self.command("share", self.name, self.third, "U"),
            "command: unshare": self.command("unshare", self.name, self.third),
            "http: share": self.http("subscribe/", body(self.third, "r")),
            "http: unshare": self.http("subscribe/", body(self.third, "x")),
            "http: raise oneself": self.http("subscribe/", body(me, "C")),
            "command: raise oneself": self.command("share", self.name, me, "C"),
        }

    def delete(self) -> dict[str, str]:
        return {
            "command: wipe": self.command("rm", self.name, "--wipe-files", "--yes"),
            "command: prune": self.command("versions", "prune", self.name, "--keep", "1", "--yes"),
            "http: delete": self.http("delete/", {"oaio_id": self.wire["oaio_id"]}),
        }


def expected(seen: dict[str, str], allowed: bool) -> dict[str, str]:
    """What each attempt is to end in."""
    refusals = {"mount": "EACCES", "xattr": "EACCES", "command": "exit 1", "http": "status 403"}
    special = {"mount: chmod": "EPERM", "mount: times": "EPERM"}
    if allowed:
        return {attempt: "EPERM" if attempt == "xattr: own of an object" else "done" for attempt in seen}
    return {attempt: special.get(attempt) or refusals[attempt.partition(":")[0]] for attempt in seen}


def bare(d1: MountKit, who: str, right: str) -> None:
    """An object of the owner's without files, likewise."""
    (d1.path / "bare").mkdir()
    d1.sync()
    d1.ask("share", word=["bare", None], user=who, right=right)


@pytest.mark.parametrize("right", RIGHTS)
def test_every_right_at_every_door(
    right: str, d1: MountKit, new_mount: MountMaker, cloud: Cloud, oaio_server: ServerKit, bob: Account, third: str
) -> None:
    made(d1, bob.user, right, "tried")
    bare(d1, bob.user, right)
    before = cloud.objects()
    his = new_mount("bobs", bob)
    his.expect("no longer lists")
    his.sync()
    with Oaio(oaio_server, *bob) as session:
        doors = Doors(his, session, "tried", d1.account.user, third)
        his.sync()
        seen = doors.change()
        assert seen == expected(seen, right in MAY_CHANGE)
        his.sync()
        seen = doors.change_by_http()
        assert seen == expected(seen, right in MAY_CHANGE)
        seen = doors.share()
        assert seen == expected(seen, right in MAY_SHARE)
        if right not in MAY_CHANGE:
            assert cloud.objects() == before
            assert content(d1.path / "tried") == FILES
            assert content(his.path / "tried") == FILES
        if right not in MAY_DELETE:
            seen = doors.delete()
            assert seen == expected(seen, False)
            assert sorted(os.listdir(his.path)) == ["bare", "tried"]
    assert {one.oaio_id for one in cloud.objects().values()} == {one.oaio_id for one in before.values()}


@pytest.mark.parametrize("right", RIGHTS)
def test_who_removes_an_object_deletes_it_or_leaves_it_to_the_others(
    right: str, d1: MountKit, new_mount: MountMaker, cloud: Cloud, oaio_server: ServerKit, bob: Account
) -> None:
    made(d1, bob.user, right, "by rmdir", "by command", "by wiping", "by http")
    his = new_mount("bobs", bob)
    his.sync()
    for kit in (his, d1):
        kit.expect("no longer lists")
    allowed = right in MAY_DELETE
    with Oaio(oaio_server, *bob) as session:
        listed = {one["client_values"]["_name"]: oaio_id for oaio_id, one in session.listing().items()}
        answer = session.post("delete/", {"oaio_id": listed["by http"]})
        assert answer.status_code == (200 if allowed else 403), answer.text
    assert (his.oaiofs("rm", "by wiping", "--wipe-files", "--yes").returncode == 0) is allowed
    assert his.oaiofs("rm", "by command").returncode == 0
    for file in (his.path / "by rmdir").rglob("*.txt") if right in MAY_CHANGE else ():
        file.unlink()
    if right in MAY_CHANGE:
        (his.path / "by rmdir/folder").rmdir()
    (his.path / "by rmdir").rmdir()
    his.oaiofs("sync", "--yes")
    kept = [] if allowed else ["by command", "by http", "by rmdir", "by wiping"]
    wait_same(lambda: sorted(cloud.objects()), kept)
    wait_same(lambda: sorted(os.listdir(his.path)), [] if allowed else ["by http", "by wiping"])
    if not allowed:
        assert [content(d1.path / name) for name in kept] == [FILES] * len(kept)


class StorageDoor:
    """What *session*'s user tries with the stored files of an object, by the login that csh_args hands out."""

    def __init__(self, kit: ServerKit, session: Oaio, wire: dict[str, Any]) -> None:
        account = session.get("csh_args/Digi").json()
        self.host = Storage(kit, account["email"], account["password"])
        self.object = f"{account['root_folder']}/{wire['oaio_id']}"
        self.announced = f"{self.object}/{wire['client_stamp']}"
        self.fresh = f"{self.object}/{int(wire['client_stamp']) + 1}"

    def _outcome(self, answer: httpx.Response) -> str:
        if answer.is_success:
            return "done"
        assert answer.json()["error"]["message"].endswith("."), answer.text
        return f"status {answer.status_code}"

    def read(self) -> dict[str, str]:
        calls = {
            "storage: list": self.host.call("GET", "list", self.announced),
            "storage: list all": self.host.list_recursive(self.object),
            "storage: get": self.host.get(f"{self.announced}/a.txt"),
        }
        return {attempt: self._outcome(answer) for attempt, answer in calls.items()}

    def rewrite(self) -> dict[str, str]:
        """Change what was announced."""
        file, inside = f"{self.announced}/a.txt", f"{self.announced}/folder"
        calls = {
            "storage: put": self.host.put(self.announced, "new.txt", b"new"),
            "storage: overwrite": self.host.put(self.announced, "a.txt", b"mine", overwrite="true"),
            "storage: put raw": self.host.put_raw(inside, b"mine", filename="c.txt", overwrite="true"),
            "storage: make a folder": self.host.folder(self.announced, "new"),
            "storage: copy over": self.host.transfer("copy", file, f"{self.announced}/copy.txt"),
            "storage: move": self.host.transfer("move", file, f"{self.announced}/moved.txt"),
            "storage: rename": self.host.call("PUT", "rename", file, {"name": "other.txt"}),
            "storage: remove": self.host.call("DELETE", "remove", file),
        }
        return {attempt: self._outcome(answer) for attempt, answer in calls.items()}

    def begin_version(self) -> dict[str, str]:
        calls = {
            "storage: copy a version": self.host.transfer("copy", self.announced, self.fresh),
            "storage: put into it": self.host.put(self.fresh, "a.txt", b"mine", overwrite="true"),
            "storage: remove from it": self.host.call("DELETE", "remove", f"{self.fresh}/b.txt"),
        }
        return {attempt: self._outcome(answer) for attempt, answer in calls.items()}

    def destroy(self) -> dict[str, str]:
        calls = {
            "storage: remove a version": self.host.call("DELETE", "remove", self.announced),
            "storage: remove all": self.host.call("DELETE", "remove", self.object),
        }
        return {attempt: self._outcome(answer) for attempt, answer in calls.items()}


def at_the_storage(seen: dict[str, str], allowed: bool) -> dict[str, str]:
    return dict.fromkeys(seen, "done" if allowed else "status 403")


@pytest.mark.parametrize("right", RIGHTS)
def test_every_right_at_the_storage_hosts_door(
    right: str, d1: MountKit, cloud: Cloud, oaio_server: ServerKit, bob: Account
) -> None:
    made(d1, bob.user, right, "tried")
    [before] = cloud.objects().values()
    with Oaio(oaio_server, *bob) as session:
        door = StorageDoor(oaio_server, session, session.listing()[before.oaio_id])
    with door.host:
        for doing, allowed in (
            (door.read, True),
            (door.rewrite, False),
            (door.begin_version, right in MAY_CHANGE),
        ):
            seen = doing()
            assert seen == at_the_storage(seen, allowed)
        assert cloud.version(before) == {path: data for path, data in FILES.items() if data is not None}
        seen = door.destroy()
        assert seen == at_the_storage(seen, right in MAY_DELETE)
    if right not in MAY_DELETE:
        assert cloud.version(before) == {path: data for path, data in FILES.items() if data is not None}


def test_who_has_no_right_finds_nothing_at_the_storage_hosts_door(
    d1: MountKit, cloud: Cloud, oaio_server: ServerKit, bob: Account, third: str
) -> None:
    made(d1, bob.user, "C", "tried")
    [before] = cloud.objects().values()
    with Oaio(oaio_server, *bob) as session:
        wire = session.listing()[before.oaio_id]
    with Oaio(oaio_server, third, f"secret of {third}") as session:
        door = StorageDoor(oaio_server, session, wire)
    with door.host:
        for doing in (door.read, door.rewrite, door.begin_version, door.destroy):
            seen = doing()
            assert seen == dict.fromkeys(seen, "status 404")
        assert error_of(door.host.get("/oaio"))[0] == 400, "a folder, not a file"
        assert door.host.names("/oaio") == []
