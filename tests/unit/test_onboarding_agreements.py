"""Agreements: Form CRS first, the text pinned, a new version asks again, consent demonstrated."""

import hashlib
from datetime import UTC, date, datetime
from importlib.resources import files

import pytest

from onboarding.agreements import (
    Accepted,
    Agreement,
    acceptable,
    load_agreements,
    missing,
    read_agreements,
    required_agreements,
)
from onboarding.edelivery import ConsentState, EDelivery
from onboarding.errors import AgreementError, ConsentError

TODAY = date(2026, 6, 1)
NOON = datetime(2026, 6, 1, 16, tzinfo=UTC)
LATER = datetime(2026, 6, 2, 16, tzinfo=UTC)


def document(
    name: str, version: int = 1, *, order: int = 2, on: str = "2026-01-01",
    action: str = "accept", requires: str = "form_crs", kinds: str = "individual",
) -> tuple[str, bytes]:  # fmt: skip
    head = (
        f"---\nid: {name}\nversion: {version}\ntitle: T\neffective_on: {on}\norder: {order}\n"
        f"action: {action}\nkinds: {kinds}\nrequires: {requires}\n---\nText {version}\n"
    )
    return f"{name}.{version}.md", head.encode()


CRS = document("form_crs", order=1, action="deliver", requires="")


def test_form_crs_is_the_first_of_our_documents():
    asked = required_agreements("individual", TODAY)

    assert asked[0].id == "form_crs"
    assert asked[0].action == "deliver"
    assert {a.id for a in asked} == {
        "form_crs", "e_delivery", "privacy_notice", "advisory_agreement", "account_agreement",
        "risk_disclosure",
    }  # fmt: skip
    assert all("form_crs" in a.requires for a in asked[1:])


def test_our_texts_say_that_they_are_templates_and_form_crs_fits_two_pages():
    for agreement in load_agreements():
        assert "Template text for a firm's counsel to replace" in agreement.text
    crs = next(a for a in load_agreements() if a.id == "form_crs")
    # About 500 words fill a page in an ordinary font.
    assert len(crs.text.split()) < 1000


def test_the_consent_states_what_the_law_wants_stated():
    text = next(a for a in load_agreements() if a.id == "e_delivery").text.lower()

    for topic in ("right to paper", "what this consent covers", "how to withdraw", "costs nothing",
                  "e-mail address current", "what you need", "requirements change"):  # fmt: skip
        assert topic in text


def test_the_hash_is_that_of_the_file():
    folder = files("onboarding").joinpath("data/agreements")

    for agreement in load_agreements():
        blob = folder.joinpath(f"{agreement.id}.{agreement.version}.md").read_bytes()
        assert agreement.sha256 == hashlib.sha256(blob).hexdigest()


def test_accepting_everything_in_order_leaves_nothing_missing():
    accepted: list[Accepted] = []

    for agreement in required_agreements("individual", TODAY):
        found = acceptable(agreement.id, agreement.version, agreement.sha256, accepted, TODAY)
        accepted.append(Accepted(found.id, found.version))

    assert missing(accepted, TODAY) == ()


def refused(agreement: Agreement, accepted: list[Accepted], **changes: object) -> tuple[str, ...]:
    values = {"id": agreement.id, "version": agreement.version, "sha256": agreement.sha256}
    values.update(changes)
    with pytest.raises(AgreementError) as refusal:
        acceptable(values["id"], values["version"], values["sha256"], accepted, TODAY)
    assert refusal.value.code == "agreement_refused"
    return refusal.value.reasons


def test_an_acceptance_out_of_order_is_refused_with_what_comes_first():
    account = next(a for a in load_agreements() if a.id == "account_agreement")

    assert refused(account, []) == (
        "agreement_out_of_order",
        "form_crs",
        "advisory_agreement",
    )
    assert refused(account, [Accepted("form_crs", 1)]) == (
        "agreement_out_of_order",
        "advisory_agreement",
    )


def test_an_acceptance_of_another_text_version_or_document_is_refused():
    crs = load_agreements()[0]
    crs = next(a for a in load_agreements() if a.id == "form_crs")

    assert refused(crs, [], sha256="0" * 64) == ("agreement_text_changed",)
    assert refused(crs, [], version=2) == ("agreement_version_changed",)
    assert refused(crs, [], id="nda") == ("agreement_unknown",)


def test_a_new_version_asks_again_from_the_day_it_is_in_force():
    catalog = read_agreements([CRS, document("terms"), document("terms", 2, on="2026-07-01")])
    accepted = [Accepted("form_crs", 1), Accepted("terms", 1)]

    before = missing(accepted, date(2026, 6, 30), catalog=catalog)
    after = missing(accepted, date(2026, 7, 1), catalog=catalog)

    assert before == ()
    assert [(a.id, a.version) for a in after] == [("terms", 2)]
    assert missing([*accepted, Accepted("terms", 2)], date(2026, 7, 1), catalog=catalog) == ()


def test_only_documents_of_the_account_kind_are_asked():
    catalog = read_agreements([CRS, document("ira_terms", kinds="roth_ira")])

    assert [a.id for a in required_agreements("individual", TODAY, catalog=catalog)] == ["form_crs"]


def test_who_wants_paper_is_not_asked_for_consent_to_e_delivery():
    everything = {a.id for a in required_agreements("individual", TODAY)}
    on_paper = {a.id for a in required_agreements("individual", TODAY, paper=True)}

    assert everything - on_paper == {"e_delivery"}


@pytest.mark.parametrize(
    "blobs",
    [
        [],
        [document("terms", requires="")],
        [CRS, CRS],
        [CRS, document("terms", requires="nothing")],
        [CRS, document("terms", order=1)],
        [CRS, ("x.md", b"no front matter")],
        [CRS, document("terms", action="sign")],
    ],
)
def test_a_set_of_documents_that_cannot_work_is_refused_at_load(blobs):
    with pytest.raises(ValueError, match="agreements:"):
        read_agreements(blobs)


def test_consent_is_complete_only_once_the_document_was_opened():
    asked = EDelivery().request(1, NOON)
    shown = asked.demonstrate(1, LATER)

    assert not EDelivery().covers(1)
    assert not asked.covers(1)
    assert shown.covers(1)
    assert (shown.requested_at, shown.demonstrated_at) == (NOON, LATER)


def test_opening_twice_and_withdrawing_twice_change_nothing():
    shown = EDelivery().request(1, NOON).demonstrate(1, NOON)
    withdrawn = shown.withdraw(NOON)

    assert shown.demonstrate(1, LATER) == shown
    assert withdrawn.withdraw(LATER) == withdrawn
    assert withdrawn.state is ConsentState.WITHDRAWN
    assert not withdrawn.covers(1)


def test_consent_can_be_given_again_after_it_was_withdrawn_but_must_be_shown_again():
    again = EDelivery().request(1, NOON).demonstrate(1, NOON).withdraw(NOON).request(1, LATER)

    assert not again.covers(1)
    assert again.demonstrate(1, LATER).covers(1)


def test_a_new_version_of_the_consent_asks_again():
    assert not EDelivery().request(1, NOON).demonstrate(1, NOON).covers(2)


@pytest.mark.parametrize(
    "step",
    [
        lambda: EDelivery().demonstrate(1, NOON),
        lambda: EDelivery().request(1, NOON).demonstrate(2, NOON),
        lambda: EDelivery().request(1, NOON).withdraw(NOON).demonstrate(1, NOON),
        lambda: EDelivery().withdraw(NOON),
    ],
)
def test_steps_of_consent_cannot_be_skipped(step):
    with pytest.raises(ConsentError) as refusal:
        step()

    assert refusal.value.code == "consent_out_of_order"
