"""The Koofr driver, against a host that behaves as told: its three ways to list, hostile names, parts of files."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaiofs import errors
from oaiofs.core.model import FileFact
from oaiofs.remote import koofr_api
from oaiofs.remote.paths import is_storage_path
from tests.remote.koofr_site import (
    CONTENT,
    MD5,
    MISSING,
    Koofr,
    actions,
    entry,
    file_record,
    folder_record,
    get,
    lines,
    opened,
)
from tests.remote.scripted import Reply, Request, json_reply, scripted

# ---- listings


async def test_a_recursive_listing() -> None:
    reply = lines(
        entry("/", folder_record()),
        entry("/b", folder_record()),
        entry("/f", file_record()),
        entry("/b/ü g", file_record(b"", hash=hashlib.md5().hexdigest().upper(), modified="never")),
    )
    async with scripted(Koofr(listrecursive=reply)) as server:
        host = opened(server, root_folder="root")
        assert await host.list_tree("id/1") == {
            "f": FileFact(10, MD5, 1_700_000_000_123_000_000),
            "b/ü g": FileFact(0, hashlib.md5().hexdigest(), 0),
        }
        await host.aclose()
    assert server.requests[-1].query == {"path": "/root/id/1"}


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(200, b""), errors.Protocol),
        (Reply(200, b"\n\n"), errors.Protocol),
        (Reply(200, b"<html>"), errors.Unreachable),
        (lines(entry("/f", file_record()), entry("/f", file_record(size=1))), errors.ServerFault),
        (lines([]), errors.Protocol),
        (lines(entry("/", folder_record()), {"type": "link"}), errors.Protocol),
        (lines(entry("/", folder_record()), {"type": "file", "file": file_record()}), errors.Protocol),
        (lines(entry("/", folder_record()), entry("/f", None)), errors.Protocol),
        (lines(entry("/", folder_record()), entry("/f", file_record(size=None))), errors.Protocol),
        (lines(entry("/", folder_record()), entry("/f", file_record(size=True))), errors.Protocol),
        (lines(entry("/", folder_record()), entry("/f", file_record(size=-1))), errors.Protocol),
        (lines(entry("/", folder_record()), {"type": "error", "error": {"code": "Other"}}), errors.ServerFault),
        (Reply(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), errors.Unreachable),
        (Reply(500), errors.ServerFault),
    ],
)
async def test_an_incomplete_listing_is_an_error(reply: Reply, kind: type[Exception]) -> None:
    async with scripted(Koofr(listrecursive=reply)) as server:
        host = opened(server)
        with pytest.raises(kind):
            await host.list_tree("d")
        await host.aclose()


HOSTILE = ["../x", "a/../../x", "a//b", "a\0b", "..", "a\\b", "./x", "a\nb"]


async def test_hostile_paths_are_left_out_of_a_listing(caplog: pytest.LogCaptureFixture) -> None:
    reply = lines(entry("/", folder_record()), *(entry(f"/{path}", file_record()) for path in [*HOSTILE, "fine"]))
    async with scripted(Koofr(listrecursive=reply)) as server:
        host = opened(server)
        assert set(await host.list_tree("d")) == {"fine"}
        await host.aclose()
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == len(HOSTILE)
    assert all("\n" not in record.getMessage() for record in warnings)


TREE = folder_record(
    children=[
        file_record(name="f"),
        folder_record("b", children=[file_record(name="g"), folder_record("empty", children=[])]),
        file_record(name="x/../../y"),
        file_record(name="b/slipped in"),
        folder_record("..", children=[file_record(name="z")]),
    ]
)


@pytest.mark.parametrize("status", [400, 404, 405])
async def test_older_hosts_list_a_nested_tree(status: int) -> None:
    site = Koofr(listrecursive=Reply(status), info=json_reply(folder_record()), tree=json_reply(TREE))
    async with scripted(site) as server:
        host = opened(server)
        assert set(await host.list_tree("d")) == {"f", "b/g"}
        assert set(await host.list_tree("d")) == {"f", "b/g"}
        await host.aclose()
    assert actions(server) == ["listrecursive", "info", "tree", "tree"]


async def test_the_oldest_list_folder_by_folder() -> None:
    folders = {
        "/": [folder_record("d")],
        "/d": [file_record(name="f"), file_record(name="b/no"), folder_record("b"), folder_record("..")],
        "/d/b": [file_record(name="g")],
    }
    site = Koofr(
        listrecursive=Reply(404),
        tree=Reply(404),
        info=json_reply(folder_record()),
        list=lambda request: json_reply({"files": folders[request.query["path"]]}),
    )
    async with scripted(site) as server:
        host = opened(server)
        assert set(await host.list_tree("d")) == {"f", "b/g"}
        assert set(await host.list_tree("")) == {"d/f", "d/b/g"}
        del folders["/d/b"]
        site.actions["list"] = lambda request: (
            json_reply({"files": folders[request.query["path"]]}) if request.query["path"] in folders else MISSING
        )
        with pytest.raises(errors.ServerFault):
            await host.list_tree("d")
        await host.aclose()


async def test_a_missing_folder_does_not_cost_the_better_listing() -> None:
    site = Koofr(listrecursive=MISSING, info=MISSING)
    async with scripted(site) as server:
        host = opened(server)
        for _ in range(2):
            with pytest.raises(errors.RemoteNotFound):
                await host.list_tree("d")
        await host.aclose()
    assert actions(server) == ["listrecursive", "info"] * 2


async def test_a_host_that_lists_in_no_known_way() -> None:
    missing = {name: Reply(404) for name in ("listrecursive", "tree", "list")}
    async with scripted(Koofr(info=json_reply(folder_record()), **missing)) as server:
        host = opened(server)
        for _ in range(2):
            with pytest.raises(errors.Protocol, match="no known way"):
                await host.list_tree("d")
        await host.aclose()


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["/", "..", "file", "dir"]),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=6,
)
RECORDS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("name", "type", "size", "hash", "modified"), ANYTHING)
) | st.just(file_record())
ENTRIES = st.fixed_dictionaries({}, optional={"type": ANYTHING, "path": ANYTHING, "file": RECORDS | ANYTHING})
TREES = st.recursive(
    RECORDS | ANYTHING,
    lambda children: st.fixed_dictionaries(
        {"name": st.text(), "type": st.just("dir"), "children": st.lists(children, max_size=3)}
    ),
    max_leaves=6,
)


@given(st.lists(ENTRIES | st.builds(entry, st.text(), st.just(file_record())) | ANYTHING, max_size=3))
def test_any_hostile_listing_is_safe_or_refused(items: list[object]) -> None:
    check_files(lambda: koofr_api.read_listrecursive("\n".join(map(json.dumps, items)).encode()))


@given(TREES)
def test_any_hostile_tree_is_safe_or_refused(tree: object) -> None:
    check_files(lambda: koofr_api.read_tree(tree))


def check_files(read: Callable[[], dict[str, FileFact]]) -> None:
    try:
        files = read()
    except errors.RemoteError:
        return
    assert all(is_storage_path(path) and fact.size >= 0 for path, fact in files.items())


# ---- get


async def test_get_asks_for_what_is_wanted() -> None:
    def part(request: Request) -> Reply:
        wanted = {"bytes=3-": (3, 9), "bytes=3-5": (3, 5), None: (0, 9)}[request.headers.get("range")]
        body = CONTENT[wanted[0] : wanted[1] + 1]
        if request.headers.get("range") is None:
            return Reply(200, body)
        return Reply(206, body, {"Content-Range": f"bytes {wanted[0]}-{wanted[1]}/10"})

    async with scripted(Koofr(get=part)) as server:
        host = opened(server)
        assert await get(host) == CONTENT
        assert await get(host, 3) == CONTENT[3:]
        assert await get(host, 3, 3) == CONTENT[3:6]
        await host.aclose()


async def test_a_host_that_ignores_ranges() -> None:
    async with scripted(Koofr(get=Reply(200, CONTENT))) as server:
        host = opened(server)
        assert await get(host, 3) == CONTENT[3:]
        assert await get(host, 3, 3) == CONTENT[3:6]
        assert await get(host, 8, 99) == CONTENT[8:]
        assert await get(host, 10) == b""
        with pytest.raises(errors.Corrupt):
            await get(host, 11)
        await host.aclose()


def ranged(told: str, body: bytes = CONTENT[3:6]) -> Reply:
    return Reply(206, body, {"Content-Range": told})


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (ranged("bytes 2-4/10"), errors.Protocol),
        (ranged("bytes */10"), errors.Protocol),
        (ranged("nonsense"), errors.Protocol),
        (ranged("bytes 3-6/10"), errors.Corrupt),
        (ranged("bytes 3-4/10"), errors.Corrupt),
        (Reply(416, b"", {"Content-Range": "bytes */2"}), errors.Corrupt),
        (Reply(200, CONTENT[:3]), None),
        (Reply(416, b"", {"Content-Range": "bytes */3"}), None),
        (Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123"), errors.Corrupt),
        (MISSING, errors.RemoteNotFound),
    ],
)
async def test_get_of_another_part_than_was_asked_for(reply: Reply, kind: type[Exception] | None) -> None:
    async with scripted(Koofr(get=reply)) as server:
        host = opened(server)
        if kind is None:
            assert await get(host, 3, 3) == b""
        else:
            with pytest.raises(kind):
                await get(host, 3, 3)
        await host.aclose()


async def test_nothing_is_asked_for_by_no_range() -> None:
    async with scripted(Koofr(info=json_reply(file_record()))) as server:
        host = opened(server)
        assert await get(host, 5, 0) == b""
        await host.aclose()
    assert actions(server) == ["info"]


async def test_a_flood_of_hostile_paths_is_no_flood_of_warnings(caplog: pytest.LogCaptureFixture) -> None:
    body = lines(entry("/", folder_record()), *(entry(f"/../{n}", file_record()) for n in range(5000))).body
    assert koofr_api.read_listrecursive(body) == {}
    assert len(caplog.records) < 30
    assert "4980 more" in caplog.text


def test_names_without_end_make_no_endless_paths() -> None:
    """Each file's path would repeat the long name of the folder that it is in."""
    name = "x" * 1_000_000
    files = [file_record(name=str(number)) for number in range(20_000)]
    tree = folder_record(children=[folder_record(name, children=files), file_record(name="fine")])
    assert set(koofr_api.read_tree(tree)) == {"fine"}


def oldest(listing: Reply) -> Koofr:
    """A host that lists folder by folder only."""
    return Koofr(listrecursive=Reply(404), tree=Reply(404), info=json_reply(folder_record()), list=listing)


async def test_folders_without_end_are_given_up() -> None:
    """A host that makes up a folder in every folder is asked as long as a path can be, and no more."""
    more = json_reply({"files": [folder_record("a" * 200), file_record(name="f")]})
    async with scripted(oldest(more)) as server:
        host = opened(server)
        found = await host.list_tree("d")
        await host.aclose()
    assert len(found) < 100


async def test_too_many_files_in_folders_are_given_up() -> None:
    many = json_reply({"files": [file_record(name=f"{number}") for number in range(250_001)]})
    async with scripted(oldest(many)) as server:
        host = opened(server)
        with pytest.raises(errors.Protocol, match="more than 250000"):
            await host.list_tree("d")
        await host.aclose()


ODD = st.one_of(
    st.none(), st.booleans(), st.text(max_size=5), st.floats(), st.lists(st.none(), max_size=1),
    st.integers(-1, 1 << 70), st.sampled_from([-1, 1 << 62, (1 << 62) - 1, 1 << 63, 1 << 43, 10**5000, float("nan")]),
)  # fmt: skip


TYPES = st.sampled_from(["file", "dir", "x", None, ["file"]])
MEMBERS = dict.fromkeys(("size", "hash", "modified", "name", "children"), ODD)


@given(st.fixed_dictionaries({"type": TYPES}, optional=MEMBERS) | ODD)
def test_any_record_is_within_what_systems_hold_or_refused(raw: object) -> None:
    try:
        fact = koofr_api.read_record(raw).fact
    except errors.Protocol:
        return
    assert 0 <= fact.size < 1 << 62
    assert 0 <= fact.mtime_ns < 1 << 63
    assert fact.md5 == "" or len(fact.md5) == 32


def test_names_of_folders_that_do_harm_are_left_out() -> None:
    names = ["b", "a", "..", ".", "x/y", "\x07", "\\", "ü"]
    children = [{"name": name, "type": "dir"} for name in names] + [{"name": "f", "type": "file", "size": 1}]
    assert koofr_api.read_folders({"files": children}) == ("a", "b", "ü")


@pytest.mark.parametrize("raw", [None, [], {}, {"files": {}}, {"files": [5]}, {"files": [{"type": "dir"}]},
                                 {"files": [{"name": "a", "type": "?"}]}])  # fmt: skip
def test_a_folders_listing_that_is_none_is_refused(raw: object) -> None:
    with pytest.raises(errors.Protocol):
        koofr_api.read_folders(raw)
