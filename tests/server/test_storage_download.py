"""Reading from the storage host: whole files, ranges, and what a download in progress gets to see."""

from __future__ import annotations

import hashlib
import json

import pytest

from .clients import Storage, error_of


def test_get_whole(storage: Storage) -> None:
    storage.put("/", "n.bin", b"0123456789")
    answer = storage.get("/n.bin")
    assert (answer.status_code, answer.content, answer.headers["Content-Length"]) == (200, b"0123456789", "10")
    assert json.loads(answer.headers["X-File-Info"])["hash"] == hashlib.md5(b"0123456789").hexdigest()
    assert error_of(storage.get("/missing")) == (404, "NotFound")
    assert error_of(storage.get("/")) == (400, "NotFile")
    storage.put("/", "void", b"")
    assert storage.get("/void").content == b""


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [("bytes=2-4", 2, 5), ("bytes=7-", 7, 10), ("bytes=0-0", 0, 1), ("bytes=5-99", 5, 10), ("bytes=-3", 7, 10)],
)
def test_get_a_range(storage: Storage, asked: str, start: int, end: int) -> None:
    storage.put("/", "n", b"0123456789")
    answer = storage.get("/n", Range=asked)
    assert (answer.status_code, answer.content) == (206, b"0123456789"[start:end])
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/10"
    assert answer.headers["Content-Length"] == str(end - start)
    assert json.loads(answer.headers["X-File-Info"])["size"] == 10


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=3-2", "bytes=1-2,4-5", "bytes=-", "bytes=x-1"])
def test_ranges_out_of_reach(storage: Storage, asked: str) -> None:
    storage.put("/", "n", b"0123456789")
    answer = storage.get("/n", Range=asked)
    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == "bytes */10"
    assert storage.get("/n").content == b"0123456789", "the connection is still good"


def test_get_without_content_prefix_leads_there(storage: Storage) -> None:
    storage.put("/", "n m", b"x")
    answer = storage.call("GET", "get", "/n m")
    assert answer.status_code == 303
    assert storage.http.get(answer.headers["Location"]).content == b"x"


def test_an_open_download_keeps_its_bytes(storage: Storage) -> None:
    content = b"old" * 1_000_000
    storage.put("/", "n", content)
    with storage.http.stream("GET", "/content/api/v2/mounts/primary/files/get", params={"path": "/n"}) as answer:
        chunks = answer.iter_raw()
        first = next(chunks)
        storage.put("/", "n", b"new", overwrite="true")
        assert first + b"".join(chunks) == content
    assert storage.get("/n").content == b"new"
