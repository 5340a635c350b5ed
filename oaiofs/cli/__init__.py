"""The command line: parse, call, print. What a command does is done elsewhere.

    app         the group of commands          (a new one is added to COMMANDS there)
    accounts    login
    mounting    mount · umount · demo          background   a mount that goes on after its command
    objects     ls · rm
    adding      add
    values      get · set
    sharing     users · share · unshare
    checking    check
    watching    status · sync                  report       a status as text, purely
    waiting     showing how far a mount is   progress     transfers as text, purely
    live        text in its place            words        amounts, times and names as text
    conflicts   conflicts, shown and ended
    copies      pin · unpin · evict
    places      which client root is meant, and how it is reached
    serving     server run, adduser …          logs         where log lines go
    failures    errors as sentences            terminal     the user who can be asked

Invariants: standard output is a command's answer and nothing else; every other word goes to standard error as
``oaiofs: SENTENCE``. Secrets are in neither. Nothing here touches a mounted tree except through the control socket,
so no command hangs on a mount that does.
"""

from .app import main

__all__ = ["main"]
