"""What the existing client holds of an object, read from what it writes."""

from __future__ import annotations

from typing import Any

import pytest

from oaiofs.core import existing
from oaiofs.core.model import Right
from oaiofs.errors import Protocol

OLD, NEW = "20250101000000000001", "20250101000000000002"


def record(**changes: Any) -> dict[str, Any]:
    return {
        "oaio_id": "id", "client_stamp": NEW, "server_stamp": OLD,
        "client_values": {"_name": "Notes", "k": 2, "_file_paths": ["a", "c"]},
        "server_values": {"_name": "Notes", "k": 1, "_file_paths": ["a", "b"]},
        "csh_id": "Digi", "username": "ann", "device_id": "pc", "app_id": "demo", "csh_access_right": "C", **changes,
    }  # fmt: skip


def read(**changes: Any) -> existing.Held:
    return existing.read("id", repr(record(**changes)).encode())


def test_an_unsent_version_and_the_one_before() -> None:
    held = read()
    assert (held.unsent, held.base_stamp, held.base_values) == (True, OLD, {"_name": "Notes", "k": 1})
    assert (held.now.stamp, held.now.values, held.now.file_paths) == (NEW, {"_name": "Notes", "k": 2}, ("a", "c"))
    assert held.removed == ("b",)


def test_in_step() -> None:
    held = read(server_stamp=NEW)
    assert (held.unsent, held.base_stamp, held.removed) == (False, NEW, ())


def test_never_registered() -> None:
    held = read(server_stamp="", server_values={})
    assert (held.unsent, held.base_stamp, held.base_values, held.removed) == (True, None, {}, ())


@pytest.mark.parametrize("right", ["C", "CaR", ""])
def test_rights_in_every_spelling_and_none_at_all(right: str) -> None:
    assert read(csh_access_right=right).now.right is Right.CREATE


def test_the_newer_spelling() -> None:
    values = {"_name_VaK": "Notes", "_files_VaK": ["a"], "_root_VaK": "{doc}/x"}
    held = read(client_values=values, server_values={**values, "_files_VaK": ["a", "b"]}, csh_access_right="UaR")
    assert (held.now.dialect, held.now.right) == ("newer", Right.UPDATE)
    assert (held.root_path, held.removed) == ("{doc}/x", ("b",))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"oaio_id": "other"}, "another object's"),
        ({"oaio_id": "../x"}, "another folder's path"),
        ({"client_stamp": "now"}, "no stamp"),
        ({"server_stamp": "now"}, "no stamp"),
        ({"client_values": [1]}, "JSON object"),
        ({"server_values": None}, "JSON object"),
        ({"client_values": {"k": b"bytes"}}, "bytes"),
        ({"client_values": {b"k": 2}}, "can't be sent"),
        ({"client_values": {"k": 1e999}}, "not finite"),
        ({"csh_access_right": "x"}, "taken away"),
        ({"csh_access_right": "root"}, "no access right"),
    ],
)
def test_what_can_not_be_used(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(Protocol, match=why):
        read(**changes)


@pytest.mark.parametrize("data", [b"", b"\xff", b"[]", b"None", b"{'oaio_id': open('x')}", b"{" * 100_000])
def test_what_is_no_object(data: bytes) -> None:
    with pytest.raises(Protocol):
        existing.read("id", data)


def test_values_are_those_that_the_server_was_sent() -> None:
    assert read(client_values={"k": (1, (2,)), 1: None}).now.values == {"k": [1, [2]], "1": None}


def test_harmful_paths_are_left_out() -> None:
    held = read(client_values={"_file_paths": ["../x", "/etc/passwd", "ok", "a\0b", 1]})
    assert held.now.file_paths == ("ok",)
    assert len(held.skipped) == 4
