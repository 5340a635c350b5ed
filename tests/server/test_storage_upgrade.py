"""A data directory from before users had rights on the storage host: nothing is lost, and nobody keeps too much."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from oaiofs.server import service
from oaiofs.server.site import open_site
from tests.serverkit import serving

from .clients import Oaio, Storage, error_of, stamp, wire_object

HANDED_OUT = "the password that every user got"
#: Whose entries in the log went with them.
WIPED = "somebody who was wiped"


@contextlib.contextmanager
def as_it_was_before(data: Path) -> Iterator[None]:
    """The schema without rights on stored files; it is brought up to date when the data is opened the next time."""
    with open_site(data):
        from django.core.management import call_command

        call_command("migrate", "oaio", "0002_lineage", verbosity=0, interactive=False)
        yield


def row(table: str, **values: int | str) -> None:
    from django.db import connection

    columns, marks = ", ".join(f'"{name}"' for name in values), ", ".join(["%s"] * len(values))
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", list(values.values()))


def announced(oaio_id: str, creator: int, username: str) -> None:
    common = {"oaio_id": oaio_id, "stamp": stamp(1), "values_text": "{}", "csh_id": "Digi", "lineage": ""}
    common |= {"username": username, "device_id": "", "app_id": ""}
    row("oaio_oaioobject", creator_id=creator, **common)
    if username != WIPED:
        logged(oaio_id, "register", username)


def logged(oaio_id: str, action: str, username: str) -> None:
    common = {"oaio_id": oaio_id, "stamp": stamp(1), "values_text": "{}", "csh_id": "Digi", "lineage": ""}
    common |= {"username": username, "device_id": "", "app_id": "", "replaced_stamp": ""}
    row("oaio_logentry", action=action, received="2026-01-01 00:00:00", **common)


def subscribed(oaio_id: str, user: int, right: str) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM oaio_oaioobject WHERE oaio_id = %s", [oaio_id])
        row("oaio_subscription", oaio_id=cursor.fetchone()[0], user_id=user, right=right)


def old_data(data: Path) -> Path:
    """Objects Mine and Unlogged of alice, mine of mallory, Gone that alice deleted; the folder of what is stored."""
    for name in ("alice", "mallory"):
        service.add_user(data, name, "pw")
    with as_it_was_before(data):
        from django.contrib.auth.hashers import make_password
        from django.contrib.auth.models import User
        from django.db import connection

        alice, mallory = (User.objects.get(username=name).pk for name in ("alice", "mallory"))
        announced("Mine", alice, "alice")
        subscribed("Mine", alice, "C")
        announced("mine", mallory, "mallory")
        subscribed("mine", mallory, "C")
        for action in ("register", "delete"):
            logged("Gone", action, "alice")
        logged("Lost", "register", WIPED)
        announced("Unlogged", alice, WIPED)
        subscribed("Unlogged", alice, "C")
        with connection.cursor() as cursor:
            cursor.execute("UPDATE oaio_storagehost SET password = %s", [HANDED_OUT])
            cursor.execute("UPDATE oaio_storageaccount SET password_hash = %s", [make_password(HANDED_OUT)])
            cursor.execute("SELECT directory FROM oaio_storageaccount")
            folder: Path = data / "storage" / cursor.fetchone()[0] / "oaio"
    for name in ("Mine", "Gone", "Lost", "Unlogged"):
        (folder / name / stamp(1)).mkdir(parents=True)
        (folder / name / stamp(1) / "a.txt").write_bytes(b"content")
    return folder


def test_rights_after_an_upgrade(tmp_path: Path) -> None:
    old_data(tmp_path)
    place = f"/{stamp(1)}/a.txt"
    with serving(tmp_path) as kit, contextlib.ExitStack() as stack:
        alice, mallory = (stack.enter_context(Oaio(kit, name, "pw")) for name in ("alice", "mallory"))
        accounts = [session.get("csh_args/Digi").json() for session in (alice, mallory)]
        mine, theirs = (stack.enter_context(Storage(kit, one["email"], one["password"])) for one in accounts)
        assert sorted(mine.names("/oaio")) == ["Gone", "Mine", "Unlogged"]
        assert error_of(mine.put(f"/oaio/Unlogged/{stamp(1)}", "new.txt", b"")) == (403, "Forbidden")
        for name in ("Mine", "Gone"):
            assert mine.get(f"/oaio/{name}{place}").content == b"content"
        assert theirs.names("/oaio") == []
        for name in ("Mine", "mine", "Gone", "Lost"):
            assert error_of(theirs.get(f"/oaio/{name}{place}")) == (404, "NotFound"), name
        assert list(mallory.listing()) == ["mine"], "which has no folder of its own, but is as it was"
        for name in ("Gone", "Lost"):
            again = wire_object(oaio_id=name, client_stamp=stamp(2))
            assert error_of(mallory.post("register/", again)) == (409, "AlreadyExists")
        assert alice.post("register/", wire_object(oaio_id="Gone", client_stamp=stamp(2))).status_code == 200


def test_the_password_that_all_had_ends(tmp_path: Path) -> None:
    old_data(tmp_path)
    with serving(tmp_path) as kit:
        with Storage(kit, service.DEFAULT_EMAIL, HANDED_OUT) as storage:
            assert error_of(storage.call("GET", "list", "/oaio")) == (401, "Unauthorized")
        with Oaio(kit, "alice", "pw") as alice:
            account = alice.get("csh_args/Digi").json()
            assert HANDED_OUT not in account.values()
