"""Cuts a screen's text into tokens that remember their place."""

import re
from dataclasses import dataclass
from enum import StrEnum

from baskets.errors import Place, ScreenError

TEXT_LENGTH_MAX = 20_000
"""Longer texts are refused before any work is done on them."""

WORD_LENGTH_MAX = 120


class TokenKind(StrEnum):
    """What a token is."""

    KEYWORD = "keyword"
    WORD = "word"
    TEXT = "text"
    AMOUNT = "amount"
    SIGN = "sign"
    END_STATEMENT = "end of statement"
    END = "end"


KEYWORDS = frozenset(
    [
        "exclude",
        "require",
        "tilt",
        "by",
        "and",
        "or",
        "not",
        "in",
        "is",
        "known",
        "unknown",
        "strict",
        "lenient",
        "allow",
        "ask",
    ]
)
"""Reserved; a company or field of such a name is written in quotes."""


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of text and where it starts; keywords are lower case."""

    kind: TokenKind
    text: str
    place: Place
    offset: int

    @property
    def end(self) -> int:
        """Return the offset just behind the token."""
        quotes = 2 if self.kind is TokenKind.TEXT else 0
        return self.offset + len(self.text) + quotes


_PIECES = re.compile(
    r"(?P<space>[ \t\r]+)"
    r"|(?P<comment>#[^\n]*)"
    r"|(?P<line>[\n;])"
    r'|"(?P<text>[^"\n]*)"'
    r"|(?P<amount>[+-]?\$?\d+(?:\.\d+)?(?:%|tn|bn|m|k)?(?![\w.]))"
    r"|(?P<word>[A-Za-z_]\w*(?:\.\w+)*(?:[+-](?![\w$]))?)"
    r"|(?P<sign><=|>=|!=|=|<|>|\(|\)|,)",
    re.ASCII,
)


def tokens_of(text: str) -> list[Token]:
    """Return the tokens of a screen; line ends inside parentheses do not end a statement.

    Raises:
        ScreenError: At the first character that belongs to no token, or if the text is too long.
    """
    if len(text) > TEXT_LENGTH_MAX:
        message = f"the screen has {len(text)} characters, at most {TEXT_LENGTH_MAX} are read"
        raise ScreenError(
            message,
            code="screen_too_long",
            place=Place(1, 1),
        )
    tokens: list[Token] = []
    at, line, line_start, depth = 0, 1, 0, 0
    while at < len(text):
        place = Place(line, at - line_start + 1)
        piece = _PIECES.match(text, at)
        if piece is None:
            raise ScreenError.unexpected(place, _shown(text[at]), "a word, a number or a sign")
        token = _token(piece, place)
        if token is not None:
            depth += {"(": 1, ")": -1}.get(token.text, 0) if token.kind is TokenKind.SIGN else 0
            if token.kind is not TokenKind.END_STATEMENT or token.text == ";" or depth <= 0:
                tokens.append(token)
        if piece["line"] == "\n":
            line, line_start = line + 1, piece.end()
        at = piece.end()
    tokens.append(Token(TokenKind.END, "", Place(line, at - line_start + 1), at))
    return tokens


def _token(piece: re.Match[str], place: Place) -> Token | None:
    """Return the token of a match, None for blanks and comments."""
    group = piece.lastgroup or ""
    text = piece[group]
    if group in {"space", "comment"}:
        return None
    if group in {"word", "text"} and len(text) > WORD_LENGTH_MAX:
        message = f"a word has {len(text)} letters, at most {WORD_LENGTH_MAX} are read"
        raise ScreenError(
            message,
            code="screen_too_long",
            place=place,
        )
    if group == "word" and text.lower() in KEYWORDS:
        return Token(TokenKind.KEYWORD, text.lower(), place, piece.start())
    kind = TokenKind.END_STATEMENT if group == "line" else TokenKind(group)
    return Token(kind, text, place, piece.start())


def _shown(character: str) -> str:
    """Return a character as it may be printed in an error."""
    return character if character.isprintable() else f"U+{ord(character):04X}"
