"""What was announced stays as it is on the storage host, whoever comes with a login of their own."""

from __future__ import annotations

from collections.abc import Iterator

from .clients import error_of, stamp
from .storing import (
    FILES,
    FRESH,
    NEWEST,
    OLD,
    ROOT,
    LogIn,
    People,
    folder_in,
    put_new,
    put_over,
    remove_file,
    remove_version,
)


def test_who_announced_the_newest_version_may_store_its_files_again(people: People) -> None:
    """The existing client does so when the answer was lost: each file is removed and put."""
    owner, friend = people("owner"), people("friend")
    oaio_id = owner.make()
    owner.session.share(oaio_id, friend.name, "U")
    newer = stamp(3)
    assert friend.store(oaio_id, newer).status_code == 200
    assert friend.announce("upload/", oaio_id, newer).status_code == 200
    folder = f"{ROOT}/{oaio_id}/{newer}"
    assert remove_file(friend, folder).status_code == 200
    assert put_new(friend, folder).status_code == 200
    assert put_over(friend, folder).status_code == 200
    assert error_of(remove_version(friend, folder)) == (403, "Forbidden")
    assert error_of(remove_file(owner, folder)) == (403, "Forbidden")
    assert error_of(put_over(owner, folder)) == (403, "Forbidden")
    owner.session.share(oaio_id, friend.name, "r")
    assert error_of(put_over(friend, folder)) == (403, "Forbidden")
    owner.session.share(oaio_id, friend.name, "U")
    assert owner.announce("upload/", oaio_id, stamp(4)).status_code == 200
    for attempt in (remove_file, put_new, put_over, folder_in):
        assert error_of(attempt(friend, folder)) == (403, "Forbidden"), "it is history now"
    assert friend.read(oaio_id, newer).content == b"changed"


def test_versions_of_a_wiped_user_stay_as_they_are(people: People, log_in: LogIn) -> None:
    owner, friend, root = people("owner"), people("friend"), log_in("root", superuser=True)
    oaio_id = owner.make()
    owner.session.share(oaio_id, friend.name, "U")
    newer = stamp(3)
    friend.store(oaio_id, newer)
    friend.announce("upload/", oaio_id, newer)
    owner.announce("upload/", oaio_id, stamp(4))
    assert root.post("wipe_user/", {"Uid": friend.name}).status_code == 200
    assert error_of(put_over(owner, f"{ROOT}/{oaio_id}/{newer}")) == (403, "Forbidden")
    told = owner.session.get(f"oaio_log/{oaio_id}").json()
    assert [one["client_stamp"] for one in told] == [stamp(4), NEWEST, OLD]


def test_a_right_that_ends_while_the_bytes_come(people: People) -> None:
    owner, friend = people("owner"), people("friend")
    oaio_id = owner.make()
    owner.session.share(oaio_id, friend.name, "U")
    folder = f"{ROOT}/{oaio_id}/{FRESH}"

    def chunks() -> Iterator[bytes]:
        yield b"first"
        owner.session.share(oaio_id, friend.name, "r")
        yield b"second"

    assert error_of(friend.storage.put_raw(folder, chunks(), filename="late.txt")) == (403, "Forbidden")
    assert owner.storage.names(folder) == list(FILES)


def test_a_name_that_only_the_body_tells_is_looked_at_then(people: People) -> None:
    """As the existing client names files; here that of an announced version which had none."""
    owner = people("owner")
    oaio_id = owner.make()
    owner.announce("upload/", oaio_id, stamp(3))
    answer = owner.storage.put(f"{ROOT}/{oaio_id}", stamp(3), b"no folder")
    assert error_of(answer) == (403, "Forbidden")
    assert owner.storage.put(f"{ROOT}/{oaio_id}", "harmless", b"").status_code == 200


def test_a_version_that_is_announced_while_the_bytes_come(people: People) -> None:
    owner, friend = people("owner"), people("friend")
    oaio_id = owner.make()
    owner.session.share(oaio_id, friend.name, "U")

    def chunks() -> Iterator[bytes]:
        yield b"first"
        owner.announce("upload/", oaio_id, FRESH)
        yield b"second"

    answer = friend.storage.put_raw(f"{ROOT}/{oaio_id}/{FRESH}", chunks(), filename="late.txt")
    assert error_of(answer) == (403, "Forbidden")
