"""Weights of many companies from their sizes: a cap on each, exact, summing to 1,000,000 ppm."""

from collections.abc import Sequence
from fractions import Fraction

from baskets.errors import BuildError
from baskets.values import WHOLE_PPM


def capped(sizes: Sequence[int], ppm_max: int) -> tuple[int, ...]:
    """Return the sizes with the largest cut so that none is more than its cap of the sum.

    Who would exceed the cap is set to it exactly; what is cut off goes to the others in
    proportion to their size. The result is rounded down to whole units, so that a cut size
    never exceeds its cap by the rounding.

    Raises:
        BuildError: If a size is not positive (code `size_not_positive`), or so few companies
            cannot keep the cap (code `caps_infeasible`).
    """
    if not sizes or min(sizes) <= 0:
        message = "every company needs a size above zero"
        raise BuildError(message, code="size_not_positive")
    if len(sizes) * ppm_max < WHOLE_PPM:
        message = f"{len(sizes)} companies cannot keep a cap of {ppm_max} ppm"
        raise BuildError(message, code="caps_infeasible")
    order = sorted(range(len(sizes)), key=lambda place: -sizes[place])
    free = sum(sizes)
    cut = 0
    # From the largest on: cutting one raises what the sum allows the next, never the reverse.
    while cut < len(order) and sizes[order[cut]] * (WHOLE_PPM - cut * ppm_max) > ppm_max * free:
        free -= sizes[order[cut]]
        cut += 1
    assert cut < len(order), "names that can keep the cap are never all above it"
    ceiling = ppm_max * free // (WHOLE_PPM - cut * ppm_max)
    held = set(order[:cut])
    return tuple(ceiling if place in held else size for place, size in enumerate(sizes))


def shares_ppm(sizes: Sequence[int | Fraction]) -> tuple[int, ...]:
    """Return each size's part of the sum in whole ppm; the parts sum to exactly 1_000_000.

    Largest remainder; ties go to the earlier. Sizes are not negative, and not all zero.
    """
    whole = sum(sizes, Fraction(0))
    exact = [size * WHOLE_PPM / whole for size in sizes]
    parts = [int(share) for share in exact]
    order = sorted(range(len(sizes)), key=lambda place: (parts[place] - exact[place], place))
    for place in order[: WHOLE_PPM - sum(parts)]:
        parts[place] += 1
    return tuple(parts)
