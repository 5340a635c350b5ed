"""Names and paths: what is refused, what counts as the same name, and that nothing leads out of an account."""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaiofs.server.storage import paths
from oaiofs.server.storage.names import Names
from oaiofs.server.storage.paths import Place

from .clients import Storage, error_of

BAD_NAMES = ["", ".", "..", "a/b", "a\\b", "a\0b", "a\nb", "\x7f", "x" * 256, "ä" * 128, "\ud800", None, 7]
BAD_PATHS = ["..", "/..", "/a/../b", "/./a", "//", "//a", "/a//b", "a//", "/a\0", "/a/\x1fb", "/a\\b", "/" + "x" * 256]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_refused_names(name: object) -> None:
    with pytest.raises(paths.BadPath):
        paths.checked_name(name)


@pytest.mark.parametrize("path", [*BAD_PATHS, "/x" * 2000])
def test_refused_paths(path: str) -> None:
    with pytest.raises(paths.BadPath):
        paths.parse(path)


@pytest.mark.parametrize(
    ("path", "parts"), [("", ()), ("/", ()), ("a", ("a",)), ("/a/", ("a",)), ("a/b c/ö", ("a", "b c", "ö"))]
)
def test_accepted_paths(path: str, parts: paths.Parts) -> None:
    assert paths.parse(path) == parts


@given(st.text(max_size=40) | st.lists(st.sampled_from(["..", ".", "", "a", "b\\", "\0"]), max_size=6).map("/".join))
def test_no_path_leads_out(path: str) -> None:
    try:
        parts = paths.parse(path)
    except paths.BadPath:
        return
    assert os.path.normpath(os.path.join("/root", *parts)) == os.path.join("/root", *parts).rstrip("/")


@pytest.mark.parametrize(
    ("name", "other"), [("a.txt", "a (3).txt"), (".bashrc", ".bashrc (3)"), ("a.", "a (3)."), ("no", "no (3)")]
)
def test_numbered(name: str, other: str) -> None:
    assert paths.numbered(name, 3) == other


@pytest.mark.parametrize("path", BAD_PATHS)
def test_refused_paths_everywhere(storage: Storage, path: str) -> None:
    refusals: list[httpx.Response] = [
        storage.call("GET", "info", path),
        storage.call("GET", "list", path),
        storage.call("GET", "tree", path),
        storage.list_recursive(path),
        storage.get(path),
        storage.folder(path, "n"),
        storage.put(path, "n", b"x"),
        storage.call("DELETE", "remove", path),
        storage.call("PUT", "rename", path, {"name": "n"}),
        storage.transfer("copy", path, "/n"),
        storage.transfer("move", path, "/n"),
    ]
    storage.put("/", "f", b"x")
    refusals += [storage.transfer("copy", "/f", path), storage.transfer("move", "/f", path)]
    assert {error_of(answer) for answer in refusals} == {(400, "InvalidPath")}
    assert storage.names("/") == ["f"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../n", "a\\b", "a\nb", "x" * 256])
def test_refused_names_everywhere(storage: Storage, name: str) -> None:
    storage.put("/", "f", b"x")
    refusals = [
        storage.folder("/", name),
        storage.call("PUT", "rename", "/f", {"name": name}),
        storage.put_raw("/", b"x", filename=name),
    ]
    assert {error_of(answer) for answer in refusals} == {(400, "InvalidPath")}
    if name not in ("", "a\nb"):  # no client library lets these through
        assert error_of(storage.put("/", name, b"x")) == (400, "InvalidPath")
    assert storage.names("/") == ["f"]


def test_missing_parameters(storage: Storage) -> None:
    assert error_of(storage.call("GET", "info")) == (400, "BadRequest")
    assert error_of(storage.call("PUT", "copy", "/f", {})) == (404, "NotFound")
    assert error_of(storage.call("PUT", "copy", "/f", {"toMountId": "primary"})) == (400, "BadRequest")
    assert error_of(storage.call("PUT", "rename", "/f", [])) == (400, "BadRequest")
    assert error_of(storage.call("PUT", "rename", "/f", {"name": ["x"]})) == (400, "InvalidPath")


def test_names_are_the_same_in_any_case(storage: Storage) -> None:
    storage.folder("/", "Folder")
    storage.put("/folder", "Größe.TXT", b"1")
    assert storage.names("/FOLDER") == ["Größe.TXT"]
    assert storage.get("/fOLDER/GRÖSSE.txt").content == b"1"
    assert error_of(storage.folder("/", "FOLDER")) == (400, "AlreadyExists")
    assert storage.put("/Folder", "größe.txt", b"2", overwrite="true").json()["name"] == "Größe.TXT"
    assert storage.put("/Folder", "größe.txt", b"3").json()["name"] == "größe (1).txt"
    assert storage.names("/Folder") == ["Größe.TXT", "größe (1).txt"]
    assert storage.call("PUT", "rename", "/folder", {"name": "fOLDER"}).json() == {"name": "fOLDER"}
    assert storage.names("/") == ["fOLDER"]
    assert error_of(storage.transfer("copy", "/folder", "/FOLDER")) == (400, "AlreadyExists")
    assert error_of(storage.transfer("copy", "/folder", "/FOLDER/x")) == (400, "CopyIntoSelf")
    storage.call("DELETE", "remove", "/FOLDER")
    assert storage.names("/") == []
    assert storage.folder("/", "folder").status_code == 201


def test_names_follow_changes_made_by_others(tmp_path: Path) -> None:
    names = Names()
    assert names.find(str(tmp_path), "a") is None
    (tmp_path / "A").touch()
    os.utime(tmp_path, ns=(1, 1))  # whatever the clock's steps: the folder's time has changed
    assert names.find(str(tmp_path), "a") == "A"
    (tmp_path / "A").unlink()
    os.utime(tmp_path, ns=(1, 1))
    assert names.find(str(tmp_path), "a") is None, "a remembered name that is gone"


def test_names_forget_what_was_below_a_removed_folder(tmp_path: Path) -> None:
    names = Names()
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "Old").touch()
    os.utime(inner, ns=(5, 5))
    assert names.find(str(inner), "old") == "Old"
    (inner / "Old").rename(inner / "New")
    os.utime(inner, ns=(5, 5))  # an unlucky clock
    names.removed(str(tmp_path), "inner")
    assert names.find(str(inner), "new") == "New"


ROOTS = [("oaio",), ("Deep", "Größe"), ("oaio", "inner")]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", Place(is_way=True)),
        ("/OAIO", Place(is_way=True)),
        ("/deep", Place(is_way=True)),
        ("/deep/GRÖSSE", Place(is_way=True)),
        ("/oaio/inner", Place(is_way=True)),
        ("/oai", Place()),
        ("/deep/other", Place()),
        ("/deep/other/x/y", Place()),
        ("/oaio/Id", Place(False, 1, "Id")),
        ("/oaio/Id/1", Place(False, 2, "Id", "1")),
        ("/Oaio/Id/1/a/b", Place(False, 4, "Id", "1")),
        ("/deep/größe/Id/1", Place(False, 2, "Id", "1")),
        ("/oaio/INNER/Id/1/a", Place(False, 3, "Id", "1")),
        ("/oaio/inner2/1", Place(False, 2, "inner2", "1")),
    ],
)
def test_where_a_path_is(path: str, expected: Place) -> None:
    for roots in (ROOTS, ROOTS[::-1]):
        assert paths.place_of(paths.parse(path), roots) == expected


def test_objects_at_the_top() -> None:
    assert paths.place_of((), [()]) == Place(is_way=True)
    assert paths.place_of(("Id", "1"), [()]) == Place(False, 2, "Id", "1")
    assert paths.place_of(("Id", "1"), []) == paths.place_of((), []) == Place()
