"""The profile on the wire: its shape; `onboarding.identity` judges what is in it."""

from marshmallow import fields

from onboarding.identity import (
    ADDRESS_KINDS,
    EMPLOYMENT_STATUSES,
    RESIDENCIES,
)
from robo.api.wire import Day, Flag, Schema, Text, Word


class NameFields(Schema):
    """A legal name."""

    given = Text(longest=60, required=True)
    middle = Text(longest=60)
    family = Text(longest=60, required=True)
    suffix = Text(longest=60)


class AddressFields(Schema):
    """An address in the United States, or of a military post office."""

    line1 = Text(longest=100, required=True)
    line2 = Text(longest=100)
    city = Text(longest=100, required=True)
    state = Text(longest=10, required=True)
    postal_code = Text(longest=10, required=True)
    country = Text(longest=10)


class TaxIdFields(Schema):
    """A taxpayer identification number."""

    kind = Word("ssn", "itin", required=True)
    number = Text(longest=11, required=True, load_only=True)


class EmploymentFields(Schema):
    """What the customer does for a living."""

    status = Word(*EMPLOYMENT_STATUSES, required=True)
    occupation = Text(longest=100)
    employer_name = Text(longest=100)
    employer_address = fields.Nested(AddressFields)


class AffiliationsFields(Schema):
    """Ties to brokers, exchanges, listed companies and public office."""

    broker_dealer = Flag(required=True)
    broker_dealer_name = Text(longest=100)
    exchange = Flag(required=True)
    exchange_name = Text(longest=100)
    control_person = Flag(required=True)
    control_companies = fields.List(Text(longest=100))
    politically_exposed = Flag(required=True)
    family_exposed = Flag(required=True)


class TrustedContactFields(Schema):
    """Whom we may ask when we worry; `declined` alone is an answer too."""

    declined = Flag()
    name = Text(longest=100)
    relationship = Text(longest=50)
    phone = Text(longest=25)
    email = Text(longest=254)
    is_adult = Flag()


class _Shared(Schema):
    """What is sent and shown alike."""

    name = fields.Nested(NameFields, required=True)
    address = fields.Nested(AddressFields, required=True)
    address_kind = Word(*ADDRESS_KINDS)
    mailing_address = fields.Nested(AddressFields)
    citizenship = Text(longest=2, required=True)
    residency = Word(*RESIDENCIES, required=True)
    tax_residence = Text(longest=2, required=True)
    phone = Text(longest=25, required=True)
    employment = fields.Nested(EmploymentFields, required=True)
    affiliations = fields.Nested(AffiliationsFields, required=True)
    trusted_contact = fields.Nested(TrustedContactFields, required=True)


class ProfileRequest(_Shared):
    """Who the customer is, as the rules ask."""

    birth_date = Day(required=True, load_only=True)
    tax_id = fields.Nested(TaxIdFields, required=True, load_only=True)


class ProfileReply(_Shared):
    """A profile as its owner sees it; that there is a tax id and a birth date, not which."""

    has_tax_id = fields.Boolean(required=True)
    has_birth_date = fields.Boolean(required=True)
