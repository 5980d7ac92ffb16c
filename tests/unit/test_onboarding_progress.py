"""The state machine: resumable at every step, and none can be skipped."""

from dataclasses import replace
from itertools import product

import pytest

from onboarding.errors import StepMissingError
from onboarding.progress import (
    REPEATABLE,
    REQUIRES,
    Facts,
    Step,
    missing_before,
    next_steps,
    require,
)

MAIN_ROAD = (
    Step.SIGN_UP,
    Step.FORM_CRS,
    Step.PROFILE,
    Step.ANSWERS,
    Step.SUITABILITY,
    Step.AGREEMENTS,
    Step.ACCOUNT,
    Step.IDENTITY,
    Step.BANK_LINK,
    Step.DEPOSIT,
)


def facts_after(*steps: Step) -> Facts:
    return Facts(**{step.value: True for step in steps})


def test_a_stranger_can_only_sign_up():
    assert next_steps(Facts()) == (Step.SIGN_UP,)


def test_the_main_road_is_open_step_by_step():
    for place, step in enumerate(MAIN_ROAD):
        facts = facts_after(*MAIN_ROAD[:place])

        assert step in next_steps(facts)
        require(step, facts)


@pytest.mark.parametrize("step", [step for step in Step if step is not Step.SIGN_UP])
def test_no_step_can_be_taken_from_nothing_and_the_refusal_lists_what_comes_first(step):
    with pytest.raises(StepMissingError) as refusal:
        require(step, Facts())

    assert refusal.value.code == "step_missing"
    assert refusal.value.reasons == tuple(s.value for s in missing_before(step, Facts()))
    assert set(REQUIRES[step]) <= set(missing_before(step, Facts()))


def test_agreements_come_before_the_account_and_identity_before_the_deposit():
    done = set(MAIN_ROAD)

    no_agreements = facts_after(*done - {Step.AGREEMENTS, Step.ACCOUNT, Step.DEPOSIT})
    no_identity = facts_after(*done - {Step.IDENTITY, Step.DEPOSIT})

    assert missing_before(Step.ACCOUNT, no_agreements) == (Step.AGREEMENTS,)
    assert missing_before(Step.DEPOSIT, no_identity) == (Step.IDENTITY,)


def test_form_crs_comes_before_everything_but_the_sign_up():
    signed_up = facts_after(Step.SIGN_UP)

    assert next_steps(signed_up) == (Step.FORM_CRS, Step.EMAIL)


def test_a_new_version_of_an_agreement_asks_again_and_holds_back_deposits_only():
    customer = facts_after(*(set(Step) - {Step.AGREEMENTS}))

    assert next_steps(customer) == (Step.AGREEMENTS, Step.WITHDRAWAL)
    assert missing_before(Step.DEPOSIT, customer) == (Step.AGREEMENTS,)


def test_answers_that_no_longer_suit_hold_back_deposits_but_never_withdrawals():
    customer = facts_after(*(set(Step) - {Step.SUITABILITY}))

    assert missing_before(Step.DEPOSIT, customer) == (Step.SUITABILITY,)
    assert missing_before(Step.WITHDRAWAL, customer) == ()


def test_the_first_withdrawal_waits_for_the_email():
    customer = facts_after(*MAIN_ROAD)

    assert missing_before(Step.WITHDRAWAL, customer) == (Step.EMAIL,)


def test_a_finished_customer_can_deposit_and_withdraw_again():
    assert next_steps(facts_after(*Step)) == (Step.DEPOSIT, Step.WITHDRAWAL)


def test_from_any_state_walking_the_offered_steps_leads_to_a_deposit():
    for bits in product([False, True], repeat=len(Step)):
        facts = Facts(**{step.value: bit for step, bit in zip(Step, bits, strict=True)})

        for _ in Step:
            offered = next_steps(facts)
            for step in offered:
                require(step, facts)
            facts = replace(facts, **{step.value: True for step in offered})

        assert all(facts.holds(step) for step in Step)
        assert set(next_steps(facts)) == REPEATABLE
