"""What must not be bought, owned or traded for one customer, each with its reason.

never_buy    no more of it; what is held stays until something else says otherwise.
never_own    not bought, and sold where held, as tax and other rules allow.
never_trade  neither bought nor sold: shares of an employer, until the customer decides.

`never_buy` contains the other two; `never_own` and `never_trade` share nothing, because a security
that must not be touched cannot be sold either: never_trade wins.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from baskets.involvement import Involvement, Kind
from baskets.universe import Universe
from onboarding.companies import Company, CompanyIndex, Match, SecurityLike, company_index
from onboarding.questionnaire import Answers

PPM_PER_PERCENT = 10_000


class Verb(StrEnum):
    """How far a restriction goes."""

    NEVER_BUY = "never_buy"
    NEVER_OWN = "never_own"
    NEVER_TRADE = "never_trade"


class HeldChoice(StrEnum):
    """What the customer wants done with shares of an employer that are already held."""

    SELL = "sell"
    SELL_WITHIN_BUDGET = "sell_within_budget"
    KEEP = "keep"


class ShareBand(Protocol):
    """A share of revenue in ppm with its uncertainty; `baskets.values.Band` has it."""

    @property
    def high(self) -> int:
        """The largest share it may be."""
        ...


ShareOf = Callable[[int, str], ShareBand | None]
"""(security id, activity) -> share of revenue; None where nobody knows."""


@dataclass(frozen=True, slots=True)
class Restriction:
    """One security, what must not happen to it, and why."""

    security_id: int
    verb: Verb
    code: str
    sentence: str


@dataclass(frozen=True, slots=True)
class CompanyQuestion:
    """A text that may mean several companies; until it is answered none of them is bought.

    Without candidates, it fits too many: the customer is asked for more of the name.
    """

    text: str
    field: str
    candidates: tuple[Company, ...]


@dataclass(frozen=True, slots=True)
class Restrictions:
    """All restrictions of one customer, and what we could not turn into one."""

    entries: tuple[Restriction, ...]
    never_buy: frozenset[int]
    never_own: frozenset[int]
    never_trade: frozenset[int]
    sell_within_budget: frozenset[int]
    """Employer's shares to be sold only as far as the customer's tax budget reaches."""
    awaiting_choice: frozenset[int]
    """Employer's shares that stay untouched until the customer chooses, if any are held."""
    questions: tuple[CompanyQuestion, ...]
    outside_universe: tuple[str, ...]
    """Companies named that are none of ours: nothing to restrict, and recorded."""
    unknown_industries: tuple[str, ...]
    unknown_shares: tuple[tuple[str, int], ...]
    """(activity, number of securities about whose share nobody knows and that were allowed)."""

    def reasons_for(self, security_id: int) -> tuple[Restriction, ...]:
        """Every restriction of one security."""
        return tuple(entry for entry in self.entries if entry.security_id == security_id)


_EMPLOYER_FIELDS = {
    "employers": ("employer", "You work for {}."),
    "household_employers": ("household_employer", "Someone in your household works for {}."),
    "control_companies": ("control_person", "You direct {} or own a tenth of it."),
}
_NAMED_FIELDS = {
    "companies_never_own": (Verb.NEVER_OWN, "named_never_own", "You do not want to own {}."),
    "companies_never_buy": (Verb.NEVER_BUY, "named_never_buy", "You do not want to buy {}."),
}
_UNCLEAR = ("company_unclear", "You may have meant {}; tell us, and until then we leave it alone.")


def build_restrictions(
    answers: Answers,
    securities: Sequence[SecurityLike],
    *,
    share_of: ShareOf | None = None,
    choices: Mapping[int, HeldChoice] | None = None,
    employer_name: str = "",
    control_companies: Sequence[str] = (),
    index: CompanyIndex | None = None,
) -> Restrictions:
    """The restrictions that follow from the answers and the profile.

    Args:
        answers: Complete, checked answers.
        securities: All securities that could be bought.
        share_of: Involvement in activities; without it, every share counts as unknown.
        choices: Security id -> what to do with an employer's shares that are held.
        employer_name: From the profile; treated like the employers named in the answers.
        control_companies: From the profile; never traded, whatever is chosen.
        index: Of the same securities, made once by `company_index` for many customers.
    """
    named = _Named(index or company_index(securities), answers.several("companies_not_listed"))
    employers = [*answers.several("employers"), *([employer_name] if employer_name else [])]
    entries = [
        *named.employer("employers", employers, choices or {}),
        *named.employer(
            "household_employers", answers.several("household_employers"), choices or {}
        ),
        *named.employer("control_companies", control_companies, {}),
        *named.wishes("companies_never_own", answers.several("companies_never_own")),
        *named.wishes("companies_never_buy", answers.several("companies_never_buy")),
        *_by_country(answers, securities),
        *_by_industry(answers, securities),
    ]
    by_activity, unknown_shares = _by_activity(answers, securities, share_of)
    entries.extend(by_activity)
    industries = {key for row in securities for key in (row.sector, row.group)}
    return _restrictions(
        entries,
        named,
        choices or {},
        tuple(k for k in answers.several("industries_excluded") if k not in industries),
        unknown_shares,
    )


def share_of_universe(universe: Universe, involvement: Involvement) -> ShareOf:
    """Involvement of our own universe in the form that `build_restrictions` asks for."""

    def share(security_id: int, activity: str) -> ShareBand | None:
        if activity not in involvement.activities:
            return None
        return involvement.share(universe.by_id[security_id], activity, Kind.ANY)

    return share


class _Named:
    """Turns the companies that a customer named into restrictions, and notes what was unclear."""

    def __init__(self, index: CompanyIndex, not_listed: Iterable[str]) -> None:
        """Search this index; texts of `not_listed` are settled as none of ours."""
        self._index = index
        self._not_listed = {text.casefold() for text in not_listed}
        self.questions: list[CompanyQuestion] = []
        self.outside: dict[str, None] = {}
        self.control: set[int] = set()

    def employer(
        self, field: str, texts: Iterable[str], choices: Mapping[int, HeldChoice]
    ) -> list[Restriction]:
        """Never buy; never trade what is held, until the customer chooses otherwise."""
        code, sentence = _EMPLOYER_FIELDS[field]
        entries: list[Restriction] = []
        for match in self._matches(field, texts):
            for company, i in _securities(match):
                why = (code, sentence) if match.sure else _UNCLEAR
                entries.append(_entry(i, Verb.NEVER_BUY, why, company))
                verb = _VERB_OF_CHOICE.get(choices.get(i, HeldChoice.KEEP), Verb.NEVER_TRADE)
                if verb is not Verb.NEVER_BUY:
                    entries.append(_entry(i, verb, why, company))
                if field == "control_companies":
                    self.control.add(i)
        return entries

    def wishes(self, field: str, texts: Iterable[str]) -> list[Restriction]:
        """Never own or never buy what the customer named; never buy what may have been meant."""
        verb, code, sentence = _NAMED_FIELDS[field]
        return [
            _entry(i, verb, (code, sentence), company)
            if match.sure
            else _entry(i, Verb.NEVER_BUY, _UNCLEAR, company)
            for match in self._matches(field, texts)
            for company, i in _securities(match)
        ]

    def _matches(self, field: str, texts: Iterable[str]) -> list[Match]:
        """What the texts mean; what is unclear becomes a question, what is not ours is recorded."""
        found: list[Match] = []
        for text in texts:
            match = self._index.find(text)
            settled = not match.sure and text.casefold() in self._not_listed
            if settled or not (match.companies or match.vague):
                self.outside[text] = None
                continue
            if not match.sure:
                self.questions.append(CompanyQuestion(text, field, match.companies))
            found.append(match)
        return found


_VERB_OF_CHOICE = {
    HeldChoice.SELL: Verb.NEVER_OWN,
    # Sold by planners as far as a budget reaches: not bought, and otherwise free to trade.
    HeldChoice.SELL_WITHIN_BUDGET: Verb.NEVER_BUY,
    HeldChoice.KEEP: Verb.NEVER_TRADE,
}


def _by_country(answers: Answers, securities: Sequence[SecurityLike]) -> list[Restriction]:
    """Never own companies of the countries left out; an unknown country is no match."""
    countries = set(answers.several("countries_excluded"))
    return [
        Restriction(
            row.id, Verb.NEVER_OWN, "country", f"You leave out companies from {row.country}."
        )
        for row in securities
        if row.country in countries
    ]


def _by_industry(answers: Answers, securities: Sequence[SecurityLike]) -> list[Restriction]:
    """Never own companies of the sectors and groups left out."""
    left_out = set(answers.several("industries_excluded"))
    return [
        Restriction(row.id, Verb.NEVER_OWN, "industry", f"You leave out the industry {key}.")
        for row in securities
        for key in sorted({row.sector, row.group} & left_out)
    ]


def _by_activity(
    answers: Answers, securities: Sequence[SecurityLike], share_of: ShareOf | None
) -> tuple[list[Restriction], tuple[tuple[str, int], ...]]:
    """Never own companies whose share of an activity may reach the customer's threshold.

    The upper end of the share is compared: "may be 5 %" counts as 5 %.
    """
    percent = answers.number("activity_threshold_percent")
    exclude_unknown = answers.choice("activity_unknown") == "exclude"
    entries: list[Restriction] = []
    allowed: list[tuple[str, int]] = []
    for activity in answers.several("activities_excluded"):
        unknown = 0
        words = activity.replace("_", " ")
        for row in securities:
            share = share_of(row.id, activity) if share_of else None
            if share is None and not exclude_unknown:
                unknown += 1
            elif share is None:
                sentence = f"Nobody knows its share of {words}, and you leave such companies out."
                entries.append(Restriction(row.id, Verb.NEVER_OWN, "activity_unknown", sentence))
            elif share.high > 0 and share.high >= percent * PPM_PER_PERCENT:
                sentence = f"Up to {-(-share.high // PPM_PER_PERCENT)} % of its revenue is {words}."
                entries.append(Restriction(row.id, Verb.NEVER_OWN, "activity", sentence))
        if unknown:
            allowed.append((activity, unknown))
    return entries, tuple(allowed)


def by_activity(
    answers: Answers, securities: Sequence[SecurityLike], share_of: ShareOf
) -> tuple[Restriction, ...]:
    """The restrictions that follow from activities alone: what new figures can change."""
    return tuple(_by_activity(answers, securities, share_of)[0])


def activity_wishes(answers: Answers) -> tuple[tuple[str, ...], str, str]:
    """What `by_activity` looks at; customers with equal wishes have equal restrictions."""
    return (
        tuple(sorted(answers.several("activities_excluded"))),
        str(answers.number("activity_threshold_percent")),
        str(answers.choice("activity_unknown")),
    )


def _restrictions(
    entries: Sequence[Restriction],
    named: _Named,
    choices: Mapping[int, HeldChoice],
    unknown_industries: tuple[str, ...],
    unknown_shares: tuple[tuple[str, int], ...],
) -> Restrictions:
    """The sets that follow from single restrictions."""

    def ids(verb: Verb) -> frozenset[int]:
        return frozenset(entry.security_id for entry in entries if entry.verb is verb)

    never_trade = ids(Verb.NEVER_TRADE)
    employers = {e.security_id for e in entries if e.code in {"employer", "household_employer"}}
    budget = {i for i in employers if choices.get(i) is HeldChoice.SELL_WITHIN_BUDGET}
    return Restrictions(
        entries=tuple(dict.fromkeys(entries)),
        never_buy=frozenset(entry.security_id for entry in entries),
        never_own=ids(Verb.NEVER_OWN) - never_trade - budget,
        never_trade=never_trade,
        sell_within_budget=frozenset(budget) - never_trade,
        awaiting_choice=frozenset(employers - set(choices) - named.control),
        questions=tuple(named.questions),
        outside_universe=tuple(named.outside),
        unknown_industries=unknown_industries,
        unknown_shares=unknown_shares,
    )


def _securities(match: Match) -> list[tuple[Company, int]]:
    """Each security with its company."""
    return [(company, i) for company in match.companies for i in company.security_ids]


def _entry(security_id: int, verb: Verb, why: tuple[str, str], company: Company) -> Restriction:
    """One restriction with the company's name in its sentence."""
    code, sentence = why
    return Restriction(security_id, verb, code, sentence.format(company.name))
