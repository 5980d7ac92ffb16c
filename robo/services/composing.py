"""An index of a customer's own, which an account follows in the place of ours: names and weights.

Weights are the customer's word and stay as given; what may not be held gives its share to the
rest. It is checked where it is asked for, and kept as canonical JSON.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import numpy as np

from baskets.index import large_cap
from robo.core.errors import InvalidInputError
from robo.core.money import PPM
from robo.core.policy import Policy
from robo.portfolio.problem import FloatArray
from robo.services.modelling import Model
from robo.store.direct import OURS

_NAMED_MAX: Final = 5
"""How many names a refusal spells out."""


def require(model: Model, policy: Policy, weights_ppm: Mapping[int, int] | None) -> None:
    """Refuse an index that cannot be followed.

    Args:
        model: The day's: what it does not know cannot be weighed.
        policy: Its bounds.
        weights_ppm: Security -> weight; empty for our index, None for no change.

    Raises:
        InvalidInputError: If the weights do not sum to the whole, one is too large
            (`own_index_weights`), names are too few (`own_index_too_narrow`), or one is neither in
            our index, nor in a basket, nor held by anybody (`own_index_name_unknown`).
    """
    fault = _fault(model, policy, weights_ppm) if weights_ppm else None
    if fault is not None:
        code, message = fault
        raise InvalidInputError(message, code=code, fields={"index": [message]})


def _fault(model: Model, policy: Policy, weights_ppm: Mapping[int, int]) -> tuple[str, str] | None:
    """Return the code and the sentence of what is wrong with an index; None if nothing is."""
    least, most = policy.own_index_names_min, policy.own_index_name_ppm_max
    if sum(weights_ppm.values()) != PPM or min(weights_ppm.values()) < 1:
        return "own_index_weights", f"The weights must be above 0 and sum to {PPM}."
    if len(weights_ppm) < least:
        return "own_index_too_narrow", f"An index needs {least} names or more."
    if max(weights_ppm.values()) > most:
        return "own_index_weights", f"No name of an index may weigh more than {most} ppm."
    ids = sorted(weights_ppm)
    known = zip(ids, model.columns(ids).tolist(), strict=True)
    unknown = [str(one) for one, column in known if column < 0]
    if unknown:
        some = ", ".join(unknown[:_NAMED_MAX])
        said = f"Our risk model does not know the securities {some}: leave them out."
        return "own_index_name_unknown", said
    return None


def text(weights_ppm: Mapping[int, int] | None) -> str:
    """Return an index as it is kept: canonical JSON, the same for equal indexes; ours for none."""
    weights_ppm = weights_ppm or {}
    ordered = {str(one): weights_ppm[one] for one in sorted(weights_ppm)}
    return json.dumps(ordered, separators=(",", ":"))


@lru_cache(maxsize=1_000)
def read(kept: str) -> tuple[tuple[int, int], ...]:
    """Return (security, ppm) of an index as it is kept; empty for ours."""
    found: dict[str, int] = json.loads(kept)
    return tuple((int(one), ppm) for one, ppm in found.items())


@lru_cache(maxsize=1_000)
def names(kept: str) -> frozenset[int]:
    """Return the securities of an index as it is kept; of ours for none."""
    return frozenset(large_cap().weights_ppm if kept == OURS else (one for one, _ in read(kept)))


def weights(model: Model, kept: str) -> FloatArray:
    """Return the weights of an index as it is kept, shape (N,), summing to 1.

    Ours where there is none, or where nothing is left of it that the model knows.
    """
    if kept == OURS:
        return model.index
    own = np.zeros(model.index.size)
    rows = read(kept)
    columns = model.columns([security_id for security_id, _ in rows])
    for column, (_, ppm) in zip(columns.tolist(), rows, strict=True):
        if column >= 0:
            own[column] = ppm
    total = float(own.sum())
    return np.asarray(own / total) if total > 0 else model.index
