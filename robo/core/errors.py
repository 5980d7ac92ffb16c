"""The tree of errors: stable codes, no HTTP inside.

```
RoboError
├── InvalidInputError              malformed: the caller can mend it
├── AuthenticationError            who are you?
├── PermissionDeniedError          we know who you are; this is not yours to do
├── NotFoundError
├── ConflictError
│   └── IdempotencyMismatchError   same key, different request
├── RateLimitedError
├── RefusedError                   well formed, but the business says no
│   ├── InsufficientFundsError · BelowMinimumError · UnsuitableError
│   └── RestrictedError · OutOfOrderError · MinorError
├── BrokerError
│   ├── BrokerUnavailableError     outcome unknown: ask again with the same id
│   └── BrokerRejectedError        outcome known: never retry
├── ConfigError                    the process cannot start like this
└── BrokenInvariantError           our books are wrong: stop and page someone
```
"""

from collections.abc import Mapping, Sequence


class RoboError(Exception):
    """Base of every error we raise on purpose; `code` is stable and machine-readable."""

    code = "error"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        fields: Mapping[str, Sequence[str]] | None = None,
        reasons: Sequence[str] = (),
    ) -> None:
        """Keep a sentence for people, a code for programs, and which fields or rules are at fault.

        Args:
            detail: One plain sentence. Never contains personal data.
            code: A more specific stable code than the class's own.
            fields: Field path -> what is wrong with it.
            reasons: Stable reason codes, when several rules say no at once.
        """
        super().__init__(detail)
        self.detail = detail
        if code is not None:
            self.code = code
        self.fields = {name: list(messages) for name, messages in (fields or {}).items()}
        self.reasons = tuple(reasons)


class InvalidInputError(RoboError):
    """The request is malformed; the caller can mend it."""

    code = "invalid_input"


class AuthenticationError(RoboError):
    """The caller is unknown, or the credential is expired or revoked."""

    code = "unauthenticated"


class PermissionDeniedError(RoboError):
    """The caller is known, but this action is outside what it may do."""

    code = "forbidden"


class NotFoundError(RoboError):
    """The thing does not exist, or is not the caller's to see; the two look alike on purpose."""

    code = "not_found"


class ConflictError(RoboError):
    """The request contradicts the present state."""

    code = "conflict"


class IdempotencyMismatchError(ConflictError):
    """The same idempotency key came with a different request."""

    code = "idempotency_mismatch"


class RateLimitedError(RoboError):
    """Too many requests; `retry_after_seconds` says when to come back."""

    code = "rate_limited"

    def __init__(self, detail: str, *, retry_after_seconds: int) -> None:
        """Say when to come back."""
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class RefusedError(RoboError):
    """The request is well formed, but the business says no."""

    code = "refused"


class InsufficientFundsError(RefusedError):
    """There is less free money than asked for."""

    code = "insufficient_funds"


class BelowMinimumError(RefusedError):
    """The amount is below what we, or the broker, accept."""

    code = "below_minimum"


class UnsuitableError(RefusedError):
    """The customer's answers do not support this; `reasons` lists the rules."""

    code = "unsuitable"


class RestrictedError(RefusedError):
    """A restriction of the customer, the firm or the law forbids it."""

    code = "restricted"


class OutOfOrderError(RefusedError):
    """A step of onboarding was skipped; `reasons` lists what comes first."""

    code = "step_missing"


class MinorError(RefusedError):
    """The person is below the age at which they may contract where they live."""

    code = "minor"


class BrokerError(RoboError):
    """Something between us and the broker."""

    code = "broker_error"


class BrokerUnavailableError(BrokerError):
    """The outcome is unknown: ask again with the same id."""

    code = "broker_unavailable"


class BrokerRejectedError(BrokerError):
    """The outcome is known and negative: never retry."""

    code = "broker_rejected"


class ConfigError(RoboError):
    """The process cannot start with this configuration; lists every problem at once."""

    code = "config"


class BrokenInvariantError(RoboError):
    """Our own books are wrong: stop and page someone."""

    code = "broken_invariant"
