"""The log of announced versions over the wire: who may read it, what is in it, and what can't be had with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.serverkit import PATIENCE, ServerKit

from .clients import Oaio, context, error_of, stamp

LogIn = Callable[..., Oaio]


def new_version(of: dict[str, Any], number: int, **values: Any) -> dict[str, Any]:
    return of | {"client_stamp": stamp(number), "client_values": values}


def log(session: Oaio, oaio_id: str) -> list[dict[str, Any]]:
    answer = session.get(f"oaio_log/{oaio_id}")
    assert answer.status_code == 200, answer.text
    told: list[dict[str, Any]] = answer.json()
    return told


def test_all_announced_versions_in_the_spelling_of_the_listing(log_in: LogIn) -> None:
    session = log_in()
    oaio = session.register({"_name": "n", "x": 1})
    session.post("upload/", new_version(oaio, 3, y=2))
    session.post("upload/", new_version(oaio, 2, z=3))  # the last writer wins, whatever its stamp
    told = log(session, oaio["oaio_id"])
    assert [(one["client_stamp"], one["client_values"]) for one in told] == [
        (stamp(2), {"z": 3}), (stamp(3), {"y": 2}), (stamp(1), {"_name": "n", "x": 1}),
    ]  # fmt: skip
    listed = session.get("oaio_stampz/", X_OAIO_features="lineage").json()
    assert told[0] == listed[0]


def test_values_keep_their_spelling(log_in: LogIn) -> None:
    session = log_in()
    oaio = session.register()
    text = '{"oaio_id": "%s", "client_stamp": "%s", "client_values": {"b":1.10, "a": 1e5}}'
    session.post_text("upload/", text % (oaio["oaio_id"], stamp(2)))
    assert '"client_values":{"b":1.10, "a": 1e5}' in session.get(f"oaio_log/{oaio['oaio_id']}").text


@pytest.mark.parametrize("right", ["r", "U", "D", "C"])
def test_any_right_reads_it_none_does_not(log_in: LogIn, right: str) -> None:
    owner, friend = log_in("owner"), log_in("friend")
    oaio_id = owner.register()["oaio_id"]
    hidden, none = friend.get(f"oaio_log/{oaio_id}"), friend.get("oaio_log/never registered")
    assert error_of(hidden) == (404, "NotFound")
    assert (hidden.status_code, hidden.text) == (none.status_code, none.text), "nobody learns that there is one"
    owner.share(oaio_id, friend.name, right)
    assert [one["csh_access_right"] for one in log(friend, oaio_id)] == [right]
    owner.share(oaio_id, friend.name, "x")
    assert error_of(friend.get(f"oaio_log/{oaio_id}")) == (404, "NotFound")


def test_a_deleted_object_has_none_and_a_new_one_of_its_id_not_the_old_ones(log_in: LogIn) -> None:
    owner, other = log_in("owner"), log_in("other")
    oaio = owner.register({"secret": 1})
    owner.share(oaio["oaio_id"], other.name, "D")
    owner.post("delete/", oaio)
    assert error_of(owner.get(f"oaio_log/{oaio['oaio_id']}")) == (404, "NotFound")
    assert error_of(log_in().post("register/", new_version(oaio, 2, mine=1))) == (409, "AlreadyExists")
    assert other.post("register/", new_version(oaio, 2, mine=1)).status_code == 200
    assert [one["client_values"] for one in log(other, oaio["oaio_id"])] == [{"mine": 1}]


def test_who_is_not_logged_in_and_who_names_another_user(oaio_server: ServerKit, log_in: LogIn) -> None:
    owner, friend = log_in("owner"), log_in("friend")
    oaio_id = owner.register()["oaio_id"]
    assert httpx.get(f"{oaio_server.url}/api/oaio_log/{oaio_id}", timeout=PATIENCE).status_code == 401
    assert error_of(friend.get(f"oaio_log/{oaio_id}", X_OAIO_user=context(owner.name))) == (403, "Forbidden")
    assert owner.post(f"oaio_log/{oaio_id}", {}).status_code == 405


@pytest.mark.parametrize(
    "oaio_id", ["%00", "../login/", "x" * 5000, "%27%20OR%201=1--", "%F0%9F%98%80", "a/b/c", "%ED%A0%80", " "]
)
def test_hostile_ids_are_nothing(log_in: LogIn, oaio_id: str) -> None:
    answer = log_in().get(f"oaio_log/{oaio_id}")
    assert answer.status_code in (400, 404, 405, 414) or answer.json() == {}, answer.text


def test_answers_say_that_there_is_a_log(log_in: LogIn) -> None:
    assert "log" in log_in().get("current_stamp/").headers["X-OAIO-features"].split(", ")


def test_a_long_log_is_told_from_its_new_end(log_in: LogIn) -> None:
    session = log_in()
    oaio = session.register()
    big = "x" * (3 << 20)  # each is told twice, as in the listing
    for number in range(2, 6):
        assert session.post("upload/", new_version(oaio, number, big=big)).status_code == 200
    told = log(session, oaio["oaio_id"])
    assert [one["client_stamp"] for one in told] == [stamp(5), stamp(4)]
