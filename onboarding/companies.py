"""Finds the company a customer means: one, several to choose from, or none of ours.

A company is all securities of one issuer (one CIK): who does not want Alphabet wants neither of its
share classes. Only an exact symbol or an exact name, after taking away legal forms, decides by
itself; anything less is asked back.
"""

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Protocol

from baskets.universe import normal_symbol

CANDIDATES_MAX = 8
"""More than this many suggestions are no help; the customer is asked to write more of the name."""

_LETTERS_MIN = 4
"""Fewer letters begin too many names to suggest anything."""

_SHARE_CLASS = re.compile(r"\s*\((?:class [a-z]|the)\)$", re.IGNORECASE)
_LEGAL_WORDS = (
    "inc incorporated corp corporation co company companies ltd limited plc llc lp nv sa ag se "
    "group holding holdings trust com class a b c the"
)
_LEGAL_FORMS = frozenset(_LEGAL_WORDS.split())


class SecurityLike(Protocol):
    """What is needed of a security; `baskets.universe.Security` has it."""

    @property
    def id(self) -> int:
        """The permanent id."""
        ...

    @property
    def symbol(self) -> str:
        """Today's ticker."""
        ...

    @property
    def name(self) -> str:
        """The issuer's name."""
        ...

    @property
    def cik(self) -> str:
        """The issuer; share classes of one company have the same."""
        ...

    @property
    def sector(self) -> str:
        """Sector key."""
        ...

    @property
    def group(self) -> str:
        """Group key."""
        ...

    @property
    def country(self) -> str | None:
        """Two letters, or None if not known."""
        ...


@dataclass(frozen=True, slots=True)
class Company:
    """One issuer with all its securities."""

    name: str
    symbols: tuple[str, ...]
    security_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Match:
    """What a text means: sure if `sure`, else to be asked; no companies means none of ours.

    A vague text is near to so many that no suggestion helps: more of the name is needed.
    """

    text: str
    companies: tuple[Company, ...]
    sure: bool
    vague: bool = False

    @property
    def security_ids(self) -> tuple[int, ...]:
        """All securities of all companies it may mean."""
        return tuple(i for company in self.companies for i in company.security_ids)


@dataclass(frozen=True, slots=True)
class CompanyIndex:
    """Companies by symbol and by name; made once for a universe and used for many customers."""

    by_symbol: Mapping[str, Company]
    by_name: Mapping[str, tuple[Company, ...]]
    by_solid: Mapping[str, tuple[Company, ...]]
    """Name without blanks: people write "JP Morgan Chase" and "Git Hub" as they like."""

    def find(self, text: str) -> Match:
        """The company or companies that the text may mean."""
        name = plain_name(text)
        sure = dict.fromkeys(self.by_solid.get(solid(name), ()))
        for symbol in (normal_symbol(text), aliases().get(solid(name), "")):
            if symbol in self.by_symbol:
                sure[self.by_symbol[symbol]] = None
        if sure:
            return Match(text, tuple(sure), sure=len(sure) == 1)
        near = dict.fromkeys(
            c for key in self.by_name if _near(name, key) for c in self.by_name[key]
        )
        if len(near) > CANDIDATES_MAX:
            return Match(text, (), sure=False, vague=True)
        return Match(text, tuple(near), sure=False)


def company_index(securities: Iterable[SecurityLike]) -> CompanyIndex:
    """The companies of these securities, ready to be searched."""
    issuers: dict[str, list[SecurityLike]] = {}
    for security in sorted(securities, key=lambda row: row.id):
        issuers.setdefault(security.cik or f"security {security.id}", []).append(security)
    by_symbol: dict[str, Company] = {}
    by_name: dict[str, tuple[Company, ...]] = {}
    for rows in issuers.values():
        company = _company(rows)
        by_symbol.update(dict.fromkeys((normal_symbol(row.symbol) for row in rows), company))
        for name in {plain_name(row.name) for row in rows}:
            by_name[name] = (*by_name.get(name, ()), company)
    by_solid: dict[str, tuple[Company, ...]] = {}
    for name, companies in by_name.items():
        before = by_solid.get(solid(name), ())
        by_solid[solid(name)] = tuple(dict.fromkeys((*before, *companies)))
    return CompanyIndex(by_symbol, by_name, by_solid)


def plain_name(name: str) -> str:
    """The name without case, accents, punctuation, a leading "the" and trailing legal forms."""
    folded = unicodedata.normalize("NFKD", name.replace("&", " and ")).casefold()
    letters = "".join(c for c in folded if not unicodedata.combining(c) and c not in "'\u2019")
    words = "".join(c if c.isalnum() else " " for c in letters).split()
    if len(words) > 1 and words[0] == "the":
        words = words[1:]
    while len(words) > 1 and words[-1] in _LEGAL_FORMS:
        words.pop()
    if len(words) > 1 and words[-1] == "and":  # "Tiffany & Co."
        words.pop()
    return " ".join(words)


def solid(plain: str) -> str:
    """A plain name without its blanks."""
    return plain.replace(" ", "")


@cache
def aliases() -> Mapping[str, str]:
    """Solid plain name -> symbol, for names that differ from the listed one; read once."""
    blob = files("onboarding").joinpath("data/company_aliases.toml").read_bytes()
    named = tomllib.loads(blob.decode())["aliases"]
    return {solid(plain_name(name)): symbol for name, symbol in named.items()}


def _company(rows: Sequence[SecurityLike]) -> Company:
    """The issuer of these securities."""
    symbols = tuple(row.symbol for row in rows)
    return Company(_SHARE_CLASS.sub("", rows[0].name), symbols, tuple(row.id for row in rows))


def _near(text: str, name: str) -> bool:
    """Whether one of the two begins with all words of the other, or the name with these letters."""
    shorter, longer = sorted((text, name), key=len)
    if len(text) >= _LETTERS_MIN and name.startswith(text):
        return True
    return bool(shorter) and longer.startswith(shorter + " ")
