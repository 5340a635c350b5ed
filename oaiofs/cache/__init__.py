"""What this machine remembers: observations in SQLite, working copies as ordinary files, both under one client root.

``state`` owns the database, ``records`` its rows, ``workdir`` the files, ``store`` puts them together as the tree that
``vfs`` changes and that ``transfer`` and ``sync`` bring up to date; ``recover`` mends what a crash left behind.

Must not know FUSE, HTTP or when anything is to be sent. The database is used synchronously on the trio thread: a run
of calls without ``await`` is a critical section, and every public method is one.
"""
