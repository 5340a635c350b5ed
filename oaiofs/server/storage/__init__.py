"""A storage host that speaks Koofr's REST v2 and v2.1 (also Digi Storage's), over plain files.

    paths      PURE: which paths are let in, when two names are the same, where a path is
    index      what the database remembers of the files (``models.StoredFile``)
    disk       drafts, clones and durable folders on plain files
    names      names found whatever their case
    tree       the files of one account: list, put, copy, move, remove
    places     the accounts' trees, and the root folders that are handed out
    logins     the login that each user gets, derived, not stored
    accounts   who is asking: tokens and Basic logins
    access     what who is asking may do at a path, by the rules of ``core.storedfiles``
    uploads    a request's body on its way to a file
    records    a file as the wire tells it
    refusals   what went wrong, likewise
    views      the endpoints

Facts of the wire are from the vendor's public clients and API description (koofr/vault, koofr/go-koofrclient, the
"DIGI storage API V2" OpenAPI text) and from rclone's backend. A plain file is never changed in place: a put makes a new
one and renames it. So a copy is a hard link where the file system has them. Names are case-insensitive and
case-preserving.
"""
