"""What a customer wants of an account: shown, priced before it is saved, saved."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import marshmallow as ma
from marshmallow import fields

from robo.api.auth import caller, is_second_owner, owned_account, requires
from robo.api.idempotency import exempt
from robo.api.state import close_reading, reading, runtime
from robo.api.wire import Cents, Day, Id, Ppm, Schema, Text, Whole, Word, blueprint
from robo.core.errors import InvalidInputError
from robo.core.ids import AccountId, SecurityId
from robo.core.money import PPM
from robo.services import composing, following, personalising
from robo.services.personalising import PriceTag, Wishes
from robo.store import universe
from robo.store.direct import DirectSleeve

BLUEPRINT = blueprint("choices", "What an account follows, with a price tag before saving")
_EXCLUDED_MAX: Final = 200
_TILTS_MAX: Final = 20
_INDEX_MAX: Final = 500
_LADDERS: Final = ("standard", "dense")
_THEMES: Final = ("fades", "stays")
_LADDER: Final = {"description": "standard: the one of the account's segment."}
_LIMIT: Final = {"description": "At most so many names; 0 for no limit of your own."}
_SCREENS: Final = ("stays", "goes")
_SCREEN: Final = {
    "description": "Whether what the basket excludes stays out of the index's share too."
}
_STAYS: Final = {"description": "The least share of a theme that stays."}
_TILTS: Final = {
    "description": "Sector dial -> ppm: 300000 is 1.3 times its weight. An empty object ends them.",
    "example": {"sector technology": 300_000},
}
_INDEX: Final = {
    "description": (
        "Symbol -> ppm of an index of your own in the place of ours, 1000000 in all; "
        "an empty object follows ours. Ten names or more, none above 250000."
    ),
    "example": {"AAPL": 150_000, "MSFT": 150_000},
}
_NOT_YOURS: Final = "Null for the second owner of a joint account: it tells the first one's rates."
_TE: Final = "Annual standard deviation of a return difference, in ppm; the model's forecast."


class ChoicesRequest(Schema):
    """What shall change; what is left out stays."""

    ladder = Word(*_LADDERS, metadata=_LADDER)
    names_max = Whole(least=0, most=500, metadata=_LIMIT)
    theme = Word(*_THEMES)
    stays_ppm = Ppm(metadata=_STAYS)
    screen = Word(*_SCREENS, metadata=_SCREEN)
    tilts = fields.Dict(
        keys=Text(longest=60),
        values=Whole(least=-PPM, most=PPM),
        validate=ma.validate.Length(max=_TILTS_MAX),
        metadata=_TILTS,
    )
    index = fields.Dict(
        keys=Text(longest=20),
        values=Whole(least=1, most=PPM),
        validate=ma.validate.Length(max=_INDEX_MAX),
        metadata=_INDEX,
    )
    leave_out = fields.List(
        Text(longest=20),
        validate=ma.validate.Length(max=_EXCLUDED_MAX),
        metadata={"description": "Symbols never to be bought; shares already held stay."},
    )

    @ma.validates_schema
    def something(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse a change that changes nothing."""
        if not data:
            message = "Name at least one field to change."
            raise ma.ValidationError(message)


class PreviewRequest(ChoicesRequest):
    """What would change; the tax mode is saved with the customer's tax choices."""

    tax_mode = Word(*personalising.MODES)


class ChoicesReply(Schema):
    """What holds for an account."""

    account_id = Id(required=True)
    ladder = Word(*_LADDERS, required=True, metadata=_LADDER)
    names = Whole(required=True, metadata={"description": "How many names the balance carries."})
    names_max = Whole(required=True, metadata=_LIMIT)
    theme = Word(*_THEMES, required=True)
    stays_ppm = Ppm(required=True, metadata=_STAYS)
    screen = Word(*_SCREENS, required=True, metadata=_SCREEN)
    tilts = fields.Dict(keys=Text(), values=Whole(), required=True, metadata=_TILTS)
    index = fields.Dict(keys=Text(), values=Ppm(), required=True, metadata=_INDEX)


class NamedReply(Schema):
    """A name that comes or goes."""

    security_id = Whole(required=True)
    symbol = Text(required=True)
    name = Text(required=True, shortest=0)


class PriceTagReply(Schema):
    """What the choices would do, before they are saved."""

    account_id = Id(required=True)
    names_before = Whole(required=True)
    names_after = Whole(required=True)
    following_before_ppm = Whole(required=True, metadata={"description": _TE})
    following_after_ppm = Whole(required=True, metadata={"description": _TE})
    from_index_before_ppm = Whole(required=True, metadata={"description": _TE})
    from_index_after_ppm = Whole(required=True, metadata={"description": _TE})
    tax = Cents(
        signed=True,
        required=True,
        allow_none=True,
        metadata={"description": f"Of the first night's trades. {_NOT_YOURS}"},
    )
    cost = Cents(zero=True, required=True)
    short_gain = Cents(signed=True, required=True)
    long_gain = Cents(signed=True, required=True)
    leaving_tax = Cents(
        signed=True,
        required=True,
        allow_none=True,
        metadata={
            "description": f"What selling all that leaves would cost in tax today. {_NOT_YOURS}"
        },
    )
    trades = Whole(required=True)
    entering = fields.List(fields.Nested(NamedReply), required=True)
    leaving = fields.List(fields.Nested(NamedReply), required=True)
    model_id = Id(required=True)
    as_of = Day(required=True)


@BLUEPRINT.route("/accounts/<id:account_id>/choices")
@BLUEPRINT.response(200, ChoicesReply)
@requires("portfolio:read")
def get_choices(account_id: str) -> dict[str, Any]:
    """Show what an account follows: ladder, theme, tilts."""
    account = owned_account(account_id)
    with reading() as session:
        return _row_json(session, personalising.show(session, AccountId(account.id)))


@BLUEPRINT.route("/accounts/<id:account_id>/choices/previews", methods=["POST"])
@exempt
@BLUEPRINT.arguments(PreviewRequest)
@BLUEPRINT.response(200, PriceTagReply)
@requires("portfolio:read")
def preview_choices(body: dict[str, Any], account_id: str) -> dict[str, Any]:
    """Price choices before saving them: tracking error, tax, cost, names. Writes nothing."""
    account = owned_account(account_id)
    r = runtime()
    with reading() as session:
        tag = personalising.preview(
            session,
            r.keyring,
            r.broker,
            r.prices,
            r.clock,
            r.policy,
            AccountId(account.id),
            _wishes(session, body),
        )
        named = universe.by_id(session, [*tag.entering, *tag.leaving])
    said = _tag_json(account.id, tag, named)
    return {**said, "tax": None, "leaving_tax": None} if is_second_owner(account) else said


@BLUEPRINT.route("/accounts/<id:account_id>/choices", methods=["PUT"])
@BLUEPRINT.arguments(ChoicesRequest)
@BLUEPRINT.response(200, ChoicesReply)
@requires("accounts:write")
def put_choices(body: dict[str, Any], account_id: str) -> dict[str, Any]:
    """Save choices; the next review of the ladder follows them, and nothing is traded by it.

    What is left out becomes a restriction of the caller's own; a firm speaks for the first owner.
    """
    account = owned_account(account_id)
    with reading() as session:
        wishes = _wishes(session, body)
    close_reading()
    r = runtime()
    mine = AccountId(account.id)
    asker_id = caller().customer_id
    saved = personalising.save(
        r.db, r.broker, r.prices, r.clock, r.policy, mine, wishes, asker_id=asker_id
    )
    with reading() as session:
        return _row_json(session, saved)


def _wishes(session: Any, body: Mapping[str, Any]) -> Wishes:
    """Return the wishes of a request.

    Raises:
        InvalidInputError: If a symbol is none.
    """
    symbols: Sequence[str] = body.get("leave_out", ())
    own: Mapping[str, int] | None = body.get("index")
    found = universe.by_symbol(session, [*symbols, *(own or ())])
    for field, named in (("leave_out", symbols), ("index", own or ())):
        unknown = [one for one in named if one not in found]
        if unknown:
            message = f"There is no security {unknown[0]!r}."
            raise InvalidInputError(message, code="unknown_symbol", fields={field: [message]})
    index = None if own is None else {int(found[one].id): ppm for one, ppm in own.items()}
    return Wishes(
        ladder=body.get("ladder"),
        names_max=body.get("names_max"),
        theme=body.get("theme"),
        stays_ppm=body.get("stays_ppm"),
        screen=body.get("screen"),
        tilts=body.get("tilts"),
        index=index,
        exclude=tuple(sorted({int(found[one].id) for one in symbols})),
        tax_mode=body.get("tax_mode"),
    )


def _row_json(session: Any, row: DirectSleeve) -> dict[str, Any]:
    own = composing.read(row.own_index)
    named = universe.by_id(session, [security_id for security_id, _ in own])
    return {
        "account_id": row.account_id,
        "ladder": row.ladder,
        "names": row.names,
        "names_max": row.names_max,
        "theme": row.theme,
        "stays_ppm": row.stays_ppm,
        "screen": row.screen,
        "tilts": following.tilts_of(row),
        "index": {named[SecurityId(one)].symbol: ppm for one, ppm in own},
    }


def _tag_json(
    account_id: str, tag: PriceTag, named: Mapping[SecurityId, universe.Listing]
) -> dict[str, Any]:
    def names(ids: Sequence[int]) -> list[dict[str, Any]]:
        return [
            {
                "security_id": i,
                "symbol": named[SecurityId(i)].symbol,
                "name": named[SecurityId(i)].name,
            }
            for i in ids
        ]

    return {
        "account_id": account_id,
        "names_before": tag.names_before,
        "names_after": tag.names_after,
        "following_before_ppm": tag.following_before_ppm,
        "following_after_ppm": tag.following_after_ppm,
        "from_index_before_ppm": tag.from_index_before_ppm,
        "from_index_after_ppm": tag.from_index_after_ppm,
        "tax": tag.tax_cents,
        "cost": tag.cost_cents,
        "short_gain": tag.short_gain_cents,
        "long_gain": tag.long_gain_cents,
        "leaving_tax": tag.leaving_tax_cents,
        "trades": tag.trades,
        "entering": names(tag.entering),
        "leaving": names(tag.leaving),
        "model_id": tag.model_id,
        "as_of": tag.as_of,
    }
