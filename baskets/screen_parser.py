"""Turns tokens into statements: what a screen says, not yet what it means.

```
screen     := { statement ( newline | ";" ) }
statement  := "exclude" expr | "require" expr | "tilt" expr "by" percent
expr       := conj { "or" conj }
conj       := factor { "and" factor }
factor     := "not" factor | "(" expr ")" | comparison
comparison := field test { modifier }
test       := sign literal | [ "not" ] "in" "(" literal { "," literal } ")"
            | "is" ( "known" | "unknown" )
modifier   := "strict" | "lenient" | "unknown" ( "exclude" | "allow" | "ask" )
```
"""

from dataclasses import dataclass
from enum import StrEnum

from baskets.errors import Place, ScreenError
from baskets.screen_lexer import Token, TokenKind, tokens_of

STATEMENTS_MAX = 200
DEPTH_MAX = 20
LIST_LENGTH_MAX = 500
COMPARISONS = frozenset({"=", "!=", "<", "<=", ">", ">="})


class Action(StrEnum):
    """What a statement does with a name."""

    EXCLUDE = "exclude"
    REQUIRE = "require"
    TILT = "tilt"


class UnknownPolicy(StrEnum):
    """What happens to a name whose field is not known."""

    EXCLUDE = "exclude"
    ALLOW = "allow"
    ASK = "ask"


class Mode(StrEnum):
    """How a band is compared."""

    STRICT = "strict"
    LENIENT = "lenient"


@dataclass(frozen=True, slots=True)
class Literal:
    """A written value; `quoted` words are never keywords or numbers."""

    text: str
    kind: TokenKind
    place: Place


@dataclass(frozen=True, slots=True)
class Comparison:
    """One test of one field."""

    field: str
    test: str
    """A sign, `in`, `not in`, `known` or `unknown`."""
    literals: tuple[Literal, ...]
    mode: Mode
    unknown: UnknownPolicy
    place: Place
    text: str


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of an expression."""

    inner: "Expression"


@dataclass(frozen=True, slots=True)
class Joined:
    """Several expressions joined by the same word."""

    word: str
    """`and` or `or`."""
    parts: tuple["Expression", ...]


Expression = Comparison | Not | Joined


@dataclass(frozen=True, slots=True)
class Statement:
    """One line of a screen."""

    action: Action
    expression: Expression
    tilt: Literal | None
    place: Place
    text: str


def parse(text: str) -> tuple[Statement, ...]:
    """Return the statements of a screen, in order.

    Raises:
        ScreenError: At the first place that does not fit the grammar.
    """
    return _Parser(text).screen()


def comparisons_of(expression: Expression) -> list[Comparison]:
    """Return the comparisons of an expression, from left to right."""
    if isinstance(expression, Comparison):
        return [expression]
    if isinstance(expression, Not):
        return comparisons_of(expression.inner)
    return [found for part in expression.parts for found in comparisons_of(part)]


class _Parser:
    """Reads one text from left to right with one token of foresight."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokens_of(text)
        self._at = 0
        self._depth = 0

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def screen(self) -> tuple[Statement, ...]:
        statements: list[Statement] = []
        while True:
            while self._next.kind is TokenKind.END_STATEMENT:
                self._at += 1
            if self._next.kind is TokenKind.END:
                return tuple(statements)
            if len(statements) == STATEMENTS_MAX:
                raise self._limit(what=f"more than {STATEMENTS_MAX} statements")
            statements.append(self._statement())

    def _statement(self) -> Statement:
        first = self._next
        if first.kind is not TokenKind.KEYWORD or first.text not in set(Action):
            raise self._unexpected(expected="`exclude`, `require` or `tilt`")
        self._at += 1
        expression = self._expression()
        tilt = None
        if first.text == Action.TILT:
            self._keyword("by")
            tilt = self._literal()
        last = self._tokens[self._at - 1]
        if self._next.kind not in {TokenKind.END_STATEMENT, TokenKind.END}:
            raise self._unexpected(expected="`and`, `or` or the end of the statement")
        return Statement(
            Action(first.text), expression, tilt, first.place, self._slice(first, last)
        )

    def _expression(self) -> Expression:
        return self._joined("or")

    def _joined(self, word: str) -> Expression:
        """Read parts joined by a word; `and` binds closer than `or`."""
        parts = [self._part_of(word)]
        while self._is_keyword(word):
            self._at += 1
            parts.append(self._part_of(word))
        return parts[0] if len(parts) == 1 else Joined(word, tuple(parts))

    def _part_of(self, word: str) -> Expression:
        return self._joined("and") if word == "or" else self._factor()

    def _factor(self) -> Expression:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise self._limit(what=f"nested deeper than {DEPTH_MAX}")
        try:
            if self._is_keyword("not"):
                self._at += 1
                return Not(self._factor())
            if self._is_sign("("):
                self._at += 1
                inner = self._expression()
                self._sign(")", "`)`")
                return inner
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> Comparison:
        first = self._next
        if first.kind is not TokenKind.WORD:
            raise self._unexpected(expected="a field, `not` or `(`")
        self._at += 1
        test, literals = self._test()
        mode, unknown = self._modifiers()
        text = self._slice(first, self._tokens[self._at - 1])
        return Comparison(first.text.lower(), test, literals, mode, unknown, first.place, text)

    def _test(self) -> tuple[str, tuple[Literal, ...]]:
        token = self._next
        self._at += 1
        if token.kind is TokenKind.SIGN and token.text in COMPARISONS:
            return token.text, (self._literal(),)
        if token.kind is TokenKind.KEYWORD and token.text == "in":
            return "in", self._list()
        if token.kind is TokenKind.KEYWORD and token.text == "not":
            self._keyword("in")
            return "not in", self._list()
        if token.kind is TokenKind.KEYWORD and token.text == "is":
            if not (self._is_keyword("known") or self._is_keyword("unknown")):
                raise self._unexpected(expected="`known` or `unknown`")
            self._at += 1
            return self._tokens[self._at - 1].text, ()
        self._at -= 1
        raise self._unexpected(expected="a comparison such as `>=`, `in`, `not in` or `is known`")

    def _list(self) -> tuple[Literal, ...]:
        self._sign("(", "`(`")
        literals = [self._literal()]
        while self._is_sign(","):
            self._at += 1
            if len(literals) == LIST_LENGTH_MAX:
                raise self._limit(what=f"a list longer than {LIST_LENGTH_MAX}")
            literals.append(self._literal())
        self._sign(")", "`,` or `)`")
        return tuple(literals)

    def _literal(self) -> Literal:
        token = self._next
        if token.kind not in {TokenKind.WORD, TokenKind.TEXT, TokenKind.AMOUNT}:
            raise self._unexpected(expected="a value such as `5%`, `$5bn`, `BBB+`, `yes` or a name")
        self._at += 1
        return Literal(token.text, token.kind, token.place)

    def _modifiers(self) -> tuple[Mode, UnknownPolicy]:
        """Read what follows a comparison; each kind of modifier at most once."""
        mode: Mode | None = None
        unknown: UnknownPolicy | None = None
        while self._next.kind is TokenKind.KEYWORD:
            word = self._next.text
            if word in set(Mode) and mode is None:
                mode = Mode(word)
                self._at += 1
            elif word == "unknown" and unknown is None:
                self._at += 1
                unknown = self._policy()
            elif word in set(Mode) or word == "unknown":
                raise self._unexpected(expected="each modifier once")
            else:
                break
        return mode or Mode.STRICT, unknown or UnknownPolicy.EXCLUDE

    def _policy(self) -> UnknownPolicy:
        token = self._next
        if token.kind is not TokenKind.KEYWORD or token.text not in set(UnknownPolicy):
            raise self._unexpected(expected="`exclude`, `allow` or `ask`")
        self._at += 1
        return UnknownPolicy(token.text)

    def _is_keyword(self, word: str) -> bool:
        return self._next.kind is TokenKind.KEYWORD and self._next.text == word

    def _is_sign(self, sign: str) -> bool:
        return self._next.kind is TokenKind.SIGN and self._next.text == sign

    def _keyword(self, word: str) -> None:
        if not self._is_keyword(word):
            raise self._unexpected(expected=f"`{word}`")
        self._at += 1

    def _sign(self, sign: str, expected: str) -> None:
        if not self._is_sign(sign):
            raise self._unexpected(expected)
        self._at += 1

    def _unexpected(self, expected: str) -> ScreenError:
        token = self._next
        found = "end of line" if token.text == "\n" else token.text
        return ScreenError.unexpected(token.place, found, expected)

    def _limit(self, what: str) -> ScreenError:
        return ScreenError(what, code="screen_too_long", place=self._next.place)

    def _slice(self, first: Token, last: Token) -> str:
        return " ".join(self._text[first.offset : last.end].split())
