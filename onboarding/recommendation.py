"""From a profile to at most three baskets, each with its sentence for the customer and its reasons.

Ranking is by whole points: what the customer asked for adds, what restrictions would have to
replace takes away. A basket that does not suit the risk band is not ranked lower but left out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from onboarding.questionnaire import Answers, load_questionnaire
from onboarding.restrictions import Restrictions
from onboarding.scoring import RiskScore
from onboarding.suitability import Assessment, Decision

RECOMMENDED_MAX = 3
"""More choices make people choose nothing."""
REPLACED_NAMES_MAX = 5
"""A basket has five understudies: with more names restricted it is not that basket any more."""

FITS = {
    "very_cautious": frozenset[str](),
    "cautious": frozenset({"diversified"}),
    "balanced": frozenset({"diversified"}),
    "growth": frozenset({"diversified", "focused"}),
    "adventurous": frozenset({"diversified", "focused"}),
}
"""Risk band -> the risk hints of the baskets that suit it."""

_FAMILY_POINTS = 30
_VALUE_POINTS = {"none": 0, "some": 10, "decisive": 20}
_THEME_POINTS = 15
_DIVERSIFIED_POINTS = 5
_REPLACED_POINTS = 4
"""Taken away for each name that an understudy would have to replace."""


class ConstituentLike(Protocol):
    """One company of a basket."""

    @property
    def security_id(self) -> int:
        """The permanent id."""
        ...

    @property
    def weight_ppm(self) -> int:
        """Its weight."""
        ...


class BasketLike(Protocol):
    """What is needed of a basket; `baskets.basket.Basket` has it."""

    @property
    def id(self) -> str:
        """The recipe's id."""
        ...

    @property
    def name(self) -> str:
        """As shown."""
        ...

    @property
    def family(self) -> str:
        """Either `esg` or `theme`."""
        ...

    @property
    def sentence(self) -> str:
        """What it holds, in one sentence."""
        ...

    @property
    def values(self) -> tuple[str, ...]:
        """The values and themes it serves."""
        ...

    @property
    def risk_hint(self) -> str:
        """Either `diversified` or `focused`."""
        ...

    @property
    def data_note(self) -> str:
        """On whose figures it rests."""
        ...

    @property
    def constituents(self) -> Sequence[ConstituentLike]:
        """The companies."""
        ...


@dataclass(frozen=True, slots=True)
class RankingReason:
    """What moved a basket up or down, and by how much."""

    code: str
    points: int
    sentence: str


@dataclass(frozen=True, slots=True)
class RecommendedBasket:
    """One basket for this customer; `reasons` sum exactly to `points`."""

    basket_id: str
    rank: int
    """1 is the default."""
    points: int
    sentence: str
    reasons: tuple[RankingReason, ...]
    replaced: tuple[int, ...]
    """Securities that restrictions keep out, to be replaced by understudies."""
    score_note: str
    """On whose figures it rests, rules or vendors; shown with it."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """At most three baskets, best first; or none, and why."""

    baskets: tuple[RecommendedBasket, ...]
    none_because: tuple[str, ...]
    """Reason codes, if there is nothing to recommend."""
    sentence: str

    @property
    def default(self) -> RecommendedBasket | None:
        """The first basket."""
        return self.baskets[0] if self.baskets else None


def recommend(
    answers: Answers,
    score: RiskScore,
    assessment: Assessment,
    restrictions: Restrictions,
    baskets: Iterable[BasketLike],
) -> Recommendation:
    """The baskets to show to this customer, best first; none unless the decision is to proceed."""
    if assessment.decision is not Decision.PROCEED:
        return _nothing_yet(assessment)
    fitting = [basket for basket in baskets if basket.risk_hint in FITS[score.band]]
    ranked = sorted(
        (
            _ranked(basket, answers, restrictions)
            for basket in fitting
            if len(_replaced(basket, restrictions)) <= REPLACED_NAMES_MAX
        ),
        key=lambda entry: (-sum(reason.points for reason in entry[1]), entry[0].id),
    )
    if not ranked:
        code = "no_basket_within_restrictions" if fitting else "no_basket_for_band"
        return Recommendation((), (code,), "None of our baskets fits your risk and restrictions.")
    chosen = tuple(
        _recommended(basket, rank, reasons, score, restrictions)
        for rank, (basket, reasons) in enumerate(ranked[:RECOMMENDED_MAX], start=1)
    )
    return Recommendation(chosen, (), f"Your score is {score.score} of 100. {score.band_sentence}")


def _nothing_yet(assessment: Assessment) -> Recommendation:
    """No basket, with what stands in the way."""
    if assessment.decision is Decision.NOT_YET:
        sentence = " ".join(stop.sentence for stop in assessment.stops)
        return Recommendation((), tuple(stop.code for stop in assessment.stops), sentence)
    codes = tuple(question.code for question in assessment.contradictions)
    sentence = "Some of your answers do not fit together; please look at them."
    return Recommendation((), codes, sentence)


def _ranked(
    basket: BasketLike, answers: Answers, restrictions: Restrictions
) -> tuple[BasketLike, tuple[RankingReason, ...]]:
    """A basket with everything that moves it up or down."""
    return basket, (
        *_family(basket, answers),
        *_values(basket, answers),
        *_themes(basket, answers),
        *_spread(basket),
        *_restricted(basket, restrictions),
    )


def _family(basket: BasketLike, answers: Answers) -> list[RankingReason]:
    """Points for the kind of basket asked for."""
    if answers.choice("basket_family") != basket.family:
        return []
    words = {"esg": "your values", "theme": "a theme"}.get(basket.family, basket.family)
    sentence = f"You asked for a basket that follows {words}."
    return [RankingReason("family", _FAMILY_POINTS, sentence)]


def _values(basket: BasketLike, answers: Answers) -> list[RankingReason]:
    """Points for each value that the basket serves, by how much values should decide."""
    each = _VALUE_POINTS[answers.choice("values_importance")]
    labels = _labels("values")
    shared = [value for value in answers.several("values") if value in basket.values]
    return [
        RankingReason("value", each, f"It serves what matters to you: {labels[value]}.")
        for value in shared
        if each
    ]


def _themes(basket: BasketLike, answers: Answers) -> list[RankingReason]:
    """Points for each theme that the basket serves."""
    labels = _labels("themes")
    return [
        RankingReason("theme", _THEME_POINTS, f"It follows a theme you chose: {labels[theme]}.")
        for theme in answers.several("themes")
        if theme in basket.values
    ]


def _spread(basket: BasketLike) -> list[RankingReason]:
    """A few points for spreading widely: with all else equal, less risk is better."""
    if basket.risk_hint != "diversified":
        return []
    return [RankingReason("spread", _DIVERSIFIED_POINTS, "It spreads over several industries.")]


def _restricted(basket: BasketLike, restrictions: Restrictions) -> list[RankingReason]:
    """Points taken away for the names that must be replaced."""
    count = len(_replaced(basket, restrictions))
    if not count:
        return []
    names = "One of its companies is" if count == 1 else f"{count} of its companies are"
    sentence = f"{names} replaced because of your restrictions."
    return [RankingReason("restricted", -_REPLACED_POINTS * count, sentence)]


def _replaced(basket: BasketLike, restrictions: Restrictions) -> tuple[int, ...]:
    """The basket's securities that this customer must not buy."""
    ids = (constituent.security_id for constituent in basket.constituents)
    return tuple(i for i in ids if i in restrictions.never_buy)


def _recommended(
    basket: BasketLike,
    rank: int,
    reasons: tuple[RankingReason, ...],
    score: RiskScore,
    restrictions: Restrictions,
) -> RecommendedBasket:
    """One basket as it is shown: what it is, then why it is here."""
    why = " ".join(reason.sentence for reason in reasons)
    fit = f"It suits your risk score of {score.score} of 100."
    return RecommendedBasket(
        basket_id=basket.id,
        rank=rank,
        points=sum(reason.points for reason in reasons),
        sentence=" ".join(part for part in (basket.sentence, why, fit) if part),
        reasons=reasons,
        replaced=_replaced(basket, restrictions),
        score_note=basket.data_note,
    )


def _labels(question_id: str) -> dict[str, str]:
    """The words of a question's options, as they stand inside a sentence."""
    question = load_questionnaire().question(question_id)
    return {option.key: option.label[0].lower() + option.label[1:] for option in question.options}
