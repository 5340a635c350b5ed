"""Which address is answered by which view. Nothing else."""

from __future__ import annotations

from django.urls import include, path

from ..core import dialect
from . import api
from .storage import views as storage

handler400 = "oaiofs.server.answers.bad_request"
handler403 = "oaiofs.server.answers.forbidden"
handler404 = "oaiofs.server.answers.not_found"
handler500 = "oaiofs.server.answers.server_error"

actions = {"register": api.register, "upload": api.upload, "delete": api.delete}

oaio_urls = [
    path("login/", api.login),
    path("logout/", api.logout),
    path("current_stamp/", api.current_stamp),
    path("oaio_stampz/", api.oaio_stampz),
    *(path(f"{spelled}/", view) for action, view in actions.items() for spelled in (action, dialect.ACTIONS[action])),
    path("subscribe/", api.subscribe),
    path("user_subz/<path:oaio_id>", api.user_subz),
    path("oaio_log/<path:oaio_id>", api.oaio_log),
    path("csh_args/<str:csh_id>", api.csh_args),
    path("wipe_user/", api.wipe_user),
]

storage_urls = [
    path("mounts", storage.mounts),
    path("places", storage.places),
    path("mounts/<str:mount>", storage.mount),
    path("user", storage.user),
    path("user/authenticated", storage.authenticated),
    path("mounts/<str:mount>/files/info", storage.info),
    path("mounts/<str:mount>/files/list", storage.list_folder),
    path("mounts/<str:mount>/files/tree", storage.tree),
    path("mounts/<str:mount>/files/bundle", storage.bundle),
    path("mounts/<str:mount>/files/folder", storage.make_folder),
    path("mounts/<str:mount>/files/remove", storage.remove),
    path("mounts/<str:mount>/files/rename", storage.rename),
    path("mounts/<str:mount>/files/move", storage.move),
    path("mounts/<str:mount>/files/copy", storage.copy),
    path("mounts/<str:mount>/files/get", storage.redirect_to_content),
]

content_urls = [
    path("mounts/<str:mount>/files/listrecursive", storage.list_recursive),
    path("mounts/<str:mount>/files/put", storage.put),
    path("mounts/<str:mount>/files/get", storage.get),
]

urlpatterns = [
    path("token", storage.token),
    *(
        path(f"{prefix}api/{version}/", include(routes), {"modern": modern})
        for prefix, routes in (("", storage_urls), ("content/", content_urls))
        for version, modern in (("v2", False), ("v2.1", True))
    ),
    path("api/", include(oaio_urls)),
]
