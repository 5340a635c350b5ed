"""What this machine remembers: observations in SQLite, working copies as ordinary files, both under one client root.

    store                       one client root as a tree, with what lives as long as the process
    state, database, records    the state file, how it is opened, its rows
    workdir, found, room        the files; bytes that no row speaks of; a full disk
    tree, objects               what users do to files and folders, to objects and their values
    apply, texts, agree         what the servers do: a version comes in, merged texts, what is agreed
    conflicts, resolve          what both sides changed, and how that ends
    copies, uses, pins, evict, xattrs   what is here, when it was used, what is to stay, how it goes, what is kept of it
    trash, parked, restore      what left, files on the way of ``rm -r``, and the way back
    recover, labels, rebuild    after a crash; after the loss of the state file
    check, repair               whether all that must be true is, and what is done where it is not

Must not know FUSE, HTTP or when anything is to be sent. The database is used synchronously on the trio thread: a run
of calls without ``await`` is a critical section, and every public method is one.
"""
