"""Questions, answers and restrictions on the wire."""

from typing import Any, cast

import marshmallow as ma
from marshmallow import fields

from onboarding.questionnaire import Question, load_questionnaire
from onboarding.restrictions import HeldChoice
from robo.api.wire import (
    Day,
    Flag,
    Id,
    Instant,
    Schema,
    Text,
    Whole,
    Word,
    page_of,
)


class OptionReply(Schema):
    """One answer that a choice offers."""

    key = fields.String(required=True)
    label = fields.String(required=True)
    exclusive = fields.Boolean(required=True)


class ConditionReply(Schema):
    """Asked only if another question was answered with one of these keys."""

    question = fields.String(required=True)
    keys = fields.List(fields.String(), required=True)


class QuestionReply(Schema):
    """One question and exactly which answers are acceptable."""

    id = fields.String(required=True)
    section = fields.String(required=True)
    kind = Word("choice", "multi", "number", "date", "bool", "text_list", required=True)
    text = fields.String(required=True)
    help = fields.String(required=True)
    required = fields.Boolean(required=True)
    options = fields.List(fields.Nested(OptionReply), required=True)
    unit = fields.String(required=True)
    minimum = fields.Integer(required=True)
    maximum = fields.Integer(required=True)
    max_items = fields.Integer(required=True)
    max_length = fields.Integer(required=True)
    when = fields.Nested(ConditionReply, required=True, allow_none=True)


class QuestionnaireReply(Schema):
    """All questions in order."""

    version = fields.String(required=True)
    version_hash = fields.String(required=True)
    questions = fields.List(fields.Nested(QuestionReply), required=True)


def _field(question: Question) -> fields.Field[Any]:
    more: dict[str, Any] = {"required": question.required and question.when is None}
    more["metadata"] = {"description": question.text}
    more["allow_none"] = not more["required"]
    match question.kind:
        case "choice":
            return Word(*question.keys, **more)
        case "multi":
            return fields.List(Word(*question.keys), **more)
        case "number":
            return Whole(least=question.minimum, most=question.maximum, **more)
        case "date":
            return Day(**more)
        case "bool":
            return Flag(**more)
        case _:
            inner = Text(longest=question.max_length or 100)
            return fields.List(
                inner, validate=ma.validate.Length(max=question.max_items or None), **more
            )


AnswersFields = cast(
    "type[Schema]",
    type(
        "AnswersFields",
        (Schema,),
        {
            "__doc__": "One answer a question.",
            **{question.id: _field(question) for question in load_questionnaire().questions},
        },
    ),
)


class AnswersRequest(Schema):
    """Answers, and the contradictions that the customer confirms."""

    answers = fields.Nested(AnswersFields, required=True)
    confirmations = fields.List(
        Text(longest=64), load_default=[], validate=ma.validate.Length(max=50)
    )


class PointReply(Schema):
    """What one fact adds to the score or takes from it, and why."""

    key = fields.String(required=True)
    points = fields.Integer(required=True)
    sentence = fields.String(required=True)


class ScoreReply(Schema):
    """How much risk suits the customer; the points sum to the score."""

    score = fields.Integer(required=True)
    band = fields.String(required=True)
    band_sentence = fields.String(required=True)
    willingness = fields.Integer(required=True)
    capacity = fields.Integer(required=True)
    points = fields.List(fields.Nested(PointReply), required=True)
    capacity_points = fields.List(fields.Nested(PointReply), required=True)


class ContradictionReply(Schema):
    """Answers that do not fit together, as a question back."""

    code = fields.String(required=True)
    question = fields.String(required=True)
    fields_ = fields.List(fields.String(), required=True, data_key="fields", attribute="fields")
    confirmable = fields.Boolean(required=True)


class StopReply(Schema):
    """A reason not to invest now, and what to do first."""

    code = fields.String(required=True)
    sentence = fields.String(required=True)
    fields_ = fields.List(fields.String(), required=True, data_key="fields", attribute="fields")


class RankingReply(Schema):
    """What moved a basket up or down."""

    code = fields.String(required=True)
    points = fields.Integer(required=True)
    sentence = fields.String(required=True)


class RecommendedReply(Schema):
    """A basket for this customer; the reasons sum to the points."""

    basket_id = fields.String(required=True)
    rank = fields.Integer(required=True)
    points = fields.Integer(required=True)
    sentence = fields.String(required=True)
    reasons = fields.List(fields.Nested(RankingReply), required=True)
    replaced = fields.List(fields.Integer(), required=True)
    score_note = fields.String(
        required=True, metadata={"description": "On whose opinions it rests."}
    )


class RecommendationReply(Schema):
    """At most three baskets, best first; or none, and why."""

    baskets = fields.List(fields.Nested(RecommendedReply), required=True)
    none_because = fields.List(fields.String(), required=True)
    sentence = fields.String(required=True)


class UnclearReply(Schema):
    """A company's name that may mean several; none of them is bought until it is answered."""

    field = fields.String(required=True)
    text = fields.String(required=True)
    candidates = fields.List(fields.String(), required=True)


class RestrictedReply(Schema):
    """What the answers keep out."""

    never_buy = fields.Integer(required=True, metadata={"description": "How many securities."})
    unclear = fields.List(fields.Nested(UnclearReply), required=True)
    outside_universe = fields.List(fields.String(), required=True)


class AnswersReply(Schema):
    """The decision and everything behind it."""

    id = Id(required=True)
    created_at = Instant(required=True)
    decision = Word("proceed", "clarify", "not_yet", required=True)
    reasons = fields.List(fields.String(), required=True)
    contradictions = fields.List(fields.Nested(ContradictionReply), required=True)
    confirmed = fields.List(fields.String(), required=True)
    stops = fields.List(fields.Nested(StopReply), required=True)
    score = fields.Nested(ScoreReply, required=True)
    recommendation = fields.Nested(RecommendationReply, required=True)
    restrictions = fields.Nested(RestrictedReply, required=True)


class RestrictionRequest(Schema):
    """A company to leave out."""

    symbol = Text(longest=12, required=True)
    verb = Word("never_buy", "never_own", required=True)


class HeldRequest(Schema):
    """What to do with shares already held."""

    choice = Word(*(choice.value for choice in HeldChoice), required=True)


class RestrictionReply(Schema):
    """One security, what must not happen to it, and why."""

    security_id = fields.Integer(required=True)
    symbol = fields.String(required=True)
    name = fields.String(required=True)
    verb = Word("never_buy", "never_own", "never_trade", required=True)
    source = fields.String(required=True)
    reason = fields.String(required=True)
    held_choice = Word("none", "sell", "sell_within_budget", "keep", required=True)
    created_at = Instant(required=True)


RestrictionPage = page_of(RestrictionReply)


class OpeningRequest(Schema):
    """The account to open. A customer may leave its own id out."""

    customer_id = Id(required=True)
    kind = Word("individual", "joint", "traditional_ira", "roth_ira", required=True)
    basket_id = Text(longest=80, required=True)


class OpeningReply(Schema):
    """An account that follows a basket."""

    id = Id(required=True)
    customer_id = Id(required=True)
    kind = fields.String(required=True)
    state = fields.String(required=True)
    basket_id = fields.String(required=True)
    opened_at = Instant(required=True)
    identity_state = fields.String(required=True)
