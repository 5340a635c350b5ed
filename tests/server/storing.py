"""What users do on the storage host, each with a login of their own, over raw HTTP."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from tests.serverkit import ServerKit

from .clients import Oaio, Storage, stamp, wire_object

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


# what is tried in the folder of a version


def put_new(friend: Person, folder: str) -> httpx.Response:
    return friend.storage.put(folder, "new.txt", b"new")


def put_over(friend: Person, folder: str) -> httpx.Response:
    return friend.storage.put(folder, "a.txt", b"changed", overwrite="true")


def put_raw(friend: Person, folder: str) -> httpx.Response:
    return friend.storage.put_raw(folder, b"new", filename="raw.txt")


def folder_in(friend: Person, folder: str) -> httpx.Response:
    return friend.storage.folder(folder, "deeper")


def elsewhere(friend: Person) -> str:
    """A folder of the friend's own, with a file a.txt."""
    if not friend.own:
        friend.own = new_id()
    assert friend.store(friend.own, FRESH).status_code == 200
    return f"{ROOT}/{friend.own}/{FRESH}"


def copy_in(friend: Person, folder: str) -> httpx.Response:
    return friend.storage.transfer("copy", f"{elsewhere(friend)}/a.txt", f"{folder}/copied.txt")


def move_in(friend: Person, folder: str) -> httpx.Response:
    return friend.storage.transfer("move", f"{elsewhere(friend)}/a.txt", f"{folder}/moved.txt")


def copy_out(friend: Person, folder: str) -> httpx.Response:
    return friend.storage.transfer("copy", folder, f"{elsewhere(friend)}/{new_id()}")


def move_out(friend: Person, folder: str) -> httpx.Response:
    return friend.storage.transfer("move", f"{folder}/b.txt", f"{elsewhere(friend)}/{new_id()}")


def rename_file(friend: Person, folder: str) -> httpx.Response:
    return friend.storage.call("PUT", "rename", f"{folder}/c.txt", {"name": "renamed.txt"})


def move_version(friend: Person, folder: str) -> httpx.Response:
    return friend.storage.transfer("move", folder, f"{elsewhere(friend)}/{new_id()}")


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


def in_state(owner: Person, friend: Person, state: str, right: str) -> str:
    oaio_id = owner.make(registered=state != "unregistered")
    if state != "unregistered" and right != "x":
        assert owner.session.share(oaio_id, friend.name, right).status_code == 200
    if state == "deleted":
        assert owner.session.post("delete/", {"oaio_id": oaio_id}).status_code == 200
    return oaio_id
