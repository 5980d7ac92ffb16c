"""The questionnaire: answers in, decision, score, restrictions and recommendation out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlmodel import Session

from onboarding.ages import age_on
from onboarding.identity import Profile
from onboarding.progress import Step
from onboarding.questionnaire import Answers, load_questionnaire, parse_answers
from onboarding.recommendation import Recommendation, recommend
from onboarding.restrictions import Restrictions
from onboarding.scoring import RiskScore, score_answers
from onboarding.suitability import Assessment, assess
from robo.core.clock import Clock, business_date, from_micros, to_micros
from robo.core.errors import IdempotencyMismatchError, NotFoundError, OutOfOrderError
from robo.services import offering
from robo.services.enrolling import restricting, standing
from robo.services.enrolling.identifying import read_profile
from robo.services.enrolling.refusing import translated
from robo.services.mailing import payload
from robo.services.sealing import Vault
from robo.store import owners, people
from robo.store.database import Database
from robo.store.events import NewEvent, emit
from robo.store.keyring import Keyring
from robo.store.people import Submission


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything that follows from one set of answers."""

    id: str
    created_at: int
    assessment: Assessment
    score: RiskScore
    restrictions: Restrictions
    recommendation: Recommendation


def submit(
    db: Database,
    keyring: Keyring,
    clock: Clock,
    customer_id: str,
    submission_id: str,
    raw: Mapping[str, object],
    confirmations: Sequence[str],
) -> Outcome:
    """Judge and keep a customer's answers; they replace the earlier ones whatever the decision.

    Raises:
        InvalidInputError: With every missing and malformed answer, or an unknown confirmation.
        OutOfOrderError: If there is no profile yet.
    """
    now = to_micros(clock.now())
    with translated():
        answers = parse_answers(raw)
    content = {"answers": answers.to_raw(), "confirmations": sorted(set(confirmations))}
    with db.read() as session:
        offering.of_customer(session, customer_id)  # built here, not while others wait to write
    with db.write() as session:
        standing.require(session, customer_id, Step.ANSWERS, business_date(clock.now()))
        vault = Vault.open(session, keyring, customer_id)
        known = people.submission(session, submission_id)
        if known is not None:
            return _repeated(session, vault, known, customer_id, content)
        before = people.latest_submission(session, customer_id)
        if before is not None:
            # A clock may stand still; the newest answers must still be the newest.
            now = max(now, before.created_at + 1)
        made = _judge(session, vault, customer_id, submission_id, answers, confirmations, now)
        restricting.keep(session, customer_id, made.restrictions, now)
        people.add_submission(session, _row(customer_id, vault, made, content))
        _tell(session, customer_id, made, now)
    return made


def latest(session: Session, keyring: Keyring, customer_id: str) -> Outcome:
    """Return what follows from a customer's present answers, judged as of when they were given.

    Raises:
        NotFoundError: If there are no answers yet.
    """
    vault = Vault.open(session, keyring, customer_id)
    found = people.latest_submission(session, customer_id)
    if found is None:
        message = "There are no answers yet."
        raise NotFoundError(message, code="no_answers")
    return _again(session, vault, found)


def _judge(
    session: Session,
    vault: Vault,
    customer_id: str,
    submission_id: str,
    answers: Answers,
    confirmations: Sequence[str],
    at_micros: int,
) -> Outcome:
    profile = _profile(session, vault, at_micros)
    on = business_date(from_micros(at_micros))
    age = age_on(profile.birth_date, on)
    with translated():
        score = score_answers(answers, age)
        assessment = assess(answers, score, age, on, confirmations)
    restrictions = restricting.derive(session, customer_id, answers, profile)
    offered = offering.of_customer(session, customer_id).catalog.all()
    recommendation = recommend(answers, score, assessment, restrictions, offered)
    return Outcome(submission_id, at_micros, assessment, score, restrictions, recommendation)


def _repeated(
    session: Session, vault: Vault, known: Submission, customer_id: str, content: object
) -> Outcome:
    if known.customer_id != customer_id or _content(vault, known) != content:
        message = "This key was used for other answers."
        raise IdempotencyMismatchError(message)
    return _again(session, vault, known)


def _again(session: Session, vault: Vault, known: Submission) -> Outcome:
    content = _content(vault, known)
    raw, confirmations = content["answers"], content["confirmations"]
    assert isinstance(raw, dict)
    assert isinstance(confirmations, list)
    with translated():
        answers = parse_answers(raw)
    return _judge(
        session,
        vault,
        known.customer_id,
        known.id,
        answers,
        confirmations,
        known.created_at,
    )


def _content(vault: Vault, known: Submission) -> dict[str, list[str] | dict[str, object]]:
    found = vault.unseal_json(known.sealed, f"answers:{known.id}:sealed")
    assert isinstance(found, dict)
    return found


def _profile(session: Session, vault: Vault, at_micros: int) -> Profile:
    profile = read_profile(session, vault, at_micros)
    if profile is None:
        message = "Before answers comes: profile."
        raise OutOfOrderError(message, reasons=["profile"])
    return profile


def _row(customer_id: str, vault: Vault, made: Outcome, content: object) -> Submission:
    return Submission(
        id=made.id,
        customer_id=customer_id,
        questionnaire_sha256=load_questionnaire().version_hash,
        sealed=vault.seal_json(content, f"answers:{made.id}:sealed"),
        decision=made.assessment.decision.value,
        reasons=" ".join(made.assessment.reasons),
        score=made.score.score,
        band=made.score.band,
        created_at=made.created_at,
    )


def _tell(session: Session, customer_id: str, made: Outcome, now: int) -> None:
    customer = owners.find_customer(session, customer_id)
    assert customer is not None
    event = NewEvent(
        customer.firm_id,
        "answers.submitted",
        made.id,
        payload(decision=made.assessment.decision.value),
        customer_id=customer_id,
    )
    emit(session, [event], now)
