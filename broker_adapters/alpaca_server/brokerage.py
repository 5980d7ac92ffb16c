"""The `/v1` half: accounts of customers, bank links, transfers, journals, documents.

States move by themselves as time passes, a second each: an account from SUBMITTED over APPROVED to
ACTIVE, a link from QUEUED to APPROVED, a transfer from QUEUED over SENT_TO_CLEARING to COMPLETE, a
journal from queued to executed. Like Alpaca, `/transfers` knows no idempotency at all; `/journals`
knows the Idempotency-Key. A given name that begins with `Fixture` makes a day ugly:
`FixtureRejected`, `FixtureActionRequired`, `FixtureReview`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final

from broker_adapters.alpaca_server import bodies
from broker_adapters.alpaca_server.book import Book
from broker_adapters.alpaca_server.cashflow import moves
from broker_adapters.alpaca_server.closing import with_currency
from broker_adapters.alpaca_server.exchange import BAD, Answer, refused, scaled
from broker_adapters.alpaca_server.paperwork import (
    CHANGEABLE,
    AccountForm,
    account_body,
    document_body,
    journal_body,
    relationship_body,
    transfer_body,
)
from broker_adapters.alpaca_server.router import Request, Router
from broker_adapters.alpaca_server.trading import Floor
from robo.core.clock import business_date, from_micros, iso_instant, to_micros
from robo.core.ids import new_id

_FORBIDDEN: Final = 40310000
_LATER: Final = timedelta(seconds=1)
_PAGE: Final = 100
_UNAUTHORIZED: Final = (401, {"code": 40110000, "message": "request is not authorized"})
_ENDINGS: Final = {
    "FixtureRejected": ["REJECTED"],
    "FixtureActionRequired": ["ACTION_REQUIRED"],
    "FixtureReview": ["APPROVAL_PENDING"],
}
_PATHS: Final = {
    "account": ["APPROVED", "ACTIVE"],
    "relationship": ["APPROVED"],
    "transfer": ["SENT_TO_CLEARING", "COMPLETE"],
    "journal": ["executed"],
}


@dataclass(slots=True)
class Brokerage:
    """What `/v1` answers; every call is made under the server's lock."""

    floor: Floor
    books: dict[str, Book]
    firm_id: str
    firm: Book
    due: dict[tuple[str, str], int] = field(default_factory=dict)
    """What will move by itself, and when: (kind, id) -> micro-seconds."""

    def add(self, router: Router) -> None:
        """Add the paths."""
        on = router.add
        on("GET", "/v1/accounts", self._accounts)
        on("POST", "/v1/accounts", self._open)
        on("GET", "/v1/accounts/activities", self._activities)
        on("GET", "/v1/accounts/activities/{}", self._activities)
        on("GET", "/v1/accounts/positions", self._positions)
        on("GET", "/v1/accounts/{}", lambda _, one: self._account(one))
        on("PATCH", "/v1/accounts/{}", self._change)
        on("POST", "/v1/accounts/{}/actions/close", self._close)
        links = "/v1/accounts/{}/ach_relationships"
        on("GET", links, lambda _, one: self._owned("relationship", one))
        on("POST", links, self._link)
        on("DELETE", f"{links}/{{}}", self._unlink)
        transfers = "/v1/accounts/{}/transfers"
        on("GET", transfers, self._transfers)
        on("POST", transfers, self._transfer)
        on("DELETE", f"{transfers}/{{}}", self._cancel_transfer)
        on("GET", "/v1/journals", self._journals)
        on("POST", "/v1/journals", self._journal)
        on("GET", "/v1/journals/{}", lambda _, one: self._found("journal", one))
        on("GET", "/v1/accounts/{}/documents", lambda _, one: self._owned("document", one))
        on("GET", "/v1/accounts/{}/documents/{}", self._document)
        on("GET", "/v1/accounts/{}/documents/{}/download", self._download)
        on("GET", "/_local/files/{}", lambda _, one: (200, f"%PDF-1.4 {one}\n".encode()))
        on("POST", "/_local/accounts/{}/status", self._set_status)
        on("POST", "/_local/transfers/{}/status", self._set_transfer)

    def reopen(self) -> None:
        """Open the books of the accounts that the file knows."""
        for body in self.floor.shelf.all("account"):
            self._book(str(body["id"]))
        for kind in _PATHS:
            for body in self.floor.shelf.all(kind):
                self._expect(kind, body)
                for account, cents, row in moves(kind, body):
                    self._apply(account, cents, row)

    def book(self, account_id: str) -> Book | None:
        """Return the book of an account that is ACTIVE, or the firm's."""
        if account_id == self.firm_id:
            return self.firm
        body = self._now("account", account_id)
        return self.books.get(account_id) if body and body["status"] == "ACTIVE" else None

    def advance(self) -> None:
        """Let every state move that is due."""
        now = to_micros(self.floor.exchange.now())
        for kind, identity in [one for one, at in self.due.items() if at <= now]:
            self._now(kind, identity)

    def _book(self, account_id: str) -> Book:
        if account_id not in self.books:
            exchange, shelf = self.floor.exchange, self.floor.shelf
            book = Book(exchange, shelf, f"v1/{account_id}", account_id, 0)
            self.books[account_id] = book
            exchange.open(book)
        return self.books[account_id]

    def _now(self, kind: str, identity: str) -> dict[str, Any] | None:
        """Return a thing as it is now, moving it on as far as time has."""
        body = self.floor.shelf.get(kind, identity)
        while body is not None and body.get("next_at"):
            now = to_micros(self.floor.exchange.now())
            if int(body["next_at"]) > now:
                break
            left = list(body["path"])
            body = self._step(kind, body, str(left.pop(0)), left)
        return body

    def _step(
        self, kind: str, body: Mapping[str, Any], word: str, left: list[str]
    ) -> dict[str, Any]:
        """Move a thing to its next state, tell it, and do what the state does."""
        at = int(body.get("next_at") or to_micros(self.floor.exchange.now()))
        following = to_micros(from_micros(at) + _LATER) if left else None
        moved = {
            **body,
            "status": word,
            "updated_at": iso_instant(at),
            "path": left,
            "next_at": following,
        }
        self._keep(kind, moved, str(body["status"]))
        for account, cents, row in moves(kind, moved):
            self._apply(account, cents, row)
        if kind == "account" and word == "ACTIVE":
            account = str(body["id"])
            document = document_body(new_id("doc"), business_date(from_micros(at)))
            self.floor.shelf.put("document", [(str(document["id"]), account, document)])
        return moved

    def _keep(self, kind: str, body: Mapping[str, Any], before: str) -> None:
        """Write a thing together with the event that tells of its state."""
        owner = str(body.get("account_id") or body["id"])
        told = {"status_from": before, "status_to": body["status"]}
        stream, named = {
            "account": ("accounts", {"account_id": owner}),
            "transfer": ("transfers", {"account_id": owner, "transfer_id": body["id"]}),
            "journal": ("journals", {"journal_id": body["id"], "entry_type": "JNLC"}),
            "relationship": (
                "transfers",
                {"account_id": owner, "bank_relationship_id": body["id"]},
            ),
        }[kind]
        event = self.floor.log.made(stream, str(body["id"]), {**named, **told})
        self.floor.shelf.put(kind, [(str(body["id"]), owner, body)], [event])
        self._expect(kind, body)

    def _expect(self, kind: str, body: Mapping[str, Any]) -> None:
        """Remember when a thing will move on by itself."""
        key = kind, str(body["id"])
        self.due.pop(key, None)
        if body.get("next_at"):
            self.due[key] = int(body["next_at"])

    def _apply(self, account: str, cents: int, row: dict[str, Any]) -> None:
        book = self.firm if account == self.firm_id else self._book(account)
        now = self.floor.exchange.now()
        if book.moved_by(str(row["id"])):
            book.move_cash(cents)
            book.tell({**row, "account_id": account}, now, now)

    def _accounts(self, asked: Request) -> Answer:
        """Return accounts; `query` finds by a part of the e-mail address."""
        words = [one for one in asked.query.get("query", "").lower().split() if one]
        return 200, [
            account_body(body)
            for body in self.floor.shelf.all("account")
            if all(word in str(body["contact"]["email_address"]).lower() for word in words)
        ][:1000]

    def _open(self, asked: Request) -> Answer:
        form = AccountForm.read(asked.fields)
        if form is None:
            return refused(422, BAD, "contact, identity, disclosures and agreements are required")
        for body in self.floor.shelf.all("account"):
            if body["contact"]["email_address"].lower() == form.email.lower():
                return refused(409, 40910000, "email address already exists")
        now = self.floor.exchange.now()
        account_id = bodies.uuid_of("account", new_id("acc"))
        path = _ENDINGS.get(form.given_name, _PATHS["account"])
        body = {
            **form.body,
            "id": account_id,
            "account_number": str(900_000_000 + len(self.books)),
            "created_at": iso_instant(to_micros(now)),
            "status": "SUBMITTED",
            "path": path,
            "next_at": to_micros(now + _LATER),
        }
        self._book(account_id)
        self._keep("account", body, "")
        return 200, account_body(body)

    def _account(self, account_id: str) -> Answer:
        body = self._now("account", account_id)
        return _UNAUTHORIZED if body is None else (200, account_body(body))

    def _positions(self, _: Request) -> Answer:
        """Return everybody's positions."""
        held = {one: book.positions()[1] for one, book in self.books.items()}
        told = {one: [with_currency(row) for row in rows] for one, rows in held.items() if rows}
        return 200, {"as_of": iso_instant(to_micros(self.floor.exchange.now())), "positions": told}

    def _change(self, asked: Request, account_id: str) -> Answer:
        """Change what is known of a person; the parts that are sent, and in them what is sent."""
        body = self._now("account", account_id)
        if body is None:
            return _UNAUTHORIZED
        parts = {name: asked.fields[name] for name in CHANGEABLE & asked.fields.keys()}
        if len(parts) != len(asked.fields) or not all(isinstance(p, dict) for p in parts.values()):
            return refused(422, BAD, f"only {', '.join(sorted(CHANGEABLE))} can be changed")
        merged = {name: {**(body.get(name) or {}), **part} for name, part in parts.items()}
        merged.get("identity", {}).pop("tax_id", None)
        changed = {**body, **merged}
        self.floor.shelf.put("account", [(account_id, account_id, changed)])
        return 200, account_body(changed)

    def _close(self, _: Request, account_id: str) -> Answer:
        body, book = self._now("account", account_id), self.books.get(account_id)
        if body is None or book is None:
            return _UNAUTHORIZED
        if book.cash_cents() or book.positions()[1]:
            return refused(422, BAD, "account must have no cash and no positions")
        self._step("account", {**body, "next_at": None}, "ACCOUNT_CLOSED", [])
        return 204, None

    def _set_status(self, asked: Request, account_id: str) -> Answer:
        body = self._now("account", account_id)
        word = str(asked.fields.get("status") or "")
        if body is None or not word:
            return refused(422, BAD, "there is no such account, or no status")
        return 200, account_body(self._step("account", {**body, "next_at": None}, word, []))

    def _link(self, asked: Request, account_id: str) -> Answer:
        if self.book(account_id) is None:
            return refused(422, BAD, "account is not active")
        for known in self.floor.shelf.all("relationship", account_id):
            if known["status"] != "CANCELED":
                return refused(409, 40910000, "only one active ach relationship allowed")
        now = self.floor.exchange.now()
        body = relationship_body(
            bodies.uuid_of("ach", new_id("ach")),
            account_id,
            asked.fields,
            iso_instant(to_micros(now)),
        )
        if body is None:
            return refused(422, BAD, "owner, type, account and routing numbers are required")
        whole = {**body, "path": _PATHS["relationship"], "next_at": to_micros(now + _LATER)}
        self._keep("relationship", whole, "")
        return 200, body

    def _unlink(self, _: Request, _account: str, identity: str) -> Answer:
        body = self._now("relationship", identity)
        if body is None:
            return refused(404, 40410000, "relationship not found")
        self._step("relationship", {**body, "next_at": None}, "CANCELED", [])
        return 204, None

    def _transfers(self, asked: Request, account_id: str) -> Answer:
        """Return transfers, the latest first: `limit` and `offset`."""
        _, found = self._owned("transfer", account_id)
        limit, offset = asked.query.get("limit", ""), asked.query.get("offset", "")
        start = int(offset) if offset.isdigit() else 0
        count = min(int(limit), _PAGE) if limit.isdigit() and int(limit) else _PAGE
        return 200, list(reversed(found))[start : start + count]

    def _transfer(self, asked: Request, account_id: str) -> Answer:
        fields, book = asked.fields, self.book(account_id)
        try:
            cents = scaled(fields.get("amount"), 2)
        except ValueError:
            cents = None
        link = self._now("relationship", str(fields.get("relationship_id") or ""))
        if book is None or cents is None or fields.get("direction") not in {"INCOMING", "OUTGOING"}:
            return refused(422, BAD, "amount and direction are required, of an active account")
        if link is None or link["account_id"] != account_id or link["status"] != "APPROVED":
            return refused(422, BAD, "relationship is not approved")
        if fields["direction"] == "OUTGOING" and cents > book.cash_cents():
            return refused(403, _FORBIDDEN, "insufficient balance")
        now = self.floor.exchange.now()
        identity = bodies.uuid_of("transfer", new_id("trf"))
        body = transfer_body(identity, account_id, fields, cents, now)
        whole = {**body, "path": _PATHS["transfer"], "next_at": to_micros(now + _LATER)}
        self._keep("transfer", whole, "")
        for account, moved, row in moves("transfer", whole):
            self._apply(account, moved, row)
        return 200, _shown(whole)

    def _cancel_transfer(self, _: Request, _account: str, identity: str) -> Answer:
        body = self._now("transfer", identity)
        if body is None:
            return refused(404, 40410000, "transfer not found")
        if body["status"] != "QUEUED":
            return refused(422, BAD, "transfer is not cancelable")
        self._step("transfer", {**body, "next_at": None}, "CANCELED", [])
        return 204, None

    def _set_transfer(self, asked: Request, identity: str) -> Answer:
        """Let a transfer fail, or come back after it was complete."""
        body, word = self._now("transfer", identity), str(asked.fields.get("status") or "")
        if body is None or word not in {"RETURNED", "REJECTED"}:
            return refused(422, BAD, "there is no such transfer, or no such status")
        after = {**body, "next_at": None, "returned": bool(moves("transfer", body))}
        return 200, _shown(self._step("transfer", after, word, []))

    def _journal(self, asked: Request) -> Answer:
        fields = asked.fields
        known = self.floor.shelf.get("key", asked.key) if asked.key else None
        if known is not None:
            if known["body"] != dict(fields):
                return refused(422, BAD, "idempotency key was used with another body")
            return self._found("journal", str(known["journal"]))
        accounts = str(fields.get("from_account")), str(fields.get("to_account"))
        books = [self.book(one) for one in accounts]
        try:
            cents = scaled(fields.get("amount"), 2)
        except ValueError:
            cents = None
        if cents is None or fields.get("entry_type") != "JNLC" or accounts[0] == accounts[1]:
            return refused(422, BAD, "entry_type JNLC, amount and two accounts are required")
        if books[0] is None or books[1] is None:
            return refused(404, 40410000, "account not found")
        if cents > books[0].cash_cents():
            return refused(403, _FORBIDDEN, "insufficient balance")
        now = self.floor.exchange.now()
        body = journal_body(bodies.uuid_of("journal", new_id("jnl")), fields, cents, now)
        whole = {**body, "path": _PATHS["journal"], "next_at": to_micros(now + _LATER)}
        self._keep("journal", whole, "")
        if asked.key:
            key = {"body": dict(fields), "journal": body["id"]}
            self.floor.shelf.put("key", [(asked.key, "", key)])
        return 200, body

    def _journals(self, asked: Request) -> Answer:
        ends = ("to_account", "from_account")
        named = {name: asked.query[name] for name in ends if name in asked.query}
        found = [_shown(body) for body in self.floor.shelf.all("journal")]
        return 200, [one for one in found if named.items() <= one.items()]

    def _document(self, _: Request, account_id: str, document_id: str) -> Answer:
        for body in self.floor.shelf.all("document", account_id):
            if body["id"] == document_id:
                return 200, _shown(body)
        return refused(404, 40410000, "document not found")

    def _download(self, asked: Request, account_id: str, document_id: str) -> Answer:
        status, answer = self._document(asked, account_id, document_id)
        fine = status == HTTPStatus.OK
        return (301, {"Location": f"/_local/files/{document_id}"}) if fine else (status, answer)

    def _activities(self, asked: Request, kind: str = "") -> Answer:
        """Return the activities of one account, or of all."""
        named = kind or asked.query.get("activity_types", "")
        wanted = [one for one in named.split(",") if one]
        account, now = asked.query.get("account_id", ""), self.floor.exchange.now()
        if account:
            book = self.books.get(account)
            return (200, [] if book is None else book.rows.page(asked.query, wanted, now))
        return 200, self.floor.exchange.rows.page(asked.query, wanted, now)

    def _owned(self, kind: str, account_id: str) -> tuple[int, list[dict[str, Any]]]:
        found = self.floor.shelf.all(kind, account_id)
        return 200, [_shown(body) for body in found]

    def _found(self, kind: str, identity: str) -> Answer:
        body = self._now(kind, identity)
        return refused(404, 40410000, f"{kind} not found") if body is None else (200, _shown(body))


def _shown(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a thing without what is the server's own."""
    own = {"path", "next_at", "returned"}
    return {name: value for name, value in body.items() if name not in own}
