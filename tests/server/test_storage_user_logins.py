"""The login that each user has on the storage host: whose it is, and when it ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from oaiofs.server import service
from tests.serverkit import PATIENCE, ServerKit, serving

from .clients import Oaio, Storage, context, error_of
from .storing import (
    LogIn,
    People,
    new_id,
    storage_of,
)


def test_a_user_gets_the_same_login_each_time_and_everybody_another(people: People, log_in: LogIn) -> None:
    one, other, root = people(), people(), log_in("root", superuser=True)
    mine = one.session.get("csh_args/Digi").json()
    assert mine == one.session.get("csh_args/Digi").json()
    assert sorted(mine) == ["email", "password", "root_folder"]
    assert mine["email"].isascii()
    assert ":" not in mine["email"]
    assert len(mine["password"]) > 40
    others = other.session.get("csh_args/Digi").json()
    assert mine["email"] != others["email"]
    assert mine["password"] != others["password"]
    assert root.get("csh_args/Digi").json() != mine
    assert root.get("csh_args/Digi", X_OAIO_user=context(one.name)).json() == mine
    user = one.storage.http.get("/api/v2/user").json()
    assert user["email"] == mine["email"]


@pytest.mark.parametrize("email", ["oaio-user-1-999999", "oaio-user-999999-1", "oaio-user-1-1", "oaio-user-٣-1", "x"])
def test_a_login_is_not_guessed(oaio_server: ServerKit, people: People, email: str) -> None:
    account = people().session.get("csh_args/Digi").json()
    for password in (account["password"], "", "ä"):
        answer = httpx.get(f"{oaio_server.url}/api/v2/mounts", auth=(email, password), timeout=PATIENCE)
        assert error_of(answer) == (401, "Unauthorized")


def test_a_login_ends_with_either_password_and_with_the_user(tmp_path: Path) -> None:
    data = tmp_path  # an own server: the account's password changes
    with serving(data) as kit:
        service.add_storage(data, "Own", "own@test", "first", "/own")
        name, password = kit.fresh_user()
        session = Oaio(kit, name, password)
        seen: set[str] = set()

        def works(storage: Storage, headers: dict[str, str]) -> list[int]:
            with_token = storage.http.get("/api/v2/mounts", auth=None, headers=headers).status_code
            return [storage.http.get("/api/v2/mounts").status_code, with_token]

        def check(change: Callable[[], object]) -> None:
            account = session.get("csh_args/Own").json()
            seen.add(account["password"])
            login = {"X-Koofr-Email": account["email"], "X-Koofr-Password": account["password"]}
            with Storage(kit, account["email"], account["password"]) as storage:
                headers = {"Authorization": f"Token {storage.http.get('/token', headers=login).json()['token']}"}
                assert works(storage, headers) == [200, 200]
                change()
                for _ in range(10):
                    assert works(storage, headers) == [401, 401], "and is never throttled: devices are to ask anew"

        def new_password() -> None:
            service.set_password(kit.data, name, "second")
            assert session.log_in("second").status_code == 200

        with session:
            check(lambda: service.add_storage(kit.data, "Own", "own@test", "second", "/own"))
            check(new_password)
            check(lambda: service.delete_user(kit.data, name))
        assert len(seen) == 3


def test_logins_of_other_accounts_are_apart(oaio_server: ServerKit, people: People) -> None:
    user = people()
    service.add_storage(oaio_server.data, "Second", "second@test", "pw", "/elsewhere/deep")
    digi, second = user.session.get("csh_args/Digi").json(), user.session.get("csh_args/Second").json()
    assert digi["email"] != second["email"]
    mixed = httpx.get(f"{oaio_server.url}/api/v2/mounts", auth=(digi["email"], second["password"]), timeout=PATIENCE)
    assert error_of(mixed) == (401, "Unauthorized")
    with storage_of(oaio_server, user.session, "Second") as storage:
        assert storage.names("/") == []
        assert storage.folder("/", "elsewhere").status_code == 201
        assert storage.folder("/elsewhere", "deep").status_code == 201
        assert error_of(storage.folder("/elsewhere", "other")) == (403, "Forbidden")
        oaio_id = new_id()
        assert storage.folder("/elsewhere/deep", oaio_id).status_code == 201
        assert storage.names("/elsewhere") == ["deep"]
        assert storage.names("/elsewhere/deep") == [oaio_id]
    with Storage(oaio_server, "second@test", "pw").http as http:
        listed = http.get("/api/v2/mounts/primary/files/list", params={"path": "/elsewhere/deep"}).json()
        assert [one["name"] for one in listed["files"]] == [oaio_id]


def test_a_storage_elsewhere_is_handed_out_as_it_is(oaio_server: ServerKit, people: People) -> None:
    service.add_storage(oaio_server.data, "Elsewhere", "me@far", "pw", "root", base_url="https://digistorage.es")
    assert people().session.get("csh_args/Elsewhere").json() == {
        "root_folder": "root", "email": "me@far", "password": "pw",
    }  # fmt: skip
