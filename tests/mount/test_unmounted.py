"""Commands that ask the servers, on a client root that nothing is mounted with; and what superusers do for others."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from oaiofs.cache import rootchoice
from oaiofs.cache.store import Store
from tests.mountkit import Account, Cloud, MountKit, MountMaker, needs_fuse, wait_same, when_asked
from tests.serverkit import ServerKit

pytestmark = needs_fuse


@pytest.fixture
def bob(oaio_server: ServerKit) -> Account:
    return Account(*oaio_server.fresh_user("bob"))


@pytest.fixture
def root(oaio_server: ServerKit) -> Account:
    """A superuser."""
    return Account(*oaio_server.fresh_user("root", superuser=True))


def ended(kit: MountKit) -> MountKit:
    """The device after its mount; its commands know the password."""
    kit.stop()
    kit.environ["OAIOFS_PASSWORD"] = kit.account.password
    return kit


def done(run: subprocess.CompletedProcess[str]) -> str:
    assert run.returncode == 0, run.stderr
    return run.stdout


def refused(run: subprocess.CompletedProcess[str], code: int, part: str) -> None:
    assert (run.returncode, run.stdout) == (code, ""), run.stderr
    assert run.stderr.startswith("oaiofs: ")
    assert part in run.stderr


def notes(kit: MountKit, content: bytes = b"first") -> None:
    (kit.path / "notes").mkdir(exist_ok=True)
    (kit.path / "notes/a.txt").write_bytes(content)
    kit.sync()


def test_users_share_and_unshare(d1: MountKit, bob: Account, cloud: Cloud, new_mount: MountMaker) -> None:
    notes(d1)
    (d1.path / "unsent").mkdir()
    d1.sync()
    here = ("--client-root", d1.client_root)
    ended(d1)
    assert bob.user in done(d1.oaiofs("users", *here)).split()
    assert done(d1.oaiofs("share", "notes", bob.user, "U", *here)) == f"{bob.user} may change notes.\n"
    assert f"U  {bob.user}" in done(d1.oaiofs("users", "notes", *here))
    his = new_mount("bobs", bob)
    his.expect("no longer lists")
    assert os.listdir(his.path) == ["notes"]
    ended(his)
    there = ("--client-root", his.client_root)
    refused(his.oaiofs("share", "notes", d1.account.user, "C", *there), 1, "needs right C, and you have U")
    refused(d1.oaiofs("share", "notes", "nobody-like-this", *here), 1, "knows no user nobody-like-this")
    refused(d1.oaiofs("share", "nothing", bob.user, *here), 1, "there is no object nothing")
    assert "does not have notes any more" in done(d1.oaiofs("unshare", "notes", bob.user, *here))
    assert bob.user not in done(d1.oaiofs("users", "notes", *here))
    his.start()
    his.sync()
    wait_same(lambda: os.listdir(his.path), [])


def test_an_object_that_the_server_does_not_have_yet_is_not_shared(d1: MountKit, bob: Account) -> None:
    here = ("--client-root", d1.client_root)
    d1.sync()
    ended(d1)
    (d1.folder / "v.json").write_text("{}")
    done(d1.oaiofs("add", "--values", d1.folder / "v.json", "--name", "new", *here))
    refused(d1.oaiofs("share", "new", bob.user, *here), 1, "is not on the servers yet")


def test_what_keeps_the_servers_from_being_asked_is_said(d1: MountKit) -> None:
    notes(d1)
    here = ("--client-root", d1.client_root)
    d1.stop()
    refused(d1.oaiofs("users", "notes", *here), 4, "No password is known")
    d1.environ["OAIOFS_PASSWORD"] = "wrong"
    refused(d1.oaiofs("users", "notes", *here), 4, "password")
    d1.environ["OAIOFS_PASSWORD"] = d1.account.password
    label = json.loads((d1.client_root / "root.json").read_text())
    (d1.client_root / "root.json").write_text("{}")
    refused(d1.oaiofs("users", "notes", *here), 3, "does not tell whose it is")
    (d1.client_root / "root.json").write_text(json.dumps({**label, "account": f"{d1.account.user} http://127.0.0.1:9"}))
    refused(d1.oaiofs("users", "notes", *here), 2, "holds the objects of")
    (d1.client_root / "root.json").write_text(json.dumps(label))
    assert d1.account.user in done(d1.oaiofs("users", "notes", *here))
    assert json.loads(done(d1.oaiofs("check", *here, "--json")))["problems"] == []


def test_a_server_that_is_away_is_said(d1: MountKit, new_mount: MountMaker, oaio_server: ServerKit) -> None:
    kit = new_mount("away", start=False)
    kit.server = ServerKit("http://127.0.0.1:9", oaio_server.data, oaio_server.pid)  # nobody listens there: discard
    kit.expect("offline", "with the next mount")
    kit.start()
    (kit.path / "notes").mkdir()
    ended(kit)
    for command in ("users", "sync"):
        run = kit.oaiofs(command, "--client-root", kit.client_root)
        refused(run, 5, "127.0.0.1:9 can't be used: no connection")
        assert run.stderr.count("\n") == 1, "one sentence"


@when_asked
def test_old_versions(d1: MountKit, cloud: Cloud) -> None:
    notes(d1)
    first = cloud.objects()["notes"].stamp
    notes(d1, b"second")
    here = ("--client-root", d1.client_root)
    ended(d1)
    told = json.loads(done(d1.oaiofs("versions", "notes", *here, "--json")))["versions"]
    assert [one["stamp"] for one in told][-1] == first
    assert "-first" in done(d1.oaiofs("diff", "notes/a.txt", "--version", first, *here))
    done(d1.oaiofs("restore", "notes/a.txt", "--version", first, *here))
    d1.start()
    assert (d1.path / "notes/a.txt").read_bytes() == b"first"
    d1.sync()
    assert cloud.version(cloud.objects()["notes"]) == {"a.txt": b"first"}


def test_a_superuser_acts_for_another_user(
    d1: MountKit, new_mount: MountMaker, root: Account, bob: Account, cloud: Cloud
) -> None:
    notes(d1)
    theirs = new_mount("roots", root, start=False, arguments=("--acting-for", d1.account.user))
    theirs.start()
    assert (theirs.path / "notes/a.txt").read_bytes() == b"first"
    (theirs.path / "notes/a.txt").write_bytes(b"by root")
    (theirs.path / "made for").mkdir()
    theirs.sync()
    assert theirs.status()["user"] == d1.account.user
    made = cloud.objects()
    assert {one.username for one in made.values()} == {d1.account.user}
    assert cloud.version(made["notes"]) == {"a.txt": b"by root"}
    wait_same(lambda: sorted(os.listdir(d1.path)), ["made for", "notes"])
    here = ("--client-root", theirs.client_root)
    ended(theirs)
    assert done(theirs.oaiofs("share", "notes", bob.user, "r", *here)) == f"{bob.user} may read notes.\n"


def test_nobody_else_acts_for_another_user(d1: MountKit, new_mount: MountMaker, bob: Account) -> None:
    notes(d1)
    his = new_mount("bobs", bob, start=False)
    his.expect("offline: ", "oaiofs: ")
    ended = his.oaiofs(*his.words("--acting-for", d1.account.user))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"{bob.user} may not act for {d1.account.user} at" in ended.stderr
    assert "superuser" in ended.stderr
    assert os.listdir(his.path) == []


def test_a_superuser_removes_a_user(
    d1: MountKit, root: Account, bob: Account, oaio_server: ServerKit, cloud: Cloud
) -> None:
    notes(d1)
    d1.stop()
    where = ("--server", oaio_server.url, "--user")
    d1.environ["OAIOFS_PASSWORD"] = bob.password
    refused(d1.oaiofs("wipe-user", d1.account.user, *where, bob.user, "--yes"), 1, "superuser")
    assert "notes" in cloud.objects()
    d1.environ["OAIOFS_PASSWORD"] = root.password
    refused(d1.oaiofs("wipe-user", bob.user, *where, root.user), 7, "confirm with --yes")
    refused(d1.oaiofs("wipe-user", "nobody-like-this", *where, root.user, "--yes"), 1, "nobody-like-this")
    assert "is removed from" in done(d1.oaiofs("wipe-user", d1.account.user, *where, root.user, "--yes"))
    told = done(d1.oaiofs("login", oaio_server.url, "--user", root.user))
    assert root.user in told
    d1.environ["OAIOFS_PASSWORD"] = d1.account.password
    refused(d1.oaiofs("login", oaio_server.url, "--user", d1.account.user), 4, "password")


def test_what_commands_changed_goes_out_and_what_others_changed_comes_in(
    d1: MountKit, d2: MountKit, cloud: Cloud
) -> None:
    notes(d1)
    here = ("--client-root", d1.client_root)
    refused(d1.oaiofs("sync", "--client-root", d1.folder / "nothing"), 3, "is no client root")
    ended(d1)
    done(d1.oaiofs("set", "notes", "n", "1", *here))
    wait_same(lambda: os.listdir(d2.path), ["notes"])
    (d2.path / "notes/b.txt").write_bytes(b"second")
    d2.sync()
    told = done(d1.oaiofs("sync", *here))
    assert told == f"{d1.client_root}: every change is on the servers, and every one of theirs is known here.\n"
    remote = cloud.objects()["notes"]
    assert (remote.values, remote.file_paths) == ({"_name": "notes", "n": 1}, ("a.txt", "b.txt"))
    assert json.loads(done(d1.oaiofs("ls", *here, "--json")))["objects"][0]["files"] == 2
    d1.start()
    assert str(d1.path) in done(d1.oaiofs("sync", *here))


def test_what_commands_make_is_signed_as_in_the_mount(new_mount: MountMaker, cloud: Cloud) -> None:
    kit = new_mount(arguments=("--app-id=notes",))
    ended(kit)
    here = ("--client-root", kit.client_root)
    (kit.folder / "v.json").write_text("{}")
    done(kit.oaiofs("sync", *here))
    done(kit.oaiofs("add", "--values", "v.json", "--name", "made", *here))
    done(kit.oaiofs("sync", *here))
    assert cloud.objects()["made"].app_id == "notes"


def test_a_root_path_among_values_is_not_chosen_here(d1: MountKit) -> None:
    (d1.folder / "v.json").write_text(json.dumps({"_name": "theirs", "_root_path": str(d1.folder / "home")}))
    done(d1.oaiofs("add", "--values", "v.json"))
    d1.stop()
    store = Store(d1.client_root)
    try:
        assert not rootchoice.is_chosen(store, store.record(store.by_name["theirs"].key))
    finally:
        store.close(clean=True)


def test_what_stays_on_this_machine_is_the_same_without_a_mount(new_mount: MountMaker, cloud: Cloud) -> None:
    kit = new_mount(environ={"OAIOFS_LOCAL_ONLY": "*.mine"})
    (kit.folder / "trip").mkdir()
    for name in ("a.txt", "b.mine", ".a.txt.swp"):
        (kit.folder / "trip" / name).write_text(name)
    ended(kit)
    del kit.environ["OAIOFS_LOCAL_ONLY"]
    here = ("--client-root", kit.client_root)
    done(kit.oaiofs("add", "trip", *here))
    done(kit.oaiofs("sync", *here))
    assert cloud.objects()["trip"].file_paths == ("a.txt",)
