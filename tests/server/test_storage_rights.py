"""What users may do on the storage host with a login of their own: every right × operation × state, over raw HTTP.

The account's own login, which does everything, is the other storage tests'.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

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
    People,
    elsewhere,
    folder_in,
    in_state,
    move_out,
    new_id,
    put_new,
    put_over,
    put_raw,
    read_version,
    remove_file,
    remove_object,
    remove_version,
)

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
    own = elsewhere(user)
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
    own = elsewhere(user)
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
