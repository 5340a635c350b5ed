"""Who may use the storage host: tokens in all their spellings, Basic logins, accounts apart from each other."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from oaiofs.server import service
from tests.serverkit import PATIENCE, ServerKit

from .clients import Oaio, Storage, error_of

New = Callable[..., Storage]


def test_token_by_get_post_and_its_spellings(oaio_server: ServerKit, log_in: Callable[..., Oaio]) -> None:
    account = log_in().get("csh_args/Digi").json()
    email, password = account["email"], account["password"]
    with httpx.Client(base_url=oaio_server.url, timeout=PATIENCE) as http:
        got = http.get("/token", headers={"X-Koofr-Email": email, "X-Koofr-Password": password})
        posted = http.post("/token", json={"email": email, "password": password})
        assert posted.headers["X-Koofr-Token"] == posted.json()["token"]
        for token in (got.headers["X-Koofr-Token"], posted.json()["token"]):
            for spelling in (f"Token {token}", f"Token token={token}", f'Token token="{token}"'):
                assert http.get("/api/v2/mounts", headers={"Authorization": spelling}).status_code == 200
        headers = {"Authorization": f"Token {token}"}
        assert http.delete("/token", headers=headers).status_code == 204
        assert error_of(http.get("/api/v2/mounts", headers=headers)) == (401, "Unauthorized")
        assert error_of(http.delete("/token", headers=headers)) == (401, "Unauthorized")
        assert error_of(http.delete("/token")) == (401, "Unauthorized")


@pytest.mark.parametrize(
    "header", ["", "Token x", "Token", "Basic", "Basic !!", "Basic YWJj", "Basic 4pyT4pyT4A==", "Bearer x", "Token ä"]
)
def test_unknown_credentials(oaio_server: ServerKit, header: str) -> None:
    headers = {b"Authorization": header.encode()}
    answer = httpx.get(f"{oaio_server.url}/api/v2.1/user/authenticated", headers=headers, timeout=PATIENCE)
    assert error_of(answer) == (401, "Unauthorized")


def test_token_without_credentials(oaio_server: ServerKit) -> None:
    for answer in (
        httpx.get(f"{oaio_server.url}/token", timeout=PATIENCE),
        httpx.post(f"{oaio_server.url}/token", json={"email": 1, "password": []}, timeout=PATIENCE),
    ):
        assert error_of(answer) == (401, "Unauthorized")
    assert error_of(httpx.post(f"{oaio_server.url}/token", content=b"no json", timeout=PATIENCE)) == (400, "BadRequest")
    assert httpx.put(f"{oaio_server.url}/token", timeout=PATIENCE).status_code == 405


def test_accounts_do_not_see_each_other(new_storage: New) -> None:
    one, two = new_storage(), new_storage()
    one.put("/", "n", b"x")
    assert two.names("/") == []
    mount = one.http.get("/api/v2/mounts").json()["mounts"][0]["id"]
    two.mount = mount
    assert error_of(two.call("GET", "list", "/")) == (404, "NotFound")


def test_a_changed_password_ends_tokens_and_logins(oaio_server: ServerKit) -> None:
    email = "changing@test"
    service.add_storage(oaio_server.data, email, email, "first", "/")
    with httpx.Client(base_url=oaio_server.url, timeout=PATIENCE) as http:
        login = {"X-Koofr-Email": email, "X-Koofr-Password": "first"}
        token = {"Authorization": f"Token {http.get('/token', headers=login).headers['X-Koofr-Token']}"}
        assert http.get("/api/v2/mounts", headers=token).status_code == 200
        assert http.get("/api/v2/mounts", auth=(email, "first")).status_code == 200
        service.add_storage(oaio_server.data, email, email, "second", "/")
        assert http.get("/api/v2/mounts", headers=token).status_code == 401
        assert http.get("/api/v2/mounts", auth=(email, "first")).status_code == 401
        assert http.get("/api/v2/mounts", auth=(email, "second")).status_code == 200
