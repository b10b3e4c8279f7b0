"""What finding personal data gives: pieces of texts, each of a kind."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias, get_args

_Known = Literal["email", "phone", "card", "iban", "resident_id", "ssn", "ip", "secret"]

Kind: TypeAlias = _Known | str
"""What is found here, or a kind of a detector's own (`person`)."""

KINDS: tuple[str, ...] = get_args(_Known)


class Span(NamedTuple):
    """A piece of a text, in code points: `text[start:end]`."""

    start: int
    end: int
    kind: str
