"""Who may do what: the table of rights over real sessions, sharing, and what nobody learns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from .clients import Oaio, context, error_of, stamp

LogIn = Callable[..., Oaio]


@dataclass
class Shared:
    owner: Oaio
    friend: Oaio
    oaio: dict[str, Any]


@pytest.fixture
def shared(log_in: LogIn) -> Callable[[str], Shared]:
    def make(right: str) -> Shared:
        owner, friend = log_in("owner"), log_in("friend")
        oaio = owner.register()
        if right != "x":
            assert owner.share(oaio["oaio_id"], friend.name, right).json()["Pid"] > 0
        return Shared(owner, friend, oaio)

    return make


@pytest.mark.parametrize(
    ("right", "sees", "uploads", "shares", "deletes"),
    [
        ("x", False, 404, 404, 404),
        ("r", True, 403, 403, 403),
        ("U", True, 200, 403, 403),
        ("D", True, 200, 403, 200),
        ("C", True, 200, 200, 200),
    ],
)
def test_table_of_rights(
    shared: Callable[[str], Shared], log_in: LogIn, right: str, sees: bool, uploads: int, shares: int, deletes: int
) -> None:
    case = shared(right)
    oaio_id, friend = case.oaio["oaio_id"], case.friend
    assert [item["csh_access_right"] for item in friend.listing().values()] == ([right] if sees else [])
    newer = case.oaio | {"client_stamp": stamp(2), "csh_access_right": "C"}
    assert friend.post("upload/", newer).status_code == uploads
    assert friend.share(oaio_id, log_in("third").name, "r").status_code == shares
    assert friend.post("delete/", case.oaio).status_code == deletes
    assert len(case.owner.listing()) == (0 if deletes == 200 else 1)


def test_an_object_that_one_may_not_see_answers_like_none(shared: Callable[[str], Shared]) -> None:
    case = shared("x")
    missing = case.oaio | {"oaio_id": "never registered"}
    for slug in ("upload/", "delete/"):
        hidden, none = case.friend.post(slug, case.oaio), case.friend.post(slug, missing)
        assert (hidden.status_code, hidden.text) == (none.status_code, none.text)
    own = {"username": case.friend.name, "access_right": "x"}
    for more in (own, {"username": "nobody", "access_right": "r"}):
        answers = [case.friend.post("subscribe/", {"oaio_id": key} | more) for key in (case.oaio["oaio_id"], "never")]
        assert answers[0].text == answers[1].text
    hidden, none = (case.friend.get(f"user_subz/{key}") for key in (case.oaio["oaio_id"], "never"))
    assert hidden.json() == none.json()
    assert {row["access_right"] for row in hidden.json()} == {"x"}


def test_user_subz_lists_every_user_with_their_right(shared: Callable[[str], Shared]) -> None:
    case = shared("r")
    for session in (case.owner, case.friend):
        rows = session.get(f"user_subz/{case.oaio['oaio_id']}").json()
        assert all(sorted(row) == ["access_right", "username"] for row in rows)
        rights = {row["username"]: row["access_right"] for row in rows}
        assert (rights[case.owner.name], rights[case.friend.name]) == ("C", "r")
        assert set(rights.values()) == {"C", "r", "x"} or len(rights) == 2


def test_ids_with_slashes_and_odd_characters_in_the_address(log_in: LogIn) -> None:
    session = log_in()
    for oaio_id in ("a/b//c", "ä ö%2F+", "app⫻user﹫host⁄n"):
        sent = session.register() | {"oaio_id": oaio_id + session.name}
        session.post("register/", sent)
        address = httpx_quoted(sent["oaio_id"])
        rights = {row["username"]: row["access_right"] for row in session.get(f"user_subz/{address}").json()}
        assert rights[session.name] == "C", oaio_id


def httpx_quoted(text: str) -> str:
    return text.replace("%", "%25")


def test_changing_and_ending_a_subscription(shared: Callable[[str], Shared]) -> None:
    case = shared("r")
    oaio_id = case.oaio["oaio_id"]
    key = case.owner.share(oaio_id, case.friend.name, "U").json()["Pid"]
    assert case.owner.share(oaio_id, case.friend.name, "DaR").json()["Pid"] == key
    assert case.friend.listing()[oaio_id]["csh_access_right"] == "D"
    ended = case.owner.share(oaio_id, case.friend.name, "x")
    assert (ended.status_code, sorted(ended.json())) == (200, ["Pid", "message"])
    assert case.friend.listing() == {}
    assert case.owner.share(oaio_id, case.friend.name, "x").json()["Pid"] == 0
    assert error_of(case.owner.share(oaio_id, case.friend.name, "Q")) == (400, "BadRequest")


@pytest.mark.parametrize("right", ["r", "U", "D", "C"])
def test_anybody_may_end_the_own_subscription(shared: Callable[[str], Shared], right: str) -> None:
    case = shared(right)
    assert case.friend.share(case.oaio["oaio_id"], case.friend.name, "x").status_code == 200
    assert case.friend.listing() == {}
    assert len(case.owner.listing()) == 1


def test_nobody_raises_the_own_right(shared: Callable[[str], Shared]) -> None:
    case = shared("r")
    assert error_of(case.friend.share(case.oaio["oaio_id"], case.friend.name, "C")) == (403, "Forbidden")


def test_the_creator_stays(shared: Callable[[str], Shared]) -> None:
    case = shared("C")
    for session in (case.owner, case.friend):
        for right in ("x", "r"):
            assert error_of(session.share(case.oaio["oaio_id"], case.owner.name, right)) == (403, "Forbidden")
    assert case.owner.listing()[case.oaio["oaio_id"]]["csh_access_right"] == "C"


def test_unknown_users_are_made_by_superusers_only(log_in: LogIn, shared: Callable[[str], Shared]) -> None:
    case = shared("x")
    oaio_id, new_name = case.oaio["oaio_id"], f"made for {case.owner.name}"
    assert error_of(case.owner.share(oaio_id, new_name, "r")) == (404, "NotFound")
    root = log_in("root", superuser=True)
    body = {"oaio_id": oaio_id, "username": new_name, "access_right": "r"}
    assert error_of(root.post("subscribe/", body)) == (404, "NotFound")
    assert root.post("subscribe/", body, X_OAIO_user=context(case.owner.name)).json()["Pid"] > 0
    rights = {row["username"]: row["access_right"] for row in case.owner.get(f"user_subz/{oaio_id}").json()}
    assert rights[new_name] == "r"
    for name in ("", "x" * 151, "a\nb", None):
        odd = body | {"username": name}
        assert error_of(root.post("subscribe/", odd, X_OAIO_user=context(case.owner.name))) == (400, "BadRequest")


def test_a_user_made_by_a_share_can_not_log_in(log_in: LogIn) -> None:
    root = log_in("root", superuser=True)
    name = f"passwordless {root.name}"
    root.share(root.register()["oaio_id"], name, "r")
    root.name = name
    for password in ("", "!", "x"):
        assert error_of(root.log_in(password)) == (401, "Unauthorized")


def test_wipe_user(log_in: LogIn, shared: Callable[[str], Shared]) -> None:
    case, root = shared("U"), log_in("root", superuser=True)
    own = case.friend.register()
    assert error_of(case.friend.post("wipe_user/", {"Uid": case.owner.name})) == (403, "Forbidden")
    assert error_of(case.friend.post("wipe_user/", {"Uid": case.friend.name})) == (403, "Forbidden")
    assert root.post("wipe_user/", {"Uid": case.owner.name}).status_code == 200
    assert error_of(root.post("wipe_user/", {"Uid": case.owner.name})) == (404, "NotFound")
    assert list(case.friend.listing()) == [own["oaio_id"]]
    assert error_of(case.owner.get("oaio_stampz/")) == (401, "Unauthorized")
    assert error_of(case.owner.log_in(f"secret of {case.owner.name}")) == (401, "Unauthorized")
