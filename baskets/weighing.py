"""Turns raw strengths into weights that keep the caps and sum to exactly 1,000,000.

Water-filling in exact fractions: everybody gets their share of what is left; who would exceed a
cap is fixed at it, and the rest is shared again. Sectors first, then names within a sector.
"""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

from baskets.basket import Candidate, Method
from baskets.errors import BuildError
from baskets.values import WHOLE_PPM


def strength(candidate: Candidate, method: Method) -> int:
    """Return a candidate's raw weight, tilt included; only ratios matter."""
    if method == "equal":
        return candidate.tilt_ppm
    if method == "sqrt_size":
        return math.isqrt(candidate.size_cents) * candidate.tilt_ppm
    return candidate.size_cents * candidate.tilt_ppm


def weights_ppm(
    candidates: Sequence[Candidate], method: Method, name_ppm_max: int, sector_ppm_max: int
) -> tuple[int, ...]:
    """Return a weight for each candidate, in their order.

    Raises:
        BuildError: If the caps leave no way to reach the whole (code `caps_infeasible`).
    """
    strengths = {row.security_id: strength(row, method) for row in candidates}
    sectors: dict[str, list[int]] = {}
    for row in candidates:
        sectors.setdefault(row.sector, []).append(row.security_id)
    totals = _sector_totals(sectors, strengths, name_ppm_max, sector_ppm_max)
    exact: dict[int, Fraction] = {}
    for sector, members in sectors.items():
        inside = {number: strengths[number] for number in members}
        exact |= _filled(inside, dict.fromkeys(members, Fraction(name_ppm_max)), totals[sector])
    rounded = _rounded(exact, sectors, name_ppm_max, sector_ppm_max)
    return tuple(rounded[row.security_id] for row in candidates)


def _sector_totals(
    sectors: Mapping[str, Sequence[int]],
    strengths: Mapping[int, int],
    name_ppm_max: int,
    sector_ppm_max: int,
) -> dict[str, Fraction]:
    """Return what each sector weighs: sectors over their cap are fixed at it, the rest refilled."""
    fixed: dict[str, Fraction] = {}
    while True:
        free = [number for sector in sectors if sector not in fixed for number in sectors[sector]]
        left = Fraction(WHOLE_PPM) - sum(fixed.values())
        caps = dict.fromkeys(free, Fraction(name_ppm_max))
        filled = _filled({number: strengths[number] for number in free}, caps, left)
        totals = {
            sector: sum((filled[number] for number in members), Fraction(0))
            for sector, members in sectors.items()
            if sector not in fixed
        }
        over = {sector for sector, total in totals.items() if total > sector_ppm_max}
        if not over:
            return fixed | totals
        fixed |= dict.fromkeys(over, Fraction(sector_ppm_max))


def _filled(
    strengths: Mapping[int, int], caps: Mapping[int, Fraction], total: Fraction
) -> dict[int, Fraction]:
    """Return a total shared by strength under caps.

    Raises:
        BuildError: If the caps hold less than the total.
    """
    if sum(caps.values()) < total:
        message = "the caps on names and sectors leave no way to invest everything"
        raise BuildError(message, code="caps_infeasible")
    fixed: dict[int, Fraction] = {}
    while True:
        free = {number: power for number, power in strengths.items() if number not in fixed}
        left = total - sum(fixed.values())
        whole = sum(free.values())
        shares = {number: left * power / whole for number, power in free.items()}
        over = {number for number, share in shares.items() if share > caps[number]}
        if not over:
            return fixed | shares
        fixed |= {number: caps[number] for number in over}


def _rounded(
    exact: Mapping[int, Fraction],
    sectors: Mapping[str, Sequence[int]],
    name_ppm_max: int,
    sector_ppm_max: int,
) -> dict[int, int]:
    """Return whole ppm by largest remainder, never above a cap; ties go to the lower id."""
    whole = {number: int(share) for number, share in exact.items()}
    sector_of = {number: sector for sector, members in sectors.items() for number in members}
    room = {
        sector: sector_ppm_max - sum(whole[number] for number in members)
        for sector, members in sectors.items()
    }
    order = sorted(exact, key=lambda number: (whole[number] - exact[number], number))
    missing = WHOLE_PPM - sum(whole.values())
    while missing:
        before = missing
        for number in order:
            if missing and whole[number] < name_ppm_max and room[sector_of[number]] > 0:
                whole[number] += 1
                room[sector_of[number]] -= 1
                missing -= 1
        assert missing < before, "caps that hold the exact weights hold the rounded ones"
    return whole
