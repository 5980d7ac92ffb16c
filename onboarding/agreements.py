"""Agreements as versioned texts: what must be delivered or accepted, in which order.

A text lies in `data/agreements/<id>.<version>.md` with a few lines of front matter. The version in
force on a day is the newest one effective by then; accepting an older one does not count, so a new
version asks again. What was accepted is pinned by the SHA-256 of the whole file.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from typing import NoReturn, Protocol

from onboarding.errors import AgreementError

ACTIONS = ("deliver", "accept", "consent")
"""deliver: shown to the customer; accept: agreed to; consent: agreed to and demonstrated."""

_FENCE = "---"
_KEYS = {"id", "version", "title", "effective_on", "order", "action", "kinds", "requires"}


@dataclass(frozen=True, slots=True)
class Agreement:
    """One version of one document."""

    id: str
    version: int
    title: str
    effective_on: date
    order: int
    action: str
    kinds: tuple[str, ...]
    """Account kinds that need it."""
    requires: tuple[str, ...]
    """Ids of documents that come first."""
    text: str
    """Markdown, as shown."""
    sha256: str
    """Of the whole file, front matter included; in hexadecimal."""


class AcceptedLike(Protocol):
    """A record that a customer was given, or accepted, one version of a document."""

    @property
    def agreement_id(self) -> str:
        """Which document."""
        ...

    @property
    def version(self) -> int:
        """Which version of it."""
        ...


@dataclass(frozen=True, slots=True)
class Accepted:
    """The least that is kept of an acceptance; services add when and from where."""

    agreement_id: str
    version: int


def required_agreements(
    kind: str, on: date, *, paper: bool = False, catalog: Sequence[Agreement] | None = None
) -> tuple[Agreement, ...]:
    """The documents in force for an account kind, in the order in which they are shown.

    Args:
        kind: Account kind, such as "individual".
        on: The day whose versions count.
        paper: True for a customer who wants paper: then no consent to e-delivery is asked.
        catalog: Other documents than ours (a firm's own).
    """
    known = load_agreements() if catalog is None else catalog
    newest: dict[str, Agreement] = {}
    for agreement in sorted(known, key=lambda a: (a.effective_on, a.version)):
        if agreement.effective_on <= on:
            newest[agreement.id] = agreement
    asked = [
        agreement
        for agreement in newest.values()
        if kind in agreement.kinds and not (paper and agreement.action == "consent")
    ]
    return tuple(sorted(asked, key=lambda agreement: (agreement.order, agreement.id)))


def missing(
    accepted: Iterable[AcceptedLike],
    on: date,
    *,
    kind: str = "individual",
    paper: bool = False,
    catalog: Sequence[Agreement] | None = None,
) -> tuple[Agreement, ...]:
    """The documents this customer has not been given or accepted in their present version."""
    held = {(row.agreement_id, row.version) for row in accepted}
    asked = required_agreements(kind, on, paper=paper, catalog=catalog)
    return tuple(agreement for agreement in asked if (agreement.id, agreement.version) not in held)


def acceptable(
    agreement_id: str,
    version: int,
    sha256: str,
    accepted: Iterable[AcceptedLike],
    on: date,
    *,
    kind: str = "individual",
    paper: bool = False,
    catalog: Sequence[Agreement] | None = None,
) -> Agreement:
    """The agreement, if the customer may accept this very text now.

    Raises:
        AgreementError: With reason `agreement_unknown`, `agreement_version_changed` (another
        version
            is in force), `agreement_text_changed` (not the text we published), or
            `agreement_out_of_order` followed by the ids that come first.
    """
    asked = required_agreements(kind, on, paper=paper, catalog=catalog)
    found = next((agreement for agreement in asked if agreement.id == agreement_id), None)
    if found is None:
        _refuse("There is no such agreement to accept.", "agreement_unknown")
    if found.version != version:
        _refuse("Another version of this agreement is in force.", "agreement_version_changed")
    if found.sha256 != sha256:
        _refuse("This is not the text that we published.", "agreement_text_changed")
    open_ids = {a.id for a in missing(accepted, on, kind=kind, paper=paper, catalog=catalog)}
    first = [required for required in found.requires if required in open_ids]
    if first:
        _refuse("Other documents come first.", "agreement_out_of_order", *first)
    return found


@cache
def load_agreements() -> tuple[Agreement, ...]:
    """Every version of every document that comes with the product; read once."""
    folder = files("onboarding").joinpath("data/agreements")
    blobs = sorted(
        (entry.name, entry.read_bytes()) for entry in folder.iterdir() if entry.name.endswith(".md")
    )
    return read_agreements(blobs)


def read_agreements(blobs: Iterable[tuple[str, bytes]]) -> tuple[Agreement, ...]:
    """The agreements in these files, checked against each other.

    Args:
        blobs: File name and content.

    Raises:
        ValueError: If front matter is missing or malformed, a version comes twice, a document
            requires one that does not exist or comes later, or the first is not Form CRS.
    """
    agreements = tuple(read_agreement(name, blob) for name, blob in blobs)
    versions = [(agreement.id, agreement.version) for agreement in agreements]
    order = {agreement.id: agreement.order for agreement in agreements}
    if len(set(versions)) != len(versions):
        _malformed("a version comes twice")
    for agreement in agreements:
        for required in agreement.requires:
            if required not in order or order[required] >= agreement.order:
                _malformed(f"{agreement.id} requires {required}, which does not come earlier")
    if not agreements or min(order, key=lambda key: order[key]) != "form_crs":
        _malformed("Form CRS must be the first document")
    return agreements


def read_agreement(name: str, blob: bytes) -> Agreement:
    """One agreement from one file.

    Raises:
        ValueError: If its front matter is missing or malformed.
    """
    opening, _, rest = blob.decode("utf-8").partition("\n")
    head, fence, body = rest.partition(f"\n{_FENCE}\n")
    pairs = [line.partition(":") for line in head.splitlines()]
    front = {key.strip(): value.strip() for key, _, value in pairs}
    if opening != _FENCE or not fence or set(front) != _KEYS or front["action"] not in ACTIONS:
        _malformed(f"{name} has no complete front matter")
    return Agreement(
        id=front["id"],
        version=int(front["version"]),
        title=front["title"],
        effective_on=date.fromisoformat(front["effective_on"]),
        order=int(front["order"]),
        action=front["action"],
        kinds=tuple(front["kinds"].split()),
        requires=tuple(front["requires"].split()),
        text=body.strip() + "\n",
        sha256=hashlib.sha256(blob).hexdigest(),
    )


def _refuse(detail: str, *reasons: str) -> NoReturn:
    """Refuse an acceptance."""
    raise AgreementError(detail, reasons=reasons)


def _malformed(what: str) -> NoReturn:
    """Stop at load: our own documents are not as they should be."""
    message = f"agreements: {what}"
    raise ValueError(message)
