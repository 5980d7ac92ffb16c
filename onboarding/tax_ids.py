"""Which taxpayer identification numbers can be real, by the ranges that were never issued.

Sources: Social Security Administration, randomised numbering since 25 June 2011 (area 000, 666 and
900 to 999, group 00 and serial 0000 are not used); IRS, ITIN groups 50 to 65, 70 to 88, 90 to 92
and 94 to 99; IRS, EIN prefixes by campus.
"""

_ITIN_GROUPS = frozenset({*range(50, 66), *range(70, 89), *range(90, 93), *range(94, 100)})
_EIN_PREFIXES_UNUSED = frozenset({0, 7, 8, 9, 17, 18, 19, 28, 29, 49, 69, 70, 78, 79, 89, 96, 97})
_FIRST_AREA_NOT_SSN = 900
_AREA_SKIPPED = 666
_DIGITS = 9


def was_never_issued(kind: str, digits: str) -> bool:
    """Whether no such number of this kind exists.

    Args:
        kind: "ssn", "itin" or "ein".
        digits: Nine ASCII digits.

    Raises:
        ValueError: If the kind is unknown.
    """
    if len(digits) != _DIGITS or not (digits.isascii() and digits.isdecimal()):
        return True
    area, group, serial = int(digits[:3]), int(digits[3:5]), int(digits[5:])
    match kind:
        case "ssn":
            return (
                not (0 < area < _FIRST_AREA_NOT_SSN)
                or area == _AREA_SKIPPED
                or not (group and serial)
            )
        case "itin":
            return area < _FIRST_AREA_NOT_SSN or group not in _ITIN_GROUPS
        case "ein":
            return int(digits[:2]) in _EIN_PREFIXES_UNUSED
        case _:
            message = "tax id kind must be ssn, itin or ein"
            raise ValueError(message)
