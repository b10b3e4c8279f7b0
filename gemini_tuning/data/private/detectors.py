"""Finders of personal data that are not part of this library: what they must do, and Presidio as one of them.

Names and addresses have no form that a pattern could know; a model finds them. Such a model runs elsewhere: next to the
data (Presidio), or as a service (Cloud DLP). `redact(detector=...)` takes anything that has the one method.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import pydantic

from ...backend.address import is_loopback
from ...errors import PlanError
from .spans import Span

__all__ = ["Detector", "Presidio", "presidio"]

_KINDS = {
    "EMAIL_ADDRESS": "email", "PHONE_NUMBER": "phone", "CREDIT_CARD": "card", "IBAN_CODE": "iban", "IP_ADDRESS": "ip",
    "US_SSN": "ssn",
}  # fmt: skip
"""Presidio's name -> ours, so that both finders' values share their numbers; others are the name in lower case."""


class Detector(Protocol):
    """Finds personal data in texts.

    `name` and `version` say which detector it is: a new version may find other things, so they belong to what is
    recorded. `detect` gives, for each text, spans in code points (`text[start:end]`) with a lower-case kind
    (`person`). They may overlap and come in any order.
    """

    @property
    def name(self) -> str:
        """What it is, without spaces."""
        ...

    @property
    def version(self) -> str:
        """Changes when its answers may."""
        ...

    def detect(self, texts: Sequence[str]) -> Sequence[Sequence[Span]]:
        """One list of spans for each text, in their order."""
        ...


class Presidio(pydantic.BaseModel, frozen=True, extra="forbid"):
    """A Presidio analyzer that runs somewhere, through its REST API (`/analyze`, one text a request).

    Attributes:
        url: Where it runs: on this machine, or over https.
        language: Of the texts; the analyzer must have been started with a model for it.
        entities: Presidio's names (`"PERSON"`, `"LOCATION"`); None is all that it knows, dates and web addresses
            among them.
        score: Finds below this confidence are left out, 0 to 1.
        timeout: Seconds for one request.
        concurrency: Requests at the same time.
        allow_http: Whether texts may go over a network without encryption.
    """

    kind: Literal["presidio"] = "presidio"
    url: str = "http://localhost:5002"
    language: str = pydantic.Field(default="en", min_length=1)
    entities: tuple[str, ...] | None = None
    score: float = pydantic.Field(default=0.5, ge=0, le=1)
    timeout: float = pydantic.Field(default=30.0, gt=0, le=600)
    concurrency: int = pydantic.Field(default=8, ge=1, le=64)
    allow_http: bool = False

    @pydantic.model_validator(mode="after")
    def _safe(self) -> Presidio:
        problem = _wrong_address(self.url, self.allow_http)
        if problem:
            raise ValueError(problem)
        if self.entities is not None and not self.entities:
            raise ValueError("entities must name at least one, or be None for all")
        return self

    @property
    def name(self) -> str:
        """`presidio`."""
        return "presidio"

    @property
    def version(self) -> str:
        """Of this adapter. Which models the server has is not known here."""
        return "1"

    def detect(self, texts: Sequence[str]) -> list[list[Span]]:
        """What the analyzer finds in each text; a text without any content is not sent.

        Raises:
            BackendError: the analyzer cannot be reached, refused, or gave what is no answer. No message of it has
                any of the texts.
        """
        from ...backend.presidio import analyze  # a plan that names a detector needs no network code

        sent = [text for text in texts if text.strip()]
        answers = iter(
            analyze(
                self.url, sent, language=self.language, entities=self.entities, score=self.score,
                timeout=self.timeout, concurrency=self.concurrency,
            )
        )  # fmt: skip
        return [
            [Span(start, end, _KINDS.get(entity, entity.lower())) for entity, start, end in next(answers)]
            if text.strip() else []
            for text in texts
        ]  # fmt: skip


def presidio(
    url: str = "http://localhost:5002",
    *,
    language: str = "en",
    entities: Sequence[str] | None = None,
    score: float = 0.5,
    timeout: float = 30.0,
    concurrency: int = 8,
    allow_http: bool = False,
) -> Presidio:
    """A Presidio analyzer for `redact(detector=...)`; see `Presidio` for the arguments.

    Raises:
        PlanError: an argument that can never work, such as an address that would send texts unencrypted.
    """
    try:
        return Presidio(
            url=url, language=language, entities=None if entities is None else tuple(entities), score=score,
            timeout=timeout, concurrency=concurrency, allow_http=allow_http,
        )  # fmt: skip
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        argument = str(first["loc"][0]) if first["loc"] else "url"
        value = {"url": url, "language": language, "entities": entities, "score": score, "timeout": timeout,
                 "concurrency": concurrency, "allow_http": allow_http}[argument]  # fmt: skip
        raise PlanError.bad_value("presidio", argument, value, first["msg"].removeprefix("Value error, ")) from error


def _wrong_address(url: str, allow_http: bool) -> str:
    """What an address must be when this one is none, or an empty text."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "an address such as http://localhost:5002"
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        return "an address such as http://localhost:5002"
    if parts.username or parts.password:
        return "an address without a login: it is written into plans"
    if parts.scheme == "http" and not is_loopback(url) and not allow_http:
        return "https, since the texts go to another machine (or allow_http=True)"
    return ""
