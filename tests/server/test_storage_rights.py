"""What users do on the storage host, each with a login of their own: every right × operation × state, over raw HTTP.

The account's own login, which does everything, is the other storage tests'.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from oaiofs.server import service
from tests.serverkit import ServerKit, serving

from .clients import Oaio, Storage, context, error_of, stamp, wire_object

LogIn = Callable[..., Oaio]

ROOT = "/oaio"
OLD, NEWEST, FRESH = stamp(1), stamp(2), stamp(9)
FILES = ("a.txt", "b.txt", "c.txt", "d.txt")
_numbers = itertools.count(1)


def storage_of(kit: ServerKit, session: Oaio, csh_id: str = "Digi") -> Storage:
    """The storage host as that user has it."""
    account = session.get(f"csh_args/{csh_id}").json()
    return Storage(kit, account["email"], account["password"])


def new_id() -> str:
    return f"Stored Größe {next(_numbers)}"


@dataclass
class Person:
    """A user on both hosts."""

    session: Oaio
    storage: Storage
    own: str = ""

    @property
    def name(self) -> str:
        return self.session.name

    def store(self, oaio_id: str, version: str, name: str = "a.txt", content: bytes = b"content") -> httpx.Response:
        """Put a file, and where its folder is missing make that from the top, as clients do."""
        place = f"{ROOT}/{oaio_id}/{version}"
        answer = self.storage.put(place, name, content, overwrite="true")
        if answer.status_code == 404:
            self.storage.folder("/", "oaio")
            self.storage.folder(ROOT, oaio_id)
            self.storage.folder(f"{ROOT}/{oaio_id}", version)
            answer = self.storage.put(place, name, content, overwrite="true")
        return answer

    def announce(self, slug: str, oaio_id: str, version: str) -> httpx.Response:
        return self.session.post(slug, wire_object(oaio_id=oaio_id, client_stamp=version))

    def read(self, oaio_id: str, version: str, name: str = "a.txt") -> httpx.Response:
        return self.storage.get(f"{ROOT}/{oaio_id}/{version}/{name}")

    def make(self, *, registered: bool = True) -> str:
        """A new object with an old, a newest and a never announced version, or only stored."""
        oaio_id = new_id()
        for name in FILES:
            assert self.store(oaio_id, FRESH, name).status_code == 200
        for version in (OLD, NEWEST):
            folder = f"{ROOT}/{oaio_id}"
            assert self.storage.transfer("copy", f"{folder}/{FRESH}", f"{folder}/{version}").status_code == 200
        if registered:
            assert self.announce("register/", oaio_id, OLD).status_code == 200
            assert self.announce("upload/", oaio_id, NEWEST).status_code == 200
        return oaio_id


People = Callable[..., Person]


@pytest.fixture
def people(oaio_server: ServerKit, log_in: LogIn) -> Iterator[People]:
    made: list[Person] = []

    def make(stem: str = "person") -> Person:
        session = log_in(stem)
        made.append(Person(session, storage_of(oaio_server, session)))
        return made[-1]

    yield make
    for person in made:
        person.storage.http.close()


# every right, operation and state


def put_new(friend: Person, folder: str) -> httpx.Response:
    return friend.storage.put(folder, "new.txt", b"new")


def put_over(friend: Person, folder: str) -> httpx.Response:
    return friend.storage.put(folder, "a.txt", b"changed", overwrite="true")


def put_raw(friend: Person, folder: str) -> httpx.Response:
    return friend.storage.put_raw(folder, b"new", filename="raw.txt")


def folder_in(friend: Person, folder: str) -> httpx.Response:
    return friend.storage.folder(folder, "deeper")


def _elsewhere(friend: Person) -> str:
    """A folder of the friend's own, with a file a.txt."""
    if not friend.own:
        friend.own = new_id()
    assert friend.store(friend.own, FRESH).status_code == 200
    return f"{ROOT}/{friend.own}/{FRESH}"


def copy_in(friend: Person, folder: str) -> httpx.Response:
    return friend.storage.transfer("copy", f"{_elsewhere(friend)}/a.txt", f"{folder}/copied.txt")


def move_in(friend: Person, folder: str) -> httpx.Response:
    return friend.storage.transfer("move", f"{_elsewhere(friend)}/a.txt", f"{folder}/moved.txt")


def copy_out(friend: Person, folder: str) -> httpx.Response:
    return friend.storage.transfer("copy", folder, f"{_elsewhere(friend)}/{new_id()}")


def move_out(friend: Person, folder: str) -> httpx.Response:
    return friend.storage.transfer("move", f"{folder}/b.txt", f"{_elsewhere(friend)}/{new_id()}")


def rename_file(friend: Person, folder: str) -> httpx.Response:
    return friend.storage.call("PUT", "rename", f"{folder}/c.txt", {"name": "renamed.txt"})


def move_version(friend: Person, folder: str) -> httpx.Response:
    return friend.storage.transfer("move", folder, f"{_elsewhere(friend)}/{new_id()}")


def remove_file(friend: Person, folder: str) -> httpx.Response:
    return friend.storage.call("DELETE", "remove", f"{folder}/a.txt")


def remove_version(friend: Person, folder: str) -> httpx.Response:
    return friend.storage.call("DELETE", "remove", folder)


def remove_object(friend: Person, folder: str) -> httpx.Response:
    return friend.storage.call("DELETE", "remove", folder.rpartition("/")[0])


def move_object(friend: Person, folder: str) -> httpx.Response:
    return friend.storage.transfer("move", folder.rpartition("/")[0], f"{ROOT}/{new_id()}")


def read_version(friend: Person, folder: str) -> httpx.Response:
    calls = [friend.storage.call("GET", name, folder) for name in ("info", "list", "tree", "bundle")]
    calls.append(friend.storage.call("GET", "info", f"{folder}/d.txt"))
    calls += [friend.storage.list_recursive(folder), friend.storage.get(f"{folder}/d.txt")]
    calls.append(friend.storage.get(f"{folder}/d.txt", Range="bytes=1-2"))
    assert len({one.status_code // 100 for one in calls}) == 1, [one.status_code for one in calls]
    return calls[0]


READING = (read_version, copy_out)
WRITING = (put_new, put_over, put_raw, folder_in, copy_in, move_in)
TAKING = (remove_file, move_out, rename_file)
WHOLE = (remove_version, move_version)
OBJECT = (remove_object, move_object)

#: What C, D, U, r and none end in; in that order.
_ALL_BUT_STRANGERS = (200, 200, 200, 200, 404)
_WITH_U = (200, 200, 200, 403, 404)
_WITH_D = (200, 200, 403, 403, 404)
_NOBODY = (403, 403, 403, 403, 404)
TABLE = {
    "registered": {
        READING: {OLD: _ALL_BUT_STRANGERS, NEWEST: _ALL_BUT_STRANGERS, FRESH: _ALL_BUT_STRANGERS},
        WRITING: {OLD: _NOBODY, NEWEST: _NOBODY, FRESH: _WITH_U},
        TAKING: {OLD: _NOBODY, NEWEST: _NOBODY, FRESH: _WITH_U},
        WHOLE: {OLD: _WITH_D, NEWEST: _WITH_D, FRESH: _WITH_U},
        OBJECT: {FRESH: _WITH_D},
    },
    "deleted": {
        READING: {OLD: _ALL_BUT_STRANGERS, NEWEST: _ALL_BUT_STRANGERS, FRESH: _ALL_BUT_STRANGERS},
        WRITING: {OLD: _NOBODY, NEWEST: _NOBODY, FRESH: _WITH_D},
        TAKING: {OLD: _NOBODY, NEWEST: _NOBODY, FRESH: _WITH_D},
        WHOLE: {OLD: _WITH_D, NEWEST: _WITH_D, FRESH: _WITH_D},
        OBJECT: {FRESH: _WITH_D},
    },
    "unregistered": {
        READING: {FRESH: (404,) * 5},
        WRITING: {FRESH: (404,) * 5},
        TAKING: {FRESH: (404,) * 5},
        WHOLE: {FRESH: (404,) * 5},
        OBJECT: {FRESH: (404,) * 5},
    },
}


def in_state(owner: Person, friend: Person, state: str, right: str) -> str:
    oaio_id = owner.make(registered=state != "unregistered")
    if state != "unregistered" and right != "x":
        assert owner.session.share(oaio_id, friend.name, right).status_code == 200
    if state == "deleted":
        assert owner.session.post("delete/", {"oaio_id": oaio_id}).status_code == 200
    return oaio_id


@pytest.mark.parametrize("state", TABLE)
@pytest.mark.parametrize("right", "CDUrx")
def test_every_operation(people: People, state: str, right: str) -> None:
    owner, friend = people("owner"), people("friend")
    oaio_id = in_state(owner, friend, state, right)
    for attempts, versions in TABLE[state].items():
        for attempt, (version, expected) in itertools.product(attempts, versions.items()):
            wanted = expected["CDUrx".index(right)]
            answer = attempt(friend, f"{ROOT}/{oaio_id}/{version}")
            status = 200 if answer.is_success else answer.status_code
            assert status == wanted, (attempt.__name__, version, answer.status_code, answer.text)
            if wanted != 200:
                assert answer.json()["error"]["message"].endswith("."), answer.text
            elif attempts in (WHOLE, OBJECT):
                oaio_id = in_state(owner, friend, state, right)
    if right in "rx":
        wanted_versions = (OLD, NEWEST, FRESH)
        assert [owner.read(oaio_id, version).content for version in wanted_versions] == [b"content"] * 3


def test_a_stranger_is_answered_as_if_there_were_nothing(people: People) -> None:
    owner, stranger = people("owner"), people("stranger")
    there, nothing = f"{ROOT}/{owner.make()}/{OLD}", f"{ROOT}/{new_id()}/{OLD}"
    for attempt in (read_version, remove_version, remove_file, remove_object, move_out, put_new, put_raw, folder_in):
        answers = [attempt(stranger, folder) for folder in (there, nothing)]
        said = [(one.status_code, one.json()["error"]) for one in answers]
        assert said[0] == said[1], attempt.__name__
    assert owner.session.listing()


def test_who_may_not_put_is_told_nothing_of_what_is_there(people: People) -> None:
    """Rights come before all that is looked up for a put, and before its bytes are stored anywhere."""
    owner, friend = people("owner"), people("friend")
    oaio_id = owner.make()
    folder = f"{ROOT}/{oaio_id}/{FRESH}"
    for right, refusal in (("x", (404, "NotFound")), ("r", (403, "Forbidden"))):
        owner.session.share(oaio_id, friend.name, right)
        for name, wanted in (("a.txt", {"autorename": "false"}), ("a.txt", {"overwriteIfSize": "0"}), ("new", {})):
            assert error_of(friend.storage.put_raw(folder, b"x", filename=name, **wanted)) == refusal
            assert error_of(friend.storage.put(f"{folder}/missing", name, b"x", **wanted)) == refusal


def test_sentences_tell_which_right_it_takes(people: People) -> None:
    owner, friend = people("owner"), people("friend")
    oaio_id = owner.make()
    folder = f"{ROOT}/{oaio_id}/{OLD}"
    owner.session.share(oaio_id, friend.name, "r")
    assert "to read it" in put_over(friend, folder).json()["error"]["message"]
    owner.session.share(oaio_id, friend.name, "U")
    assert "right D or C" in remove_version(friend, folder).json()["error"]["message"]
    assert "new version" in put_over(friend, folder).json()["error"]["message"]


# who made it


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


# versions


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


# names in any case


@pytest.mark.parametrize("change", [str.upper, str.lower, str.casefold, str.swapcase])
def test_names_in_another_case_are_the_same_object(people: People, change: Callable[[str], str]) -> None:
    owner, stranger, friend = people("owner"), people("stranger"), people("friend")
    oaio_id = owner.make()
    owner.session.share(oaio_id, friend.name, "r")
    spelled = change(oaio_id)
    assert spelled != oaio_id
    for root in (ROOT, ROOT.upper()):
        folder = f"{root}/{spelled}/{OLD}"
        assert friend.storage.get(f"{folder}/A.TXT").content == b"content"
        assert error_of(read_version(stranger, folder)) == (404, "NotFound")
        assert error_of(stranger.storage.folder(root, spelled)) == (404, "NotFound")
        assert error_of(put_over(friend, folder)) == (403, "Forbidden")
        assert error_of(put_over(owner, folder)) == (403, "Forbidden")
    assert error_of(stranger.announce("register/", spelled, OLD)) == (409, "AlreadyExists")
    assert error_of(owner.announce("register/", spelled, OLD)) == (409, "AlreadyExists")
    owner.session.post("delete/", {"oaio_id": oaio_id})
    assert error_of(owner.announce("register/", spelled, stamp(20))) == (409, "AlreadyExists")
    assert error_of(stranger.announce("register/", spelled, stamp(20))) == (409, "AlreadyExists")


def test_an_id_that_is_stored_in_another_case(people: People) -> None:
    maker = people("maker")
    oaio_id = maker.make(registered=False)
    assert error_of(maker.announce("register/", oaio_id.upper(), OLD)) == (409, "AlreadyExists")
    assert maker.announce("register/", oaio_id, OLD).status_code == 200


# the root folder and what is around it


def test_the_root_folder_shows_only_the_users_own(people: People) -> None:
    owner, friend, stranger = people("owner"), people("friend"), people("stranger")
    shared, private, stored = owner.make(), owner.make(), owner.make(registered=False)
    owner.session.share(shared, friend.name, "r")
    deleted = in_state(owner, friend, "deleted", "r")
    for person, ids in ((owner, {shared, private, stored, deleted}), (friend, {shared, deleted}), (stranger, set())):
        storage = person.storage
        assert set(storage.names(ROOT)) == ids
        bundle = storage.call("GET", "bundle", ROOT).json()
        assert {one["name"] for one in bundle["files"]} == ids
        assert bundle["file"]["modified"] == 0
        tree = storage.call("GET", "tree", ROOT).json()
        assert {one["name"] for one in tree["children"]} == ids
        assert storage.call("GET", "info", ROOT).json()["modified"] == 0
        for top, at in ((ROOT, 1), ("/", 2)):
            lines = [line.split('"path":"')[1].split('"')[0] for line in storage.list_recursive(top).text.splitlines()]
            assert {
                path.split("/")[at] for path in lines if path.count("/") >= at and len(path) > 1 and path != "/oaio"
            } == ids
        assert [one["name"] for one in storage.call("GET", "list", "/").json()["files"]] == ["oaio"]


def test_the_way_to_the_objects_stays_as_it_is(people: People) -> None:
    user = people()
    own = _elsewhere(user)
    storage = user.storage
    assert error_of(storage.folder("/", "oaio")) == (400, "AlreadyExists")
    for path in ("/", ROOT):
        assert error_of(storage.call("DELETE", "remove", path))[0] == 403
        assert error_of(storage.transfer("copy", path, f"{own}/all")) == (403, "Forbidden")
        assert error_of(storage.transfer("move", path, f"{own}/all")) == (403, "Forbidden")
        assert error_of(storage.put(path, "no object's", b"")) == (403, "Forbidden")
    assert error_of(storage.call("PUT", "rename", ROOT, {"name": "mine"})) == (403, "Forbidden")
    assert error_of(storage.transfer("copy", f"{own}/a.txt", ROOT)) == (403, "Forbidden")


def test_nothing_is_outside_of_root_folders(oaio_server: ServerKit, people: People) -> None:
    user = people()
    own = _elsewhere(user)
    (oaio_server.data / "storage").joinpath(
        user.storage.http.get("/api/v2/mounts").json()["mounts"][0]["id"], "out"
    ).mkdir(exist_ok=True)
    for path in ("/out", "/never"):
        assert error_of(user.storage.call("GET", "info", path)) == (404, "NotFound")
        assert error_of(user.storage.call("GET", "list", path)) == (404, "NotFound")
        assert error_of(user.storage.call("DELETE", "remove", path)) == (404, "NotFound")
        assert error_of(user.storage.transfer("copy", path, f"{own}/x")) == (404, "NotFound")
        assert error_of(user.storage.folder("/", path[1:])) == (403, "Forbidden")
        assert error_of(user.storage.put(path, "x", b"")) == (403, "Forbidden")
        assert error_of(user.storage.transfer("copy", f"{own}/a.txt", path)) == (403, "Forbidden")
    assert user.storage.names("/") == ["oaio"]


# logins


def test_a_user_gets_the_same_login_each_time_and_everybody_another(people: People, log_in: LogIn) -> None:
    one, other, root = people(), people(), log_in("root", superuser=True)
    mine = one.session.get("csh_args/Digi").json()
    assert mine == one.session.get("csh_args/Digi").json()
    assert sorted(mine) == ["email", "password", "root_folder"]
    assert mine["email"].isascii()
    assert ":" not in mine["email"]
    assert len(mine["password"]) > 40
    others = other.session.get("csh_args/Digi").json()
    assert mine["email"] != others["email"]
    assert mine["password"] != others["password"]
    assert root.get("csh_args/Digi").json() != mine
    assert root.get("csh_args/Digi", X_OAIO_user=context(one.name)).json() == mine
    user = one.storage.http.get("/api/v2/user").json()
    assert user["email"] == mine["email"]


@pytest.mark.parametrize("email", ["oaio-user-1-999999", "oaio-user-999999-1", "oaio-user-1-1", "oaio-user-٣-1", "x"])
def test_a_login_is_not_guessed(oaio_server: ServerKit, people: People, email: str) -> None:
    account = people().session.get("csh_args/Digi").json()
    for password in (account["password"], "", "ä"):
        answer = httpx.get(f"{oaio_server.url}/api/v2/mounts", auth=(email, password))
        assert error_of(answer) == (401, "Unauthorized")


def test_a_login_ends_with_either_password_and_with_the_user(tmp_path: Path) -> None:
    data = tmp_path  # an own server: the account's password changes
    with serving(data) as kit:
        service.add_storage(data, "Own", "own@test", "first", "/own")
        name, password = kit.fresh_user()
        session = Oaio(kit, name, password)
        seen: set[str] = set()

        def works(storage: Storage, headers: dict[str, str]) -> list[int]:
            with_token = storage.http.get("/api/v2/mounts", auth=None, headers=headers).status_code
            return [storage.http.get("/api/v2/mounts").status_code, with_token]

        def check(change: Callable[[], object]) -> None:
            account = session.get("csh_args/Own").json()
            seen.add(account["password"])
            login = {"X-Koofr-Email": account["email"], "X-Koofr-Password": account["password"]}
            with Storage(kit, account["email"], account["password"]) as storage:
                headers = {"Authorization": f"Token {storage.http.get('/token', headers=login).json()['token']}"}
                assert works(storage, headers) == [200, 200]
                change()
                for _ in range(10):
                    assert works(storage, headers) == [401, 401], "and is never throttled: devices are to ask anew"

        def new_password() -> None:
            service.set_password(kit.data, name, "second")
            assert session.log_in("second").status_code == 200

        with session:
            check(lambda: service.add_storage(kit.data, "Own", "own@test", "second", "/own"))
            check(new_password)
            check(lambda: service.delete_user(kit.data, name))
        assert len(seen) == 3


def test_logins_of_other_accounts_are_apart(oaio_server: ServerKit, people: People) -> None:
    user = people()
    service.add_storage(oaio_server.data, "Second", "second@test", "pw", "/elsewhere/deep")
    digi, second = user.session.get("csh_args/Digi").json(), user.session.get("csh_args/Second").json()
    assert digi["email"] != second["email"]
    mixed = httpx.get(f"{oaio_server.url}/api/v2/mounts", auth=(digi["email"], second["password"]))
    assert error_of(mixed) == (401, "Unauthorized")
    with storage_of(oaio_server, user.session, "Second") as storage:
        assert storage.names("/") == []
        assert storage.folder("/", "elsewhere").status_code == 201
        assert storage.folder("/elsewhere", "deep").status_code == 201
        assert error_of(storage.folder("/elsewhere", "other")) == (403, "Forbidden")
        oaio_id = new_id()
        assert storage.folder("/elsewhere/deep", oaio_id).status_code == 201
        assert storage.names("/elsewhere") == ["deep"]
        assert storage.names("/elsewhere/deep") == [oaio_id]
    with Storage(oaio_server, "second@test", "pw").http as http:
        listed = http.get("/api/v2/mounts/primary/files/list", params={"path": "/elsewhere/deep"}).json()
        assert [one["name"] for one in listed["files"]] == [oaio_id]


def test_a_storage_elsewhere_is_handed_out_as_it_is(oaio_server: ServerKit, people: People) -> None:
    service.add_storage(oaio_server.data, "Elsewhere", "me@far", "pw", "root", base_url="https://digistorage.es")
    assert people().session.get("csh_args/Elsewhere").json() == {
        "root_folder": "root", "email": "me@far", "password": "pw",
    }  # fmt: skip
