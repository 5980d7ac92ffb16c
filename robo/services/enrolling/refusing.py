"""Refusals of the onboarding and baskets rooms in our own words: the same codes, our tree."""

from collections.abc import Iterator
from contextlib import contextmanager

from baskets.errors import BasketsError
from onboarding import errors as theirs
from robo.core.errors import (
    ConflictError,
    InvalidInputError,
    MinorError,
    NotFoundError,
    OutOfOrderError,
    RoboError,
)


@contextmanager
def translated() -> Iterator[None]:
    """Raise what the pure rooms refuse as our own errors; codes, fields and reasons are kept."""
    try:
        yield
    except theirs.OnboardingError as error:
        raise _ours(error) from error
    except BasketsError as error:
        if error.code == "no_such_basket":
            message = "There is no such basket on offer."
            raise NotFoundError(message, code="no_such_basket") from error
        raise


def _ours(error: theirs.OnboardingError) -> RoboError:
    first = error.reasons[0] if error.reasons else error.code
    match error:
        case theirs.MinorError():
            return MinorError(error.detail, reasons=error.reasons)
        case theirs.StepMissingError():
            return OutOfOrderError(error.detail, reasons=error.reasons)
        case theirs.AgreementError() if first == "agreement_out_of_order":
            return OutOfOrderError(error.detail, reasons=error.reasons[1:])
        case theirs.AgreementError() if first == "agreement_unknown":
            return NotFoundError(error.detail, code=first)
        case theirs.AgreementError() | theirs.ConsentError():
            return ConflictError(error.detail, code=first, reasons=error.reasons)
        case _:
            return InvalidInputError(
                error.detail, code=error.code, fields=error.fields, reasons=error.reasons
            )
