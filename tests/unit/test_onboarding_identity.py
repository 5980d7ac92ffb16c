"""Identity: CIP and 4512 fields, numbers never issued, boxes, minors, and nothing leaked."""

import copy
import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onboarding.ages import age_on, contract_age, require_contract_age
from onboarding.errors import InvalidProfileError, MinorError
from onboarding.identity import Profile, TaxId, parse_profile
from onboarding.identity_check import (
    SENTENCES,
    IdentityReason,
    ListedPerson,
    LocalIdentityCheck,
    Outcome,
    screening_lists,
)
from onboarding.postal import STATES, TERRITORIES, is_po_box
from onboarding.tax_ids import was_never_issued

EXAMPLE = json.loads((Path(__file__).parents[2] / "docs/examples/profile.json").read_text())
TODAY = date(2026, 6, 1)


def form_with(**changes: Any) -> dict[str, Any]:
    """The example with changes by path, such as `address__line1`; None removes the field."""
    form = copy.deepcopy(EXAMPLE)
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = form
        for parent in parents:
            place = place[parent]
        if value is None:
            place.pop(last, None)
        else:
            place[last] = value
    return form


def profile(**changes: Any) -> Profile:
    return parse_profile(form_with(**changes), on=TODAY)


def faults(raw: Any = None, **changes: Any) -> dict[str, tuple[str, ...]]:
    with pytest.raises(InvalidProfileError) as refusal:
        parse_profile(form_with(**changes) if raw is None else raw, on=TODAY)
    assert refusal.value.code == "invalid_profile"
    return refusal.value.fields


def check(**changes: Any) -> tuple[Outcome, tuple[IdentityReason, ...]]:
    result = LocalIdentityCheck().check(profile(**changes), TODAY)
    return result.outcome, result.reasons


def test_the_example_of_the_documentation_is_accepted():
    assert check() == (Outcome.ACCEPT, ())


def test_an_empty_form_lists_every_required_field():
    assert set(faults({})) == {
        "name", "birth_date", "address", "tax_id", "citizenship", "residency", "tax_residence",
        "phone", "employment", "affiliations", "trusted_contact",
    }  # fmt: skip


def test_faults_deep_inside_are_reported_by_path_and_together():
    found = faults(
        name__given="R2D2", address__state="XX", employment__occupation=None, tax_id__number="12"
    )

    assert set(found) == {
        "name.given", "address.state", "employment.occupation", "tax_id.number",
    }  # fmt: skip


def test_a_profile_shows_neither_tax_id_nor_birth_date_in_its_representation():
    text = repr(profile())

    assert "536228726" not in text
    assert "8726" not in text
    assert "2001" not in text


def test_a_fault_never_repeats_what_was_typed():
    found = faults(tax_id__number="536-22-87265", birth_date="14.03.2001", phone="secret")

    assert "87265" not in str(found)
    assert "14.03" not in str(found)
    assert "secret" not in str(found)


def test_a_profile_survives_storage():
    original = profile(
        mailing_address={
            "line1": "PO Box 9",
            "city": "Reno",
            "state": "NV",
            "postal_code": "89501",
        },
        affiliations__control_person=True,
        affiliations__control_companies=["Acme Corp", "XYZ"],
        trusted_contact={"declined": True},
    )

    assert parse_profile(json.loads(json.dumps(original.to_raw())), on=TODAY) == original


@pytest.mark.parametrize(
    "line",
    ["PO Box 12", "P.O. Box 12", "p o box 12", "P. O. Bx 7", "POB 44", "Post Office Box 1",
     "Box 99", "PO-Box 5",
     "\uff30.\uff2f. \uff22\uff4f\uff58 5", "General Delivery", "12 Oak St PMB 4", "postal box 3",
     "Apt 3, PO BOX 7", "P/O Box 8", "POBOX 81"],
)  # fmt: skip
def test_a_post_office_box_is_no_street(line):
    assert is_po_box(line)
    assert "address.line1" in faults(address__line1=line)


@pytest.mark.parametrize(
    "line", ["12 Boxwood Lane", "4 Poplar St", "RR 2 Box 15", "HC 68 Box 23A", "1 Post Rd",
             "9 Pobst Ave", "77 Mailbox Peak Rd"]
)  # fmt: skip
def test_streets_and_rural_routes_that_look_like_boxes_pass(line):
    assert not is_po_box(line)
    assert profile(address__line1=line).address.line1 == line


def test_military_post_offices_are_addresses():
    found = profile(
        address={"line1": "PSC 3 Box 1234", "city": "APO", "state": "AE", "postal_code": "09021"}
    )

    assert found.address_kind == "military"
    assert check(address={"line1": "Unit 2050 Box 4190", "city": "FPO", "state": "AP",
                          "postal_code": "96278"})[0] is Outcome.ACCEPT  # fmt: skip


def test_military_city_and_state_go_together():
    assert "address.state" in faults(address__city="APO")
    assert "address.state" in faults(address__state="AE")
    assert "address_kind" in faults(address_kind="military")


def test_addresses_are_in_the_united_states():
    assert "address.country" in faults(address__country="CA")
    assert profile(address__state="PR", address__postal_code="00901").address.state == "PR"


@pytest.mark.parametrize(
    ("kind", "digits", "never"),
    [
        ("ssn", "000123456", True), ("ssn", "666123456", True), ("ssn", "900123456", True),
        ("ssn", "999123456", True), ("ssn", "123004567", True), ("ssn", "123450000", True),
        ("ssn", "001010001", False), ("ssn", "899999999", False), ("ssn", "665010001", False),
        ("ssn", "772010001", False),  # issued since randomisation
        ("itin", "900490001", True), ("itin", "900500001", False), ("itin", "999660001", True),
        ("itin", "912890001", True), ("itin", "912930001", True), ("itin", "912940001", False),
        ("itin", "899500001", True),
        ("ein", "070000001", True), ("ein", "120000001", False), ("ein", "970000001", True),
        ("ssn", "12345678", True), ("ssn", "٣٣٣٣٣٣٣٣٣", True),
    ],
)  # fmt: skip
def test_ranges_that_were_never_issued_are_known(kind, digits, never):
    assert was_never_issued(kind, digits) is never


def test_a_number_never_issued_is_rejected():
    assert check(tax_id__number="666-12-3456") == (
        Outcome.REJECT,
        (IdentityReason.TAX_ID_NEVER_ISSUED,),
    )


def test_a_number_from_printed_examples_is_rejected_and_a_typed_sequence_is_reviewed():
    assert check(tax_id__number="078-05-1120")[1] == (IdentityReason.TAX_ID_VOID,)
    assert check(tax_id__number="123456789") == (
        Outcome.REVIEW,
        (IdentityReason.TAX_ID_PLACEHOLDER,),
    )


def test_a_person_needs_an_ssn_or_itin_of_the_right_kind():
    assert "tax_id.kind" in faults(tax_id__kind="ein", tax_id__number="12-3456789")
    assert "tax_id.kind" in faults(tax_id__kind="itin", tax_id__number="912-70-1234")
    holder = {"citizenship": "MX", "residency": "visa", "tax_id__kind": "itin"}
    assert check(**holder, tax_id__number="912-70-1234") == (
        Outcome.REVIEW,
        (IdentityReason.VISA_HOLDER,),
    )


def test_residency_fits_citizenship_and_is_in_the_united_states():
    assert "residency" in faults(citizenship="CA")
    assert "residency" in faults(residency="permanent_resident")
    assert "residency" in faults(citizenship="CA", residency="non_resident")
    assert check(citizenship="CA", residency="permanent_resident")[0] is Outcome.ACCEPT


def test_names_are_letters_of_any_script():
    for name in ("Nguyễn", "O'Brien", "María-José", "St. John", "李", "Ó’Néill"):  # noqa: RUF001  # typographic apostrophe
        assert profile(name__family=name).name.family

    for name in ("Robert'); DROP", "<b>", "=1+1", "-", "a\x00b", "x" * 61, "", 7, ["A"]):
        assert "name.family" in faults(name__family=name)


def test_birth_dates_are_real_past_and_possible():
    for bad in ("2026-06-01", "2027-01-01", "1905-01-01", "2001-02-29", "20010314", 20010314):
        assert "birth_date" in faults(birth_date=bad)

    assert check(birth_date="1920-01-01") == (Outcome.REVIEW, (IdentityReason.AGE_UNUSUAL,))


def test_work_needs_employer_and_occupation_and_no_work_needs_none():
    assert set(faults(employment={"status": "self_employed"})) == {
        "employment.occupation", "employment.employer_name", "employment.employer_address",
    }  # fmt: skip
    assert "employment.employer_name" in faults(employment__status="retired")
    assert profile(employment={"status": "student"}).employment.status == "student"


def test_an_affiliation_needs_its_name_and_a_name_needs_its_affiliation():
    assert "affiliations.broker_dealer_name" in faults(affiliations__broker_dealer=True)
    assert "affiliations.exchange_name" in faults(affiliations__exchange=True)
    assert "affiliations.control_companies" in faults(affiliations__control_person=True)
    assert "affiliations.exchange_name" in faults(affiliations__exchange_name="Some Exchange")
    assert "affiliations.politically_exposed" in faults(affiliations__politically_exposed=None)


def test_ties_ask_a_person_to_look():
    assert check(affiliations__broker_dealer=True, affiliations__broker_dealer_name="B LLC") == (
        Outcome.REVIEW,
        (IdentityReason.MEMBER_AFFILIATION,),
    )
    assert check(affiliations__family_exposed=True)[1] == (IdentityReason.POLITICALLY_EXPOSED,)
    assert check(tax_residence="GB")[1] == (IdentityReason.FOREIGN_TAX_RESIDENCE,)
    assert check(address_kind="next_of_kin")[1] == (IdentityReason.ADDRESS_NOT_OWN,)


def test_a_trusted_contact_is_an_adult_who_can_be_reached_or_is_declined():
    assert "trusted_contact.is_adult" in faults(trusted_contact__is_adult=False)
    assert "trusted_contact.is_adult" in faults(trusted_contact__is_adult=None)
    assert "trusted_contact.phone" in faults(trusted_contact__phone=None)
    assert "trusted_contact.name" in faults(trusted_contact__declined=True)
    assert profile(trusted_contact={"declined": True}).trusted_contact is None
    assert profile(trusted_contact__phone=None, trusted_contact__email="i@example.org")


def test_telephone_numbers_are_kept_in_one_form():
    assert profile(phone="(916) 555-0142").phone == "+19165550142"
    assert profile(phone="+44 20 7946 0958").phone == "+442079460958"
    for bad in ("555-0142", "+1 916 555 01422222222", "call me", "9165550142x1"):
        assert "phone" in faults(phone=bad)


def test_names_typed_to_try_the_form_are_reviewed():
    assert check(name={"given": "JOHN", "family": "Doe"}) == (
        Outcome.REVIEW,
        (IdentityReason.NAME_PLACEHOLDER,),
    )


def test_a_listed_name_is_reviewed_and_with_the_birth_year_rejected():
    listed = ListedPerson("Anna-Zoë Vrbová", 1990, "T-1")
    gate = LocalIdentityCheck(screening_lists("t", listed=[listed]))
    name = {"given": "Vrbova", "family": "Zoe Anna"}

    same_year = gate.check(profile(name=name, birth_date="1990-05-05"), TODAY)
    other_year = gate.check(profile(name=name, birth_date="1991-05-05"), TODAY)
    nobody = gate.check(profile(), TODAY)

    assert (same_year.outcome, same_year.reasons) == (
        Outcome.REJECT,
        (IdentityReason.LISTED_PERSON,),
    )
    assert (other_year.outcome, other_year.reasons) == (
        Outcome.REVIEW,
        (IdentityReason.LISTED_NAME,),
    )
    assert nobody.list_version == "t"
    assert nobody.outcome is Outcome.ACCEPT


def test_a_box_that_slipped_into_a_stored_profile_is_rejected():
    stored = profile()
    boxed = replace(stored, address=replace(stored.address, line1="PO Box 1"))

    assert LocalIdentityCheck().check(boxed, TODAY).outcome is Outcome.REJECT


def test_every_reason_has_a_sentence():
    assert set(SENTENCES) == set(IdentityReason)


def test_ages_count_full_years():
    assert age_on(date(2008, 6, 2), date(2026, 6, 1)) == 17
    assert age_on(date(2008, 6, 1), date(2026, 6, 1)) == 18
    assert age_on(date(2008, 2, 29), date(2026, 2, 28)) == 17
    assert age_on(date(2008, 2, 29), date(2026, 3, 1)) == 18


def test_contract_ages_are_18_except_in_four_places():
    ages = {state: contract_age(state, TODAY).age for state in STATES | TERRITORIES}

    assert {state: age for state, age in ages.items() if age != 18} == {
        "AL": 19, "NE": 19, "MS": 21, "PR": 21,
    }  # fmt: skip
    assert contract_age("AL", date(1975, 7, 21)).age == 18  # the table is dated
    assert contract_age("AE", TODAY).age == 18


@pytest.mark.parametrize(
    ("state", "birth", "refused"),
    [("CA", date(2008, 6, 1), False), ("CA", date(2008, 6, 2), True),
     ("AL", date(2007, 6, 2), True), ("NE", date(2007, 6, 1), False),
     ("MS", date(2005, 6, 2), True), ("MS", date(2005, 6, 1), False)],
)  # fmt: skip
def test_minors_are_refused_on_the_day_before_they_may_contract(state, birth, refused):
    if not refused:
        require_contract_age(birth, state, TODAY)
        return

    with pytest.raises(MinorError) as refusal:
        require_contract_age(birth, state, TODAY)

    assert refusal.value.reasons == ("under_contract_age", "custodial_utma")
    assert "custodian" in refusal.value.detail


def test_the_custodial_rule_is_the_states_own():
    with pytest.raises(MinorError) as refusal:
        require_contract_age(date(2015, 1, 1), "SC", TODAY)

    assert refusal.value.reasons == ("under_contract_age", "custodial_ugma")
    assert "Gifts to Minors" in refusal.value.detail


def test_a_minor_is_rejected_by_the_check_as_well():
    assert check(birth_date="2010-01-01") == (
        Outcome.REJECT,
        (IdentityReason.UNDER_CONTRACT_AGE,),
    )


def test_a_tax_id_is_masked_for_its_owner():
    assert TaxId("ssn", "536228726").masked == "***-**-8726"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([*EXAMPLE, "address__line1", "name__given", "tax_id__number"]), JSON)
def test_whatever_is_sent_either_parses_or_is_refused(path, value):
    raw = form_with(**{path: value})
    refused: set[str] = set()
    try:
        assert parse_profile(parse_profile(raw, on=TODAY).to_raw(), on=TODAY)
    except InvalidProfileError as refusal:
        refused = set(refusal.fields)

    assert all(name.split(".")[0] == path.split("__")[0] or name == "residency" for name in refused)
