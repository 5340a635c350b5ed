"""Whose a stored object is before it is registered, and after it was deleted."""

from __future__ import annotations

import threading

import pytest

from tests.serverkit import ServerKit

from .clients import error_of, stamp
from .storing import (
    FRESH,
    NEWEST,
    OBJECT,
    OLD,
    READING,
    ROOT,
    TAKING,
    WHOLE,
    WRITING,
    LogIn,
    People,
    copy_out,
    folder_in,
    in_state,
    new_id,
    put_new,
    put_over,
    read_version,
    remove_file,
    remove_object,
    remove_version,
)


def test_an_object_is_its_makers_from_the_first_folder_on(people: People) -> None:
    maker, other = people("maker"), people("other")
    oaio_id = new_id()
    assert maker.storage.folder(ROOT, oaio_id).status_code == 201
    assert error_of(other.storage.folder(ROOT, oaio_id)) == (404, "NotFound")
    assert error_of(other.storage.folder(f"{ROOT}/{oaio_id}", OLD)) == (404, "NotFound")
    assert error_of(other.announce("register/", oaio_id, OLD)) == (409, "AlreadyExists")
    assert maker.store(oaio_id, OLD).status_code == 200
    assert maker.announce("register/", oaio_id, OLD).status_code == 200
    assert maker.session.share(oaio_id, other.name, "U").status_code == 200
    assert other.read(oaio_id, OLD).content == b"content"
    assert other.store(oaio_id, NEWEST).status_code == 200


def test_an_object_without_files_has_no_room_for_others(people: People) -> None:
    maker, other = people("maker"), people("other")
    oaio_id = new_id()
    assert maker.announce("register/", oaio_id, OLD).status_code == 200
    assert error_of(other.storage.folder(ROOT, oaio_id)) == (404, "NotFound")
    assert maker.session.share(oaio_id, other.name, "r").status_code == 200
    assert error_of(other.storage.folder(ROOT, oaio_id)) == (403, "Forbidden")
    assert maker.session.share(oaio_id, other.name, "U").status_code == 200
    assert other.store(oaio_id, NEWEST).status_code == 200


def test_many_first_puts_at_once(people: People) -> None:
    maker = people("maker")
    maker.storage.folder("/", "oaio")
    oaio_id = new_id()
    statuses: list[int] = []
    barrier = threading.Barrier(6)

    def first() -> None:
        barrier.wait()
        statuses.append(maker.storage.folder(ROOT, oaio_id).status_code)

    threads = [threading.Thread(target=first) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [201] + [400] * 5, "there already, but never refused"


def test_what_was_stored_for_nobody_is_nobodys(oaio_server: ServerKit, people: People) -> None:
    """As before users had rights, or what was restored from a backup."""
    user = people()
    oaio_id = user.make(registered=False)
    place = next(oaio_server.data.glob(f"storage/*/oaio/{oaio_id}"))
    unknown = place.rename(place.with_name(new_id())).name
    folder = f"{ROOT}/{unknown}/{OLD}"
    for attempt in (read_version, put_new, folder_in, remove_file, remove_object, copy_out):
        assert error_of(attempt(user, folder)) == (404, "NotFound"), attempt.__name__
    assert unknown not in user.storage.names(ROOT)
    assert error_of(user.announce("register/", unknown, OLD)) == (409, "AlreadyExists")
    assert error_of(user.announce("register/", unknown.upper(), OLD)) == (409, "AlreadyExists")


# deleted objects


@pytest.mark.parametrize(("right", "status"), [("C", 200), ("D", 200), ("U", 409), ("r", 409), ("x", 409)])
def test_who_registers_a_deleted_object_again(people: People, right: str, status: int) -> None:
    owner, friend = people("owner"), people("friend")
    oaio_id = in_state(owner, friend, "deleted", right)
    again = stamp(20)
    if status == 200:
        assert friend.store(oaio_id, again).status_code == 200
    assert friend.announce("register/", oaio_id.upper(), again).status_code == 409
    assert friend.announce("register/", oaio_id, again).status_code == status
    if status == 200:
        assert error_of(put_over(friend, f"{ROOT}/{oaio_id}/{OLD}")) == (403, "Forbidden")
        assert error_of(owner.read(oaio_id, OLD)) == (404, "NotFound"), "it is the friend's now"
    else:
        assert owner.announce("register/", oaio_id, again).status_code == 200


def test_what_a_wiped_user_made_stays_readable_for_its_users(people: People, log_in: LogIn) -> None:
    owner, reader, remover, root = people("owner"), people("reader"), people("remover"), log_in("root", superuser=True)
    oaio_id = owner.make()
    for person, right in ((reader, "r"), (remover, "D")):
        owner.session.share(oaio_id, person.name, right)
    assert root.post("wipe_user/", {"Uid": owner.name}).status_code == 200
    assert owner.storage.http.get("/api/v2/mounts").status_code == 401
    assert reader.session.listing() == {}
    assert reader.read(oaio_id, OLD).content == b"content"
    assert error_of(remove_object(reader, f"{ROOT}/{oaio_id}/{OLD}")) == (403, "Forbidden")
    assert error_of(put_over(remover, f"{ROOT}/{oaio_id}/{OLD}")) == (403, "Forbidden"), "still history"
    assert remove_object(remover, f"{ROOT}/{oaio_id}/{OLD}").status_code == 200


def test_who_is_not_subscribed_any_more_reads_no_more(people: People) -> None:
    owner, friend = people("owner"), people("friend")
    oaio_id = owner.make()
    owner.session.share(oaio_id, friend.name, "D")
    assert friend.read(oaio_id, OLD).status_code == 200
    owner.session.share(oaio_id, friend.name, "x")
    assert error_of(friend.read(oaio_id, OLD)) == (404, "NotFound")
    owner.session.post("delete/", {"oaio_id": oaio_id})
    assert error_of(friend.read(oaio_id, OLD)) == (404, "NotFound")


def test_who_leaves_may_fetch_what_there_was(people: People) -> None:
    """It is in their trash, and may come back from there."""
    owner, friend = people("owner"), people("friend")
    oaio_id = owner.make()
    owner.session.share(oaio_id, friend.name, "U")
    assert friend.session.share(oaio_id, friend.name, "x").status_code == 200
    owner.announce("upload/", oaio_id, FRESH)
    for version in (OLD, NEWEST):
        folder = f"{ROOT}/{oaio_id}/{version}"
        assert read_version(friend, folder).status_code == 200
        assert copy_out(friend, folder).status_code == 200
        for attempt in (*WRITING, *TAKING, *WHOLE):
            assert error_of(attempt(friend, folder)) == (403, "Forbidden"), attempt.__name__
    for attempt in (*READING, *WRITING, *TAKING, *WHOLE, *OBJECT):
        assert error_of(attempt(friend, f"{ROOT}/{oaio_id}/{FRESH}")) == (404, "NotFound"), attempt.__name__
    assert error_of(friend.storage.call("GET", "list", f"{ROOT}/{oaio_id}")) == (404, "NotFound")
    assert oaio_id not in friend.storage.names(ROOT)
    owner.session.post("delete/", {"oaio_id": oaio_id})
    assert friend.read(oaio_id, OLD).status_code == 200
    assert error_of(friend.read(oaio_id, FRESH)) == (404, "NotFound")
    assert error_of(remove_version(friend, f"{ROOT}/{oaio_id}/{OLD}")) == (403, "Forbidden")
    assert error_of(friend.announce("register/", oaio_id, stamp(20))) == (409, "AlreadyExists")


@pytest.mark.parametrize("right", ["x", "U"])
def test_what_others_say_counts_more_than_having_left(people: People, right: str) -> None:
    owner, friend = people("owner"), people("friend")
    oaio_id = owner.make()
    owner.session.share(oaio_id, friend.name, "U")
    friend.session.share(oaio_id, friend.name, "x")
    assert friend.read(oaio_id, OLD).status_code == 200
    owner.session.share(oaio_id, friend.name, right)
    if right == "x":
        assert error_of(friend.read(oaio_id, OLD)) == (404, "NotFound")
    else:
        assert put_new(friend, f"{ROOT}/{oaio_id}/{FRESH}").status_code == 200
        owner.session.share(oaio_id, friend.name, "x")
        assert error_of(friend.read(oaio_id, OLD)) == (404, "NotFound")
