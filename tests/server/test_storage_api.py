"""The storage host over HTTP: each call's parameters, statuses and bodies as the vendor's clients know them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from .clients import Storage, error_of

New = Callable[..., Storage]
BOTH = pytest.mark.parametrize("version", ["v2", "v2.1"])


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def items(answer: httpx.Response) -> dict[str, Any]:
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert all(line["type"] == "file" for line in lines), lines
    return {line["path"]: line["file"] for line in lines}


@BOTH
def test_mounts_and_places(new_storage: New, version: str) -> None:
    storage = new_storage(version, quota=10 * 1024 * 1024)
    storage.put("/", "a", b"x" * 1024 * 1024)
    (mount,) = storage.http.get(f"/api/{version}/mounts").json()["mounts"]
    assert (mount["name"], mount["isPrimary"], mount["online"]) == ("DIGIstorage", True, True)
    assert (mount["spaceTotal"], mount["spaceUsed"], mount["overQuota"]) == (10, 1, False)
    assert storage.http.get(f"/api/{version}/places").json() == {"places": [mount]}
    for name in (mount["id"], "primary"):
        assert storage.http.get(f"/api/{version}/mounts/{name}").json() == mount
    storage.mount = mount["id"]
    assert storage.names("/") == ["a"]
    storage.mount = "another"
    assert error_of(storage.call("GET", "list", "/")) == (404, "NotFound")
    assert error_of(storage.put("/", "b", b"")) == (404, "NotFound")


def test_user(storage: Storage) -> None:
    assert "@" in storage.http.get("/api/v2.1/user").json()["email"]
    assert storage.http.get("/api/v2.1/user/authenticated").status_code == 204


# folders and lists


@BOTH
def test_folders(new_storage: New, version: str) -> None:
    storage = new_storage(version)
    assert storage.folder("/", "a").status_code == 201
    assert storage.folder("/a", "b").status_code == 201
    assert storage.names("") == storage.names("/") == ["a"]
    assert storage.names("a") == storage.names("/a/") == ["b"]
    assert error_of(storage.folder("/", "a")) == ((409 if version == "v2.1" else 400), "AlreadyExists")
    assert error_of(storage.folder("/missing", "b")) == (404, "NotFound")
    assert error_of(storage.call("GET", "list", "/missing")) == (404, "NotFound")
    assert error_of(storage.call("GET", "info", "/missing")) == (404, "NotFound")


def test_the_version_header_makes_v2_modern(storage: Storage) -> None:
    storage.folder("/", "a")
    storage.http.headers["X-Koofr-Version"] = "2.1"
    assert error_of(storage.folder("/", "a")) == (409, "AlreadyExists")


def test_errors_carry_a_request_id(storage: Storage) -> None:
    answer = storage.call("GET", "info", "/missing")
    assert answer.json()["requestId"] == answer.headers["X-Request-Id"]


def test_records(storage: Storage) -> None:
    storage.folder("/", "d")
    storage.put("/", "f.txt", b"abc", modified=1_700_000_000_123)
    record = storage.call("GET", "info", "/f.txt").json()
    assert record == {
        "name": "f.txt",
        "type": "file",
        "modified": 1_700_000_000_123,
        "size": 3,
        "contentType": "text/plain",
        "hash": md5(b"abc"),
    }
    folder, file = storage.call("GET", "list", "/").json()["files"]
    assert file == record
    assert (folder["name"], folder["type"], folder["size"], folder["contentType"]) == ("d", "dir", 0, "")
    assert "hash" not in folder
    assert storage.call("GET", "info", "/").json()["type"] == "dir"
    assert error_of(storage.call("GET", "list", "/f.txt")) == (400, "NotDir")
    assert storage.call("GET", "bundle", "/").json()["files"] == [folder, file]


@pytest.fixture
def grown(storage: Storage) -> Storage:
    """With /v/a.txt, /v/sub/b.txt, /v/sub/deep/c.txt and an empty folder /v/void."""
    for parent, name in (("/", "v"), ("/v", "sub"), ("/v/sub", "deep"), ("/v", "void")):
        assert storage.folder(parent, name).status_code == 201
    for parent, name in (("/v", "a.txt"), ("/v/sub", "b.txt"), ("/v/sub/deep", "c.txt")):
        assert storage.put(parent, name, name.encode(), modified=1_600_000_000_000).status_code == 200
    return storage


_GROWN = ["/", "/a.txt", "/sub", "/void", "/sub/b.txt", "/sub/deep", "/sub/deep/c.txt"]


@BOTH
def test_list_recursive(grown: Storage, version: str) -> None:
    grown.version = version
    found = items(grown.list_recursive("/v"))
    assert list(found) == _GROWN
    assert found["/"]["name"] == "v"
    assert found["/sub/deep/c.txt"]["hash"] == md5(b"c.txt")
    assert list(items(grown.list_recursive("/")))[:2] == ["/", "/v"]
    assert error_of(grown.list_recursive("/nothing")) == (404, "NotFound")
    assert error_of(grown.list_recursive("/v/a.txt")) == (400, "NotDir")
    assert grown.call("GET", "listrecursive", "/v").status_code == 404, "only below /content"


def test_tree(grown: Storage) -> None:
    tree = grown.call("GET", "tree", "/v").json()
    assert [child["name"] for child in tree["children"]] == ["a.txt", "sub", "void"]
    sub = tree["children"][1]
    assert [child["name"] for child in sub["children"]] == ["b.txt", "deep"]
    assert sub["children"][1]["children"][0]["hash"] == md5(b"c.txt")
    assert "children" not in tree["children"][0]


# put


def test_put_makes_another_name_by_default(storage: Storage) -> None:
    for expected in ("n.tar.gz", "n.tar (1).gz", "n.tar (2).gz"):
        assert storage.put("/", "n.tar.gz", b"x").json()["name"] == expected
    plain = storage.http.post(
        "/content/api/v2/mounts/primary/files/put", params={"path": "/"}, files={"file": (".hidden", b"")}
    )
    assert plain.json() == [{"name": ".hidden"}]
    assert storage.put("/", ".hidden", b"").json()["name"] == ".hidden (1)"


@BOTH
def test_put_create_only(new_storage: New, version: str) -> None:
    storage = new_storage(version)
    assert storage.put("/", "n", b"1", autorename="false").json()["name"] == "n"
    taken = error_of(storage.put("/", "n", b"2", autorename="false"))
    assert taken == ((409, "Conflict") if version == "v2.1" else (400, "AlreadyExists"))
    assert storage.get("/n").content == b"1"


def test_put_overwrite_is_idempotent(storage: Storage) -> None:
    params = {"overwrite": "true", "autorename": "false", "overwriteIgnoreNonexisting": "", "modified": 5}
    for content in (b"one", b"two", b"two"):
        record = storage.put("/", "n", content, **params).json()
        assert (record["name"], record["hash"], record["modified"]) == ("n", md5(content), 5)
    assert storage.names("/") == ["n"]
    assert storage.get("/n").content == b"two"


@BOTH
def test_put_on_a_condition(new_storage: New, version: str) -> None:
    storage = new_storage(version)
    right = {"overwriteIfHash": md5(b"old"), "overwriteIfSize": 3, "overwriteIfModified": 7}
    assert error_of(storage.put("/", "n", b"new", **right)) == (409, "Conflict")
    assert storage.put("/", "n", b"old", **right, modified=7, overwriteIgnoreNonexisting="").status_code == 200
    for wrong in ({"overwriteIfHash": md5(b"x")}, {"overwriteIfSize": 4}, {"overwriteIfModified": 8}):
        for ignore in ({}, {"overwriteIgnoreNonexistent": ""}):
            assert error_of(storage.put("/", "n", b"new", **{**right, **wrong, **ignore})) == (409, "Conflict")
            raw = storage.put_raw("/", b"new", filename="n", **{**right, **wrong, **ignore})
            assert error_of(raw) == (409, "Conflict")
    assert storage.get("/n").content == b"old"
    assert storage.put("/", "n", b"new", **right).json()["name"] == "n"
    assert storage.names("/") == ["n"]


def test_put_where_it_can_not_go(storage: Storage) -> None:
    storage.folder("/", "d")
    storage.put("/", "f", b"")
    assert error_of(storage.put("/missing", "n", b"x")) == (404, "NotFound")
    assert error_of(storage.put("/f", "n", b"x")) == (400, "NotDir")
    assert error_of(storage.put("/", "d", b"x", overwrite="true")) == (400, "NotFile")
    assert storage.put("/", "d", b"x").json()["name"] == "d (1)"


def test_put_raw_and_the_query_names_the_file(storage: Storage) -> None:
    assert storage.put_raw("/", b"raw", filename="a & b.txt").json()["hash"] == md5(b"raw")
    assert storage.put("/", "inner", b"x", filename="outer").json()["name"] == "outer"
    assert error_of(storage.put_raw("/", b"raw")) == (400, "InvalidPath")

    def chunks() -> Iterator[bytes]:
        for _ in range(40):
            yield b"0123456789" * 5000

    record = storage.put_raw("/", chunks(), filename="chunked").json()
    assert (record["size"], record["hash"]) == (2_000_000, md5(b"0123456789" * 200_000))


@pytest.mark.parametrize(
    "name", ["a&amp;b.txt", "zwölf 日本 😀", "per%20cent", "a:b", "semi;colon", " space ", "'quote'"]
)
def test_names_are_kept_exactly(storage: Storage, name: str) -> None:
    assert storage.put("/", name, b"x").json()["name"] == name
    assert storage.names("/") == [name]
    assert storage.get(f"/{name}").content == b"x"
    assert storage.folder("/", f"{name}+").status_code == 201
    assert storage.put(f"/{name}+", name, b"y").status_code == 200
    assert json.loads(storage.get(f"/{name}+/{name}").headers["X-File-Info"])["name"] == name


def test_put_checks_the_expected_size(storage: Storage) -> None:
    assert error_of(storage.put("/", "n", b"abc", size=4)) == (400, "BadRequest")
    assert storage.put("/", "n", b"abc", size=3).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"garbage",
        b'--B\r\nContent-Disposition: form-data; name="file"; filename="n"\r\n\r\ncut off',
        b'--B\r\nContent-Disposition: form-data; name="other"; filename="n"\r\n\r\nx\r\n--B--\r\n',
    ],
)
def test_broken_multipart_makes_no_file(storage: Storage, body: bytes) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=B"}
    url = "/content/api/v2/mounts/primary/files/put"
    assert error_of(storage.http.post(url, params={"path": "/"}, content=body, headers=headers)) == (400, "BadRequest")
    assert storage.names("/") == []


@pytest.mark.parametrize("value", ["x", "-1", "1e3", "9" * 19, "٣"])
def test_numbers_must_be_numbers(storage: Storage, value: str) -> None:
    assert error_of(storage.put("/", "n", b"x", modified=value)) == (400, "BadRequest")
    assert error_of(storage.put("/", "n", b"x", overwriteIfSize=value)) == (400, "BadRequest")


# copy, move, rename, remove


@BOTH
def test_copy_a_file(new_storage: New, version: str) -> None:
    storage = new_storage(version)
    storage.folder("/", "d")
    storage.put("/", "n", b"abc", modified=1000)
    assert storage.transfer("copy", "/n", "/d/m").json() == {"name": "m"}
    copied = storage.call("GET", "info", "/d/m").json()
    assert (copied["hash"], copied["size"], copied["modified"]) == (md5(b"abc"), 3, 1000)
    taken = ((409 if version == "v2.1" else 400), "AlreadyExists")
    assert error_of(storage.transfer("copy", "/n", "/d/m")) == taken
    assert error_of(storage.transfer("copy", "/n", "/n")) == taken
    assert error_of(storage.transfer("copy", "/n", "/missing/m")) == (404, "NotFound")
    assert error_of(storage.transfer("copy", "/missing", "/d/x")) == (404, "NotFound")
    assert error_of(storage.transfer("copy", "/n", "/d/x", toMountId="other")) == (404, "NotFound")


def test_a_copy_has_its_own_time_and_its_own_fate(storage: Storage) -> None:
    storage.put("/", "n", b"abc", modified=1000)
    storage.transfer("copy", "/n", "/m", modified=2000)
    assert storage.call("GET", "info", "/m").json()["modified"] == 2000
    assert storage.call("GET", "info", "/n").json()["modified"] == 1000
    storage.put("/", "n", b"other", overwrite="true")
    assert storage.get("/m").content == b"abc"
    storage.call("DELETE", "remove", "/n")
    assert storage.get("/m").content == b"abc"


def test_copy_a_whole_folder(grown: Storage) -> None:
    before = items(grown.list_recursive("/v"))
    assert grown.transfer("copy", "/v", "/w").json() == {"name": "w"}
    after = items(grown.list_recursive("/w"))
    assert list(after) == _GROWN
    for path in ("/a.txt", "/sub/b.txt", "/sub/deep/c.txt"):
        assert after[path] == before[path]
    grown.put("/w/sub", "b.txt", b"changed", overwrite="true")
    grown.call("DELETE", "remove", "/w/sub/deep")
    assert items(grown.list_recursive("/v")) == before
    assert error_of(grown.transfer("copy", "/v", "/w")) == (400, "AlreadyExists")
    assert error_of(grown.transfer("copy", "/v", "/v/sub/x")) == (400, "CopyIntoSelf")


@pytest.mark.parametrize("what", ["copy", "move"])
def test_copy_and_move_on_a_condition(storage: Storage, what: str) -> None:
    storage.put("/", "n", b"abc", modified=1000)
    for wrong in ({"ifHash": md5(b"x")}, {"ifSize": 4}, {"ifModified": 1001}):
        assert error_of(storage.transfer(what, "/n", "/m", **wrong)) == (409, "Conflict")
    assert error_of(storage.transfer(what, "/n", "/m", ifSize="3x")) == (400, "BadRequest")
    right = {"ifHash": md5(b"abc"), "ifSize": 3, "ifModified": 1000}
    assert storage.transfer(what, "/n", "/m", **right).status_code == 200


@BOTH
def test_move_and_rename(new_storage: New, version: str) -> None:
    storage = new_storage(version)
    taken = ((409 if version == "v2.1" else 400), "AlreadyExists")
    storage.folder("/", "d")
    storage.put("/", "n", b"abc", modified=1000)
    storage.put("/", "other", b"")
    assert storage.transfer("move", "/n", "/d/m").json() == {"name": "m"}
    assert storage.call("GET", "info", "/d/m").json()["modified"] == 1000
    assert storage.call("PUT", "rename", "/d", {"name": "e"}).json() == {"name": "e"}
    assert (storage.names("/"), storage.names("/e")) == (["e", "other"], ["m"])
    assert storage.call("GET", "info", "/e/m").json()["hash"] == md5(b"abc")
    assert error_of(storage.call("PUT", "rename", "/e", {"name": "other"})) == taken
    assert error_of(storage.transfer("move", "/other", "/e/m")) == taken
    assert error_of(storage.transfer("move", "/other", "/missing/m")) == (404, "NotFound")
    assert error_of(storage.transfer("move", "/e", "/e/m2")) == (400, "MoveIntoSelf")
    assert error_of(storage.call("PUT", "rename", "/missing", {"name": "x"})) == (404, "NotFound")


def test_remove(grown: Storage) -> None:
    assert grown.call("DELETE", "remove", "/v/sub").status_code == 200
    assert list(items(grown.list_recursive("/v"))) == ["/", "/a.txt", "/void"]
    assert error_of(grown.call("DELETE", "remove", "/v/sub")) == (404, "NotFound")
    assert error_of(grown.call("DELETE", "remove", "/")) == (400, "InvalidPath")


def test_remove_on_a_condition(grown: Storage) -> None:
    assert error_of(grown.call("DELETE", "remove", "/v/sub", removeIfEmpty="")) == (409, "Conflict")
    assert grown.call("DELETE", "remove", "/v/void", removeIfEmpty="").status_code == 200
    wrong = {"removeIfHash": md5(b"x")}, {"removeIfSize": 1}, {"removeIfModified": 1}
    for condition in wrong:
        assert error_of(grown.call("DELETE", "remove", "/v/a.txt", **condition)) == (409, "Conflict")
    right = {"removeIfHash": md5(b"a.txt"), "removeIfSize": 5, "removeIfModified": 1_600_000_000_000}
    assert grown.call("DELETE", "remove", "/v/a.txt", **right).status_code == 200


# quota


def test_quota(new_storage: New) -> None:
    storage = new_storage(quota=1000)
    assert storage.put("/", "a", b"x" * 600).status_code == 200
    assert error_of(storage.put("/", "b", b"x" * 401)) == (413, "QuotaExceeded")
    assert error_of(storage.put_raw("/", b"", filename="b", size=401)) == (413, "QuotaExceeded")
    assert error_of(storage.transfer("copy", "/a", "/b")) == (413, "QuotaExceeded")
    assert storage.put("/", "a", b"y" * 1000, overwrite="true").status_code == 200
    assert error_of(storage.put("/", "b", b"x")) == (413, "QuotaExceeded")
    storage.folder("/", "d")
    storage.transfer("move", "/a", "/d/a")
    storage.call("DELETE", "remove", "/d")
    assert storage.put("/", "b", b"x" * 1000).status_code == 200
    assert storage.names("/") == ["b"]


def test_a_folder_copy_over_quota_leaves_nothing(new_storage: New) -> None:
    storage = new_storage(quota=1000)
    storage.folder("/", "d")
    for name in "ab":
        storage.put("/d", name, b"x" * 300)
    assert error_of(storage.transfer("copy", "/d", "/e")) == (413, "QuotaExceeded")
    assert storage.names("/") == ["d"]
