"""The commands about accounts on a server: check and remember one, remove a user."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import trio

from .. import config, credentials, errors
from ..remote.address import server_url
from . import logs, terminal
from .places import account_options
from .words import printable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..remote.oaio import HttpOaioServer


@click.command()
@click.argument("host")
@click.option("--user", required=True, metavar="NAME", help="Your user name on HOST.")
@click.option(
    "--password-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="F",
    help="Take the password from the first line of F, which only you may be able to read.",
)
@click.option("--insecure", is_flag=True, help="Send the password over plain http if HOST is an http:// URL.")
@logs.verbose_option
def login(host: str, user: str, password_file: Path | None, insecure: bool) -> None:
    """Check an account and remember it for `oaiofs mount`.

    The password is asked for, or comes from --password-file or OAIOFS_PASSWORD. It is kept in the keyring of your
    desktop where there is one, else in a file that only you can read.
    """
    account = credentials.Account(server_url(host, insecure), user)
    password = credentials.find(account, password_file=password_file, recall=False, ask=terminal.ask())
    _with_server(account, password, insecure, lambda server: server.login())
    place = credentials.remember(account, password)
    click.echo(f"Logged in as {account}; the password is kept in {place}.")
    click.echo("`oaiofs mount MOUNTPOINT` mounts your objects.")


@click.command("wipe-user")
@click.argument("name")
@account_options
@click.option("--password-file", metavar="F", help="Take your password from the first line of F.")
@click.option("--yes", is_flag=True, help="Do not ask: it is meant.")
@logs.verbose_option
def wipe_user(name: str, yes: bool, **flags: Any) -> None:
    """Remove the user NAME from the server, with all objects that NAME has made.

    They go for all who have them, and so do NAME's subscriptions; stored files stay on the storage host. Only
    superusers may do that. It asks first, and needs --yes where nobody can be asked.
    """
    who, options = config.account(flags)
    question = f"Remove {printable(name)} from {who.server}, with all objects that {printable(name)} has made?"
    if not yes:
        if not sys.stdin.isatty():
            raise errors.Refused(f"{printable(name)} and their objects would be gone for good: confirm with --yes")
        click.confirm(question, abort=True, err=True)
    secret = config.password(who, options, ask=terminal.ask())
    _with_server(who, secret, bool(options.insecure), lambda server: server.wipe_user(name))
    click.echo(f"{printable(name)} is removed from {who.server}.")


def _with_server(
    account: credentials.Account, password: credentials.Secret, insecure: bool,
    work: Callable[[HttpOaioServer], Awaitable[None]],
) -> None:  # fmt: skip
    """Do *work* as *account*, in a session that ends with it."""
    from ..remote.oaio import HttpOaioServer

    async def run() -> None:
        server = HttpOaioServer(
            account.server, account.user, password.reveal(), device_id=config.default_device_id(), app_id="oaiofs",
            insecure=insecure,
        )  # fmt: skip
        try:
            await work(server)
        finally:
            await server.aclose()

    trio.run(run)
