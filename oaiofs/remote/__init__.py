"""The outside: oaio servers and storage hosts, over HTTP and in memory, behind the words of ``contract``.

    contract    what the rest of oaiofs needs of them, and may know
    oaio        one user's session on an oaio server          hosts     which driver a storage host's id means
    koofr       one account on Koofr or a host like it        koofr_api the calls it is put together from
    http        the shared edge: connections, limits, retries streams   bodies through httpx
    failures    what foreign errors mean                      bodies    files, measured on their way
    retry       when to try again, purely                     address   how a host is called
    jsontext    text to JSON, saving what can be saved        paths     what may be a path on a storage host
    memory      the twins of both: a Cloud and its sessions   memory_storage  its storage accounts
    memory_objects  what it keeps of objects                  memory_rights   and of rights on stored files
    faults      what can go wrong there, as data

Knows nothing of the mount, the local state or the command line.
"""
