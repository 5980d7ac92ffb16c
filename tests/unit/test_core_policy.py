"""Policy and reasons: every number has its reason, every code its sentence."""

import ast
import inspect
import itertools
from dataclasses import FrozenInstanceError, fields, replace

import pytest

from robo.core import errors, policy
from robo.core.policy import Policy
from robo.core.reasons import SENTENCES, Reason, shown


def test_every_number_of_the_policy_says_why() -> None:
    (body,) = [
        node.body
        for node in ast.parse(inspect.getsource(policy)).body
        if isinstance(node, ast.ClassDef)
    ]
    told = [
        line.target.id
        for line, after in itertools.pairwise(body)
        if isinstance(line, ast.AnnAssign)
        and isinstance(line.target, ast.Name)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
        and len(str(after.value.value)) > 15
    ]

    assert told == [field.name for field in fields(Policy)]


def test_a_firm_replaces_the_value_and_cannot_change_ours() -> None:
    house = Policy.default()
    firm = replace(house, deposit_cents_min=500)

    with pytest.raises(FrozenInstanceError):
        house.deposit_cents_min = 1  # type: ignore[misc] # that is the test
    assert (Policy.default().deposit_cents_min, firm.deposit_cents_min) == (100, 500)


def test_the_numbers_are_whole_positive_and_fit_each_other() -> None:
    p = Policy.default()

    numbers = [getattr(p, f.name) for f in fields(p) if f.name != "ladders"]  # that is a table
    assert all(type(number) is int and number >= 0 for number in numbers)
    assert p.order_notional_cents_min <= p.deposit_cents_min
    assert p.deposit_cents_min <= p.deposit_cents_max <= p.deposit_daily_cents_max
    assert p.password_length_min_mfa <= p.password_length_min <= p.password_length_max
    assert p.refresh_token_days <= p.refresh_family_days_max


def test_every_reason_has_one_sentence_for_the_customer() -> None:
    assert set(SENTENCES) == set(Reason)
    # What is shown as one code has one sentence; any other has its own.
    assert len(set(SENTENCES.values())) == len({shown(reason) for reason in Reason})
    for sentence in SENTENCES.values():
        assert sentence.endswith(".")
        assert sentence[0].isupper()


def test_every_error_has_a_code_of_its_own() -> None:
    kinds = [
        kind
        for kind in vars(errors).values()
        if inspect.isclass(kind) and issubclass(kind, errors.RoboError)
    ]

    assert len({kind.code for kind in kinds}) == len(kinds)


def test_an_errors_own_code_does_not_change_its_class() -> None:
    special = errors.RefusedError("no", code="very_special", fields={"a": ("b",)}, reasons=("r",))

    assert (special.code, errors.RefusedError.code) == ("very_special", "refused")
    assert special.fields == {"a": ["b"]}
    assert special.reasons == ("r",)
