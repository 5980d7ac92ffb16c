"""The API's own description: OpenAPI 3.1, finished from the marks that the code obeys."""

import json
import re
from copy import deepcopy
from http import HTTPStatus
from typing import Any, Final

import flask_smorest
from flask import Flask, current_app
from flask_smorest.utils import prepare_response

from robo.api import auth, idempotency, problems
from robo.api.wire import ID_PATTERN, IdConverter, NumberConverter

_NAME: Final = "robo-openapi"
_WORDS: Final = re.compile(r"<(?:[^:<>]+:)?([^<>]+)>")
_KEY_HEADER: Final = {
    "name": idempotency.HEADER,
    "in": "header",
    "required": True,
    "description": "Names the request: the same key and body get the first reply again.",
    "schema": {"type": "string", "pattern": f"^{idempotency.KEY_PATTERN}$"},
}
_INTRODUCTION: Final = (
    "Money, shares and prices are decimal strings. Every write carries an `Idempotency-Key`. "
    "Errors are RFC 9457 problems with a stable `code`. Lists are paged by cursor. "
    "Prices and fills of the built-in market are simulated and say so."
)


class Api(flask_smorest.Api):  # type: ignore[misc] # it has no types
    """flask-smorest with problems as its errors, and without its own error handler."""

    ERROR_SCHEMA = problems.ProblemReply

    def _register_error_handlers(self) -> None:
        """Leave errors to `robo.api.problems`."""

    def _register_doc_blueprint(self) -> None:
        """Leave the document to `robo.api.health`, which serves the finished one."""

    def _register_pagination_header(self) -> None:
        """Leave pages to `wire.page_of`."""

    def _register_responses(self) -> None:
        for status in HTTPStatus:
            reply: dict[str, Any] = {"description": status.phrase, "schema": self.ERROR_SCHEMA}
            prepare_response(reply, self.spec, problems.CONTENT_TYPE)
            self.spec.components.response(status.name, reply, lazy=True)
        reply = {"description": "A problem.", "schema": self.ERROR_SCHEMA}
        prepare_response(reply, self.spec, problems.CONTENT_TYPE)
        self.spec.components.response("DEFAULT_ERROR", reply, lazy=True)


def make_api(app: Flask) -> Api:
    """Return the API of an app; blueprints are registered on it."""
    app.config.update(
        API_TITLE="robo",
        API_VERSION="1",
        OPENAPI_VERSION="3.1.0",
        API_SPEC_OPTIONS={"info": {"description": _INTRODUCTION}},
    )
    app.url_map.converters["id"] = IdConverter
    app.url_map.converters["int"] = NumberConverter
    api = Api(app)
    api.register_converter(IdConverter, lambda _: {"type": "string", "pattern": f"^{ID_PATTERN}$"})
    api.spec.components.security_scheme(
        "bearer",
        {
            "type": "http",
            "scheme": "bearer",
            "description": "A customer's access token (ra_at_…) or a firm's API key (ra_pk_…).",
        },
    )
    app.extensions[_NAME] = api
    return api


def document(app: Flask) -> dict[str, Any]:
    """Return the finished description of an app."""
    api: Api = app.extensions[_NAME]
    spec: dict[str, Any] = deepcopy(api.spec.to_dict())
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        operations = spec["paths"].get(_WORDS.sub(r"{\1}", rule.rule), {})
        for method in rule.methods or ():
            operation = operations.get(method.lower())
            if operation is not None:
                _finish(operation, view, method, rule.endpoint)
    for name, schema in spec["components"]["schemas"].items():
        if name.endswith(("Request", "Fields")):
            schema["additionalProperties"] = False
    return spec


def openapi_json(app: Flask) -> str:
    """Return the description as canonical JSON: sorted, indented, one newline at the end."""
    return json.dumps(document(app), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def served() -> str:
    """Return the description of the app that serves this request; made once a process."""
    found: str | None = current_app.extensions.get(f"{_NAME}-text")
    if found is None:
        found = openapi_json(current_app)
        current_app.extensions[f"{_NAME}-text"] = found
    return found


def _finish(operation: dict[str, Any], view: Any, method: str, endpoint: str) -> None:
    scope = auth.mark_of(view, method, "robo_scope")
    optional = auth.mark_of(view, method, "robo_or_scope")
    if scope:
        operation["security"] = [{"bearer": [scope]}]
    elif optional:
        operation["security"] = [{}, {"bearer": [optional]}]
    else:
        operation["security"] = []
    operation["operationId"] = endpoint.rpartition(".")[2]
    if idempotency.needs_key(view, method):
        operation.setdefault("parameters", []).append(_KEY_HEADER)
