"""Questions, answers and what follows; restrictions; and the account that opens on them."""

from typing import Any

from onboarding.questionnaire import load_questionnaire
from onboarding.restrictions import HeldChoice
from robo.api import idempotency
from robo.api.auth import owned_customer, public, requires
from robo.api.questionnaire_fields import (
    AnswersReply,
    AnswersRequest,
    HeldRequest,
    OpeningReply,
    OpeningRequest,
    QuestionnaireReply,
    RestrictionPage,
    RestrictionReply,
    RestrictionRequest,
)
from robo.api.state import reading, runtime, state
from robo.api.wire import (
    PageQuery,
    blueprint,
    decode_cursor,
    encode_cursor,
    json_body,
    paged,
)
from robo.core.errors import NotFoundError
from robo.core.ids import AccountId
from robo.services import keeping
from robo.services.enrolling import answering, opening, restricting
from robo.services.enrolling.answering import Outcome
from robo.services.enrolling.opening import Wanted
from robo.services.enrolling.restricting import Shown
from robo.store import accounts, owners, universe

BLUEPRINT = blueprint("questionnaire", "Questions, answers, restrictions, opening an account.")


@BLUEPRINT.route("/questionnaire", methods=["GET"])
@public()
@BLUEPRINT.response(200, QuestionnaireReply)
def get_questionnaire() -> Any:
    """Show the questions."""
    return load_questionnaire()


@BLUEPRINT.route("/customers/<id:customer_id>/answers", methods=["POST"])
@requires("customers:write")
@BLUEPRINT.arguments(AnswersRequest)
@BLUEPRINT.response(201, AnswersReply)
def submit_answers(body: dict[str, Any], customer_id: str) -> dict[str, Any]:
    """Answer the questions: proceed, clarify (questions come back), or not yet (with reasons)."""
    customer = owned_customer(customer_id)
    r = runtime()
    made = answering.submit(
        r.db,
        r.keyring,
        r.clock,
        customer.id,
        idempotency.request_id("ans"),
        json_body()["answers"],
        body["confirmations"],
    )
    return _shown(made)


@BLUEPRINT.route("/customers/<id:customer_id>/answers", methods=["GET"])
@requires("customers:read")
@BLUEPRINT.response(200, AnswersReply)
def get_outcome(customer_id: str) -> dict[str, Any]:
    """Show what follows from the present answers; the answers themselves stay sealed."""
    customer = owned_customer(customer_id)
    with reading() as session:
        return _shown(answering.latest(session, runtime().keyring, customer.id))


@BLUEPRINT.route("/customers/<id:customer_id>/restrictions", methods=["GET"])
@requires("customers:read")
@BLUEPRINT.arguments(PageQuery, location="query")
@BLUEPRINT.response(200, RestrictionPage)
def list_restrictions(query: dict[str, Any], customer_id: str) -> dict[str, Any]:
    """List what must not be bought, owned or traded, by security."""
    customer = owned_customer(customer_id)
    after = decode_cursor(query["after"], int, str) if query["after"] else (0, "")
    with reading() as session:
        rows = restricting.shown(session, customer.id)
    rest = [row for row in rows if (row.security_id, row.source) > after]
    part = rest[: query["limit"]]
    more = len(rest) > len(part)
    return paged(part, encode_cursor(part[-1].security_id, part[-1].source) if more else None)


@BLUEPRINT.route("/customers/<id:customer_id>/restrictions", methods=["POST"])
@requires("customers:write")
@BLUEPRINT.arguments(RestrictionRequest)
@BLUEPRINT.response(201, RestrictionReply)
def add_restriction(body: dict[str, Any], customer_id: str) -> Shown:
    """Leave a company out."""
    customer = owned_customer(customer_id)
    r = runtime()
    with r.db.read() as session:
        found = universe.by_symbol(session, [body["symbol"].upper()])
    if not found:
        message = "There is no such symbol."
        raise NotFoundError(message, code="no_such_security")
    security_id = next(iter(found.values())).id
    rows = restricting.add(r.db, r.clock, customer.id, security_id, body["verb"])
    return next(row for row in rows if (row.security_id, row.source) == (security_id, "own"))


@BLUEPRINT.route("/customers/<id:customer_id>/restrictions/<int:security_id>", methods=["DELETE"])
@requires("customers:write")
@BLUEPRINT.response(204)
def remove_restriction(customer_id: str, security_id: int) -> None:
    """Take back a restriction of one's own."""
    customer = owned_customer(customer_id)
    restricting.remove(runtime().db, runtime().clock, customer.id, security_id)


@BLUEPRINT.route("/customers/<id:customer_id>/restrictions/<int:security_id>/held", methods=["PUT"])
@requires("customers:write")
@BLUEPRINT.arguments(HeldRequest)
@BLUEPRINT.response(200, RestrictionReply)
def choose_held(body: dict[str, Any], customer_id: str, security_id: int) -> Shown:
    """Say what to do with shares already held of a restricted company."""
    customer = owned_customer(customer_id)
    choice = HeldChoice(body["choice"])
    rows = restricting.choose(runtime().db, runtime().clock, customer.id, security_id, choice)
    return next(row for row in rows if row.security_id == security_id)


@BLUEPRINT.route("/accounts", methods=["POST"])
@requires("accounts:write")
@BLUEPRINT.arguments(OpeningRequest)
@BLUEPRINT.response(201, OpeningReply)
def open_account(body: dict[str, Any]) -> dict[str, Any]:
    """Open an account that follows a basket."""
    customer = owned_customer(body["customer_id"])
    r = runtime()
    wanted = Wanted(idempotency.request_id("acc"), customer.id, body["kind"], body["basket_id"])
    with r.db.read() as session:
        keeping.require_offered(session, r.broker, customer.id, wanted.kind, wanted.id)
    made = opening.open_account(r.db, r.keyring, r.clock, state().identity, wanted)
    with r.db.read() as session:
        sleeve = accounts.sleeves(session, [AccountId(made.id)])[AccountId(made.id)]
        owner = owners.find_customer(session, customer.id)
    assert owner is not None
    return {
        "id": made.id,
        "customer_id": made.customer_id,
        "kind": made.kind,
        "state": made.state,
        "basket_id": sleeve.basket_id,
        "opened_at": made.opened_at,
        "identity_state": owner.identity_state,
    }


def _shown(made: Outcome) -> dict[str, Any]:
    return {
        "id": made.id,
        "created_at": made.created_at,
        "decision": made.assessment.decision.value,
        "reasons": made.assessment.reasons,
        "contradictions": made.assessment.contradictions,
        "confirmed": made.assessment.confirmed,
        "stops": made.assessment.stops,
        "score": made.score,
        "recommendation": made.recommendation,
        "restrictions": {
            "never_buy": len(made.restrictions.never_buy),
            "unclear": [
                {"field": field, "text": text, "candidates": names}
                for field, text, names in restricting.suggestions(made.restrictions)
            ],
            "outside_universe": made.restrictions.outside_universe,
        },
    }
