"""The web application: everything a request passes through, in order."""

import json
from importlib import import_module
from typing import Any

from flask import Flask, current_app, request
from flask.json.provider import JSONProvider

from onboarding.identity_check import IdentityCheck, LocalIdentityCheck
from robo.api import (
    MODULES,
    auth,
    headers,
    health,
    idempotency,
    limits,
    metrics,
    openapi,
    problems,
)
from robo.api.auth import mark_of
from robo.api.state import State
from robo.api.state import install as install_state
from robo.runtime import Runtime
from robo.services.securing import Hasher
from robo.store.keylocks import KeyLocks

_BODY_MAX = 64 * 1024
_UPLOAD_MAX = 1024 * 1024


class _Json(JSONProvider):
    """JSON in UTF-8 without spaces, in the order of the schema; NaN is a bug, not a number."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        """Return the text of a value."""
        options: dict[str, Any] = {"separators": (",", ":"), "ensure_ascii": False, **kwargs}
        return json.dumps(obj, allow_nan=False, **options)

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """Return the value of a text; requests are read by `strict_json`, never through here."""
        return json.loads(s, **kwargs)


def create_app(
    runtime: Runtime, *, hasher: Hasher | None = None, identity: IdentityCheck | None = None
) -> Flask:
    """Return the application.

    Args:
        runtime: What `robo.runtime.build` made, in this process.
        hasher: How passwords are hashed; tests pass a cheap one.
        identity: Who judges identities; local rules unless a firm brings its service.
    """
    app = Flask("robo", static_folder="api/static", static_url_path="/static")
    app.json = _Json(app)
    # A double slash is another path: merging redirects to whatever host the caller named.
    app.url_map.merge_slashes = False
    app.config["MAX_CONTENT_LENGTH"] = _BODY_MAX
    app.config["MAX_FORM_PARTS"] = 0
    keylocks = KeyLocks(runtime.db, runtime.settings.state_path)
    install_state(
        app, State(runtime, hasher or Hasher(), keylocks, identity or LocalIdentityCheck())
    )
    problems.register(app)
    headers.install(app, runtime.settings)
    app.before_request(_allow_uploads)
    limits.install(app, runtime.settings.requests_per_minute)
    auth.install(app)
    idempotency.install(app)
    api = openapi.make_api(app)
    for name in MODULES:
        api.register_blueprint(import_module(name).BLUEPRINT)
    health.install(app)
    metrics.install(app)
    return app


def _allow_uploads() -> None:
    if request.endpoint is None:
        return
    view = current_app.view_functions[request.endpoint]
    if mark_of(view, request.method, "robo_upload"):
        request.max_content_length = _UPLOAD_MAX
