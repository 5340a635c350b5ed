"""The oaio endpoints over HTTP: sessions, context, CSRF, shapes of bodies and answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from oaiofs.core import stamps
from oaiofs.core.stamps import parse
from oaiofs.server.site import open_site
from tests.serverkit import PATIENCE, ServerKit, serving

from .clients import Oaio, context, error_of, stamp, wire_object

LogIn = Callable[..., Oaio]

POSTS = ["login/", "logout/", "register/", "upload/", "delete/", "subscribe/", "wipe_user/"]
POSTS += ["registerA/", "uploadA/", "deleteA/"]
GETS = ["current_stamp/", "oaio_stampz/", "user_subz/x", "csh_args/Digi"]


@pytest.mark.parametrize("slug", POSTS)
def test_get_of_a_post_endpoint_gives_the_csrf_cookie(oaio_server: ServerKit, slug: str) -> None:
    answer = httpx.get(f"{oaio_server.url}/api/{slug}", timeout=PATIENCE)
    assert answer.status_code == 200
    assert answer.cookies["csrftoken"]


@pytest.mark.parametrize("slug", POSTS)
def test_post_without_csrf_token_is_refused(log_in: LogIn, slug: str) -> None:
    session = log_in()
    assert error_of(session.http.post(slug, json={})) == (403, "Csrf")
    assert error_of(session.http.post(slug, json={}, headers={"X-CSRFToken": "x" * 32})) == (403, "Csrf")


@pytest.mark.parametrize("slug", [*GETS, *POSTS[2:]])
def test_without_a_session_nothing_is_told(oaio_server: ServerKit, slug: str) -> None:
    with Oaio(oaio_server, "nobody", "", log_in=False) as session:
        answer = session.get(slug) if slug in GETS else session.post(slug, wire_object())
        assert error_of(answer) == (401, "Unauthorized")


def test_other_methods_and_addresses(log_in: LogIn) -> None:
    session = log_in()
    assert session.http.put("upload/", headers=session._csrf()).status_code == 405
    assert session.post("oaio_stampz/").status_code == 405
    assert error_of(session.get("nothing/")) == (404, "NotFound")


@pytest.mark.parametrize("path", ["/api/login/", "/api/oaio_stampz/", "/nowhere", "/api/v2/mounts", "/token"])
def test_every_answer_names_the_server_and_keeps_the_connection(oaio_server: ServerKit, path: str) -> None:
    answer = httpx.get(oaio_server.url + path, timeout=PATIENCE)
    assert answer.headers["X-OAIO-server"] == "oaiofs"
    assert answer.headers.get("Connection", "") != "close"


def test_foreign_host_names_are_refused(oaio_server: ServerKit) -> None:
    answer = httpx.get(f"{oaio_server.url}/api/login/", headers={"Host": "evil.example"}, timeout=PATIENCE)
    assert error_of(answer) == (400, "BadHost")


def test_the_newer_spelling_of_actions_rights_and_keys_is_taken(log_in: LogIn) -> None:
    session, reader = log_in(), log_in()
    values = {"_name_VaK": "n", "_root_path_VaK": "{doc}/x", "_files_VaK": ["f"]}
    first = wire_object(1, values, csh_access_right="CaR")
    assert session.post("registerA/", first).json()["client_values"] == values
    second = {**first, "client_stamp": stamp(2), "server_stamp": stamp(1), "client_values": {**values, "k": 1}}
    assert session.post("uploadA/", second, X_OAIO_base=stamp(1)).status_code == 200
    assert session.share(first["oaio_id"], reader.name, "raR").status_code == 200
    theirs = reader.listing()[first["oaio_id"]]
    assert (theirs["client_values"], theirs["csh_access_right"]) == ({**values, "k": 1}, "r")
    assert error_of(reader.post("uploadA/", {**second, "client_stamp": stamp(3)})) == (403, "Forbidden")
    assert error_of(reader.post("deleteA/", second)) == (403, "Forbidden")
    assert session.post("deleteA/", second).status_code == 200
    assert session.listing() == {}


def test_login_and_logout(log_in: LogIn) -> None:
    session = log_in()
    assert error_of(session.log_in("wrong")) == (401, "Unauthorized")
    token = session.http.cookies["csrftoken"]
    assert session.log_in(f"secret of {session.name}").status_code == 200
    assert session.http.cookies["csrftoken"] != token
    assert session.post("logout/").status_code == 200
    assert error_of(session.get("oaio_stampz/")) == (401, "Unauthorized")


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"username":1,"password":2}', b"\xff"])
def test_login_with_nonsense(log_in: LogIn, body: bytes) -> None:
    assert error_of(log_in().post_text("login/", body)) == (400, "BadRequest")


def test_the_context_names_the_user_who_is_logged_in(log_in: LogIn) -> None:
    alice, bob, root = log_in("alice"), log_in("bob"), log_in("root", superuser=True)
    alice.register()
    assert error_of(bob.get("oaio_stampz/", X_OAIO_user=context(alice.name))) == (403, "Forbidden")
    assert len(root.get("oaio_stampz/", X_OAIO_user=context(alice.name)).json()) == 1
    assert root.get("oaio_stampz/").json() == []
    assert error_of(root.get("oaio_stampz/", X_OAIO_user=context("nobody at all"))) == (403, "Forbidden")
    assert bob.http.get("oaio_stampz/", headers={"X-OAIO-user": ""}).json() == []


@pytest.mark.parametrize(
    "literal", ["alice", "'alice'", "b'\\xff'", "b'a", "[" * 5000, "{[]: 1}", "b'" + "x" * 9000 + "'", "7"]
)
def test_nonsense_in_a_context_header(log_in: LogIn, literal: str) -> None:
    assert error_of(log_in().get("oaio_stampz/", X_OAIO_user=literal)) == (400, "BadRequest")


def test_names_beyond_ascii(log_in: LogIn) -> None:
    session = log_in("Jörg-日本-")
    made = session.register({"Größe": "日本"})
    assert made["username"] == session.name
    assert session.listing()[made["oaio_id"]]["client_values"] == {"Größe": "日本"}


def test_current_stamp(log_in: LogIn) -> None:
    found = log_in().get("current_stamp/").json()
    assert list(found) == ["current_stamp"]
    assert parse(found["current_stamp"])
    assert abs((stamps.to_datetime(found["current_stamp"]) - datetime.now(UTC)).total_seconds()) < 30


def test_register_answers_and_lists_exactly_the_ten_keys(log_in: LogIn) -> None:
    session = log_in()
    sent = wire_object(values={"z": 1, "a": 10**40, "_file_paths": ["f"]}, extra="ignored")
    made = session.post("register/", sent).json()
    assert made == {
        "oaio_id": sent["oaio_id"],
        "client_stamp": stamp(1),
        "server_stamp": stamp(1),
        "client_values": sent["client_values"],
        "server_values": sent["client_values"],
        "csh_id": "Digi",
        "username": session.name,
        "device_id": "desk",
        "app_id": "test",
        "csh_access_right": "C",
    }
    assert session.get("oaio_stampz/").json() == [made]


def test_values_go_out_spelled_as_they_came_in(log_in: LogIn) -> None:
    session = log_in()
    values = '{"z":1.10, "a":123456789012345678901234567890,\n"\\u00e4":[1E2 ,{"ö":null}]}'
    body = json.dumps(wire_object()).replace('{"_name": "n"}', values)
    assert session.post_text("register/", body).status_code == 200
    assert f'"client_values":{values},"server_values":{values},' in session.get("oaio_stampz/").text


@pytest.mark.parametrize("values", ["[]", '{"a":NaN}', '{"a":1e999}', '{"a":' + "[" * 200 + "]" * 200 + "}"])
@pytest.mark.parametrize("slug", ["register/", "upload/"])
def test_bad_values_are_refused(log_in: LogIn, slug: str, values: str) -> None:
    body = json.dumps(wire_object()).replace('{"_name": "n"}', values)
    assert error_of(log_in().post_text(slug, body)) == (400, "BadRequest")


def test_registering_again_is_a_repetition_or_a_conflict(log_in: LogIn) -> None:
    alice, bob = log_in(), log_in()
    sent = wire_object(values={"a": 1, "b": 2})
    first = alice.post("register/", sent)
    assert alice.post("register/", sent).text == first.text
    assert alice.post("register/", sent | {"client_values": {"b": 2, "a": 1}}).status_code == 200
    assert error_of(alice.post("register/", sent | {"client_values": {"a": 1}})) == (409, "AlreadyExists")
    assert error_of(alice.post("register/", sent | {"client_stamp": stamp(2)})) == (409, "AlreadyExists")
    assert error_of(bob.post("register/", sent)) == (409, "AlreadyExists")
    assert bob.listing() == {}


def test_upload_without_base_is_taken_and_the_listing_follows(log_in: LogIn) -> None:
    session = log_in()
    made = session.register({"v": 1})
    for number, values in ((5, {"v": 2}), (3, {"v": 3})):
        answer = session.post("upload/", made | {"client_stamp": stamp(number), "client_values": values})
        assert answer.json()["client_stamp"] == stamp(number)
        listed = session.listing()[made["oaio_id"]]
        assert (listed["client_stamp"], listed["server_stamp"]) == (stamp(number), stamp(number))
        assert listed["client_values"] == listed["server_values"] == values


def test_who_asks_for_it_is_told_what_each_version_was_made_from(log_in: LogIn) -> None:
    session = log_in()
    made = session.register({"v": 1})

    def told(number: int, base: object) -> list[str]:
        """The lineage of a version that says to have been made from *base*."""
        answer = session.post("upload/", made | {"client_stamp": stamp(number), "server_stamp": base})
        assert "lineage" not in answer.json(), "the existing client fails on a key that it does not know"
        assert "lineage" not in session.listing()[made["oaio_id"]]
        [listed] = session.get("oaio_stampz/", X_OAIO_features="base-url, lineage").json()
        lineage: list[str] = listed["lineage"]
        return lineage

    assert told(3, stamp(1)) == [stamp(1)]
    assert told(5, stamp(3)) == [stamp(3), stamp(1)]
    assert told(7, stamp(1)) == [stamp(1)], "made without 3 and 5"
    assert told(8, stamp(7)) == [stamp(7), stamp(1)]
    assert told(9, "nonsense") == []
    for number in range(10, 90):
        longest = told(number, stamp(number - 1))
    assert longest == [stamp(number) for number in range(88, 88 - 64, -1)]


def test_upload_with_a_base_is_taken_only_while_that_is_current(log_in: LogIn) -> None:
    session = log_in()
    made = session.register({"v": 1})
    second = made | {"client_stamp": stamp(2), "client_values": {"v": 2}}
    third = made | {"client_stamp": stamp(3), "client_values": {"v": 3}}
    taken = session.post("upload/", second, X_OAIO_base=stamp(1))
    assert taken.status_code == 200
    refused = session.post("upload/", third, X_OAIO_base=stamp(1))
    assert error_of(refused) == (409, "Conflict")
    assert refused.json()["current"] == taken.json() == session.listing()[made["oaio_id"]]
    # the same again is the repetition of a lost answer
    assert session.post("upload/", second, X_OAIO_base=stamp(1)).json() == taken.json()
    assert session.post("upload/", third, X_OAIO_base=stamp(2)).status_code == 200


def test_a_base_must_be_a_stamp_before_the_new_one(log_in: LogIn) -> None:
    session = log_in()
    made = session.register()
    newer = made | {"client_stamp": stamp(2)}
    assert error_of(session.post("upload/", newer, X_OAIO_base="yesterday")) == (400, "BadRequest")
    assert error_of(session.post("upload/", newer, X_OAIO_base="")) == (400, "BadRequest")
    assert error_of(session.post("upload/", newer, X_OAIO_merged="yesterday")) == (400, "BadRequest")
    same = made | {"client_values": {"other": 1}}
    assert error_of(session.post("upload/", same, X_OAIO_base=stamp(1))) == (400, "BadRequest")


def test_of_concurrent_uploads_with_one_base_exactly_one_wins(oaio_server: ServerKit, log_in: LogIn) -> None:
    name, password = oaio_server.fresh_user()
    devices = [Oaio(oaio_server, name, password) for _ in range(4)]
    for round_number in range(5):
        made = devices[0].register({"v": 0})
        start = threading.Barrier(len(devices))
        answers: list[httpx.Response] = []

        def announce(number: int, device: Oaio) -> None:
            mine = made | {"client_stamp": stamp(10 + number), "client_values": {"v": number}}  # noqa: B023
            start.wait()  # noqa: B023
            answers.append(device.post("upload/", mine, X_OAIO_base=stamp(1)))  # noqa: B023

        threads = [threading.Thread(target=announce, args=item) for item in enumerate(devices)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409], round_number
        (winner,) = (answer.json() for answer in answers if answer.status_code == 200)
        assert all(answer.json()["current"] == winner for answer in answers if answer.status_code == 409)
        assert devices[0].listing()[made["oaio_id"]] == winner
    for device in devices:
        device.http.close()


def test_the_log_keeps_what_was_replaced_and_deleted(oaio_server: ServerKit, log_in: LogIn) -> None:
    session = log_in()
    made = session.register({"v": 1})
    session.post("upload/", made | {"client_stamp": stamp(2), "client_values": {"v": 2}})
    session.post("upload/", made | {"client_stamp": stamp(2), "client_values": {"v": 3}}, X_OAIO_base=stamp(1))
    session.post("delete/", made)
    with open_site(oaio_server.data):
        from oaiofs.server.models import LogEntry

        columns = ("action", "replaced_stamp", "stamp", "values_text", "username", "device_id")
        entries = list(LogEntry.objects.filter(oaio_id=made["oaio_id"]).order_by("pk").values_list(*columns))
    assert entries == [
        ("register", "", stamp(1), '{"v":1}', session.name, "desk"),
        ("upload", stamp(1), stamp(2), '{"v":2}', session.name, "desk"),
        ("delete", stamp(2), stamp(2), '{"v":2}', session.name, "desk"),
    ]


def test_delete(log_in: LogIn) -> None:
    session = log_in()
    made = session.register()
    assert session.post("delete/", made).status_code == 200
    assert session.listing() == {}
    assert error_of(session.post("delete/", made)) == (404, "NotFound")
    assert error_of(session.post("upload/", made)) == (404, "NotFound")
    assert session.post("register/", made).status_code == 200, "a deleted object may come back from the trash"


@pytest.mark.parametrize("body", [b"{}", b'{"oaio_id":7}', b'{"oaio_id":""}', b'{"oaio_id":"\\ud800"}'])
def test_delete_and_subscribe_with_nonsense(log_in: LogIn, body: bytes) -> None:
    session = log_in()
    assert error_of(session.post_text("delete/", body)) == (400, "BadRequest")
    assert error_of(session.post_text("subscribe/", body)) == (400, "BadRequest")


def test_an_idle_poll_costs_no_body(log_in: LogIn) -> None:
    session = log_in()
    made = session.register()
    first = session.get("oaio_stampz/")
    again = session.get("oaio_stampz/", If_None_Match=first.headers["ETag"])
    assert (again.status_code, again.content) == (304, b"")
    session.post("upload/", made | {"client_stamp": stamp(2)})
    assert session.get("oaio_stampz/", If_None_Match=first.headers["ETag"]).status_code == 200


def test_csh_args_are_just_what_the_existing_driver_takes(log_in: LogIn, oaio_server: ServerKit) -> None:
    session = log_in()
    plain = session.get("csh_args/Digi").json()
    assert sorted(plain) == ["email", "password", "root_folder"]
    asked = session.get("csh_args/Digi", X_OAIO_features="other, base-url").json()
    assert asked == plain | {"base_url": oaio_server.url}
    assert error_of(session.get("csh_args/Goodrive")) == (404, "NotFound")


def test_too_large_bodies(tmp_path: Path) -> None:
    with serving(tmp_path, arguments=["--max-object-size", "2000"]) as kit, Oaio(kit, *kit.fresh_user()) as session:
        assert session.post("register/", wire_object(values={"x": "y" * 1000})).status_code == 200
        too_large = wire_object(values={"x": "y" * 2000})
        assert error_of(session.post("register/", too_large)) == (413, "TooLarge")
        assert error_of(session.post("upload/", too_large)) == (413, "TooLarge")
