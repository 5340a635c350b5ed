"""``python -m oaiofs``: the command line."""

from .cli import main

main()
