"""The commands of a self-hosted server: run it, manage its accounts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeVar

import click
import platformdirs

from .. import config, credentials, errors
from . import logs, terminal

_DEFAULT_PORT = 8642

_Function = TypeVar("_Function", bound=Any)


def _data_option(function: _Function) -> _Function:
    option = click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        default=lambda: platformdirs.user_data_path("oaiofs") / "server",
        show_default="oaiofs/server in your data folder",
        metavar="DIR",
        help="Where the server keeps everything.",
    )
    return option(function)


def _password_option(function: _Function) -> _Function:
    option = click.option(
        "--password-file",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="F",
        help="Take the password from the first line of F; else OAIOFS_PASSWORD, else you are asked.",
    )
    return option(function)


def _new_password(name: str, password_file: Path | None) -> str:
    if password_file is not None:
        return credentials.from_file(password_file).reveal()
    if given := os.environ.get("OAIOFS_PASSWORD"):
        return given
    ask = terminal.ask(confirm=True)
    if ask is None:
        raise errors.UsageError(f"No password for {name}: use --password-file or OAIOFS_PASSWORD.")
    return ask(f"Password for {name}")


@click.group()
def server() -> None:
    """Run your own oaio server, with storage."""


@server.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=_DEFAULT_PORT, show_default=True, help="0: any.")
@_data_option
@click.option("--allow-host", multiple=True, metavar="NAME", help="A name that clients reach this server by.")
@click.option("--trusted-proxy", metavar="ADDRESS", help="The reverse proxy whose X-Forwarded headers are believed.")
@logs.verbose_option
@click.pass_context
def run(
    context: click.Context, host: str, port: int, data: Path, allow_host: tuple[str, ...], trusted_proxy: str | None
) -> None:
    """Serve until Ctrl-C. Behind anything but loopback, put a TLS proxy before it."""
    from .. import server as service

    logs.to_stderr(context.ensure_object(logs.Verbosity).level)

    def ready(address: str, bound: int) -> None:
        shown = f"[{address}]" if ":" in address else address
        click.echo(f"Serving {data} at http://{shown}:{bound}; Ctrl-C ends it.")

    service.run(data, host, port, allowed_hosts=allow_host, ready=ready, trusted_proxy=trusted_proxy)


@server.command()
@click.argument("name")
@click.option("--superuser", is_flag=True, help="May act for others and remove users.")
@_password_option
@_data_option
@logs.verbose_option
def adduser(name: str, superuser: bool, password_file: Path | None, data: Path) -> None:
    """Add the user NAME."""
    from .. import server as service

    service.add_user(data, name, _new_password(name, password_file), superuser)
    click.echo(f"User {name} is added; `oaiofs login HOST --user {name}` checks it.")


@server.command()
@click.argument("name")
@_password_option
@_data_option
@logs.verbose_option
def passwd(name: str, password_file: Path | None, data: Path) -> None:
    """Change the password of the user NAME."""
    from .. import server as service

    service.set_password(data, name, _new_password(name, password_file))
    click.echo(f"The password of {name} is changed.")


@server.command()
@click.argument("name")
@_data_option
@logs.verbose_option
def deluser(name: str, data: Path) -> None:
    """Remove the user NAME, with objects and subscriptions; stored files stay."""
    from .. import server as service

    service.delete_user(data, name)
    click.echo(f"User {name} is removed.")


@server.command()
@_data_option
@logs.verbose_option
def users(data: Path) -> None:
    """List the users, superusers marked."""
    from .. import server as service

    for account in service.list_users(data):
        click.echo(f"{account.name}  (superuser)" if account.superuser else account.name)


@server.command()
@click.argument("csh_id")
@click.option("--email", required=True, help="The account's name on the storage host.")
@click.option("--root-folder", default="/oaio", show_default=True, help="The folder that holds all objects.")
@click.option("--base-url", metavar="URL", help="The storage host; without it an account on this very server is made.")
@click.option("--user", metavar="NAME", help="Only for this user; without it for all who have no own one.")
@click.option("--quota", metavar="SIZE", help="How much it may hold, like 20G (on this very server).")
@_password_option
@_data_option
@logs.verbose_option
def addstorage(
    csh_id: str,
    email: str,
    root_folder: str,
    base_url: str | None,
    user: str | None,
    quota: str | None,
    password_file: Path | None,
    data: Path,
) -> None:
    """Set the storage account that users of CSH_ID (such as Digi) get.

    To one on this very server each user gets a login of their own, which does what their rights on the objects allow;
    its own password is for the administrator alone, and opens everything.
    """
    from .. import server as service

    limit = config.size(quota, "--quota") if quota is not None else None
    service.add_storage(data, csh_id, email, _new_password(email, password_file), root_folder, base_url, user, limit)
    click.echo(f"{csh_id} is {email} at {base_url or 'this server'} for {user or 'all users'}.")
