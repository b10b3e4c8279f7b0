"""What every route shares: requests, replies, Google-style errors, routes, filters and pages.

Google's services read JSON by the proto3 rules, so both `camelCase` and `snake_case` keys are accepted in request
bodies (the clients do leak snake_case) and int64 values leave as JSON strings.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

if TYPE_CHECKING:
    from .faults import Fault

__all__ = [
    "ApiError",
    "Request",
    "Response",
    "Route",
    "camelize",
    "filter_terms",
    "json_response",
    "listed",
    "matches",
    "numeric_id",
    "page",
    "page_response",
    "parse_filter",
    "project_number",
    "resource_name",
    "route",
    "sse",
    "timestamp",
]

_T = TypeVar("_T")

PROJECT_NUMBER = "123456789012"
"""The project number in names, whatever project id the client sends: one emulator is one project."""

_STATUS_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    412: "FAILED_PRECONDITION",
    416: "OUT_OF_RANGE",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}

# Keys whose values are the user's own: what is below them is data, not field names. In a schema's maps only the
# first keys are (the names of properties).
_FREE = frozenset({"labels", "args", "response", "metadata", "trafficSplit", "references"})
_SCHEMA_MAPS = frozenset({"properties", "defs", "$defs"})


class ApiError(Exception):
    """An error reply in Google's shape; `status` is the google.rpc name, guessed from the HTTP code when left out."""

    def __init__(self, code: int, message: str, status: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status or _STATUS_NAMES.get(code, "UNKNOWN")
        self.retry_after = retry_after

    def response(self) -> Response:
        """The reply, with a `Retry-After` header when one was asked for."""
        error = {"code": self.code, "message": self.message, "status": self.status}
        headers = {} if self.retry_after is None else {"Retry-After": f"{self.retry_after:g}"}
        return json_response({"error": error}, self.code, headers)


@dataclass(frozen=True)
class Request:
    """One HTTP request, read completely; `path` is still percent-encoded, header names are lower case."""

    method: str
    path: str
    query: Mapping[str, Sequence[str]]
    headers: Mapping[str, str]
    body: bytes
    base: str
    faults: tuple[Fault, ...] = ()

    def one(self, name: str, default: str = "") -> str:
        """The first value of a query parameter, in either spelling."""
        for spelling in (name, _snake(name)):
            if values := self.query.get(spelling):
                return values[0]
        return default

    def many(self, name: str) -> list[str]:
        """All the values of a query parameter, in either spelling."""
        return [*self.query.get(name, ()), *(self.query.get(_snake(name), ()) if _snake(name) != name else ())]

    def number(self, name: str, default: int) -> int:
        """A query parameter as an int; 400 when it is none."""
        text = self.one(name)
        if not text:
            return default
        try:
            return int(text)
        except ValueError:
            raise ApiError(400, f"Invalid value at '{name}' (TYPE_INT32), {text!r}") from None

    def json(self) -> dict[str, Any]:
        """The body as an object with camelCase keys; an empty body is an empty object."""
        if not self.body.strip():
            return {}
        try:
            parsed = json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise ApiError(400, f"Invalid JSON payload received. {error}") from None
        if not isinstance(parsed, dict):
            raise ApiError(400, "Invalid JSON payload received. Expected an object.")
        body: dict[str, Any] = camelize(parsed)
        return body


@dataclass(frozen=True)
class Response:
    """One HTTP reply; `events` (when there are any) are sent one by one as server-sent events."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    events: tuple[bytes, ...] | None = None


Handler = Callable[[Request, Mapping[str, str]], Response]


@dataclass(frozen=True)
class Route:
    """A method and a path pattern with the function that answers."""

    method: str
    pattern: re.Pattern[str]
    handler: Handler

    def match(self, request: Request) -> dict[str, str] | None:
        """The decoded path parameters, or None when this route is for other requests."""
        if request.method != self.method:
            return None
        found = self.pattern.fullmatch(request.path)
        return None if found is None else {key: unquote(value or "") for key, value in found.groupdict().items()}


# `ui` is the version that google-genai's own tests use. A version that does not exist is a 404, as it should be.
_VERTEX = r"/(?P<version>v1|v1beta1|ui)/projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+)"


def route(method: str, template: str, handler: Handler) -> Route:
    """A route from a template: `{vertex}` is `/v1/projects/P/locations/L`, `{name}` one segment without a colon."""
    pattern = re.sub(r"\{(\w+)\}", lambda m: _VERTEX if m[1] == "vertex" else f"(?P<{m[1]}>[^/:]+)", template)
    return Route(method, re.compile(pattern), handler)


def json_response(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON reply with Google's content type."""
    body = json.dumps(value, ensure_ascii=False).encode()
    return Response(status, body, {"Content-Type": "application/json; charset=UTF-8", **(headers or {})})


def camelize(value: Any) -> Any:
    """The value with snake_case keys turned into camelCase, leaving the user's own maps (labels ...) alone."""
    if isinstance(value, dict):
        return {(new := _camel(str(key))): _below(new, item) for key, item in value.items()}
    if isinstance(value, list):
        return [camelize(item) for item in value]
    return value


def _below(key: str, value: Any) -> Any:
    if key in _FREE:
        return value
    if key in _SCHEMA_MAPS and isinstance(value, dict):
        return {name: camelize(item) for name, item in value.items()}
    return camelize(value)


def _camel(key: str) -> str:
    return re.sub(r"(?<=[a-z0-9])_([a-z0-9])", lambda m: m[1].upper(), key)


def _snake(key: str) -> str:
    return re.sub(r"[A-Z]", lambda m: "_" + m[0].lower(), key)


def timestamp(moment: datetime | None = None) -> str:
    """A time as Google writes it, in UTC with microseconds."""
    return (moment or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def numeric_id(*parts: str) -> str:
    """A 19-digit id that depends on the parts alone, so that repeating a step after a crash gives the same name."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return str(10**18 + int.from_bytes(digest[:8], "big") % (8 * 10**18))


def project_number(project: str) -> str:
    """The number used in names: the one the client sent when it is a number, else the emulator's own."""
    return project if project.isdigit() else PROJECT_NUMBER


def resource_name(record: Mapping[str, Any], kind: str, identity: str) -> str:
    """The full name of a resource from its record."""
    return f"projects/{record['project']}/locations/{record['location']}/{kind}/{identity}"


# --- filters ---------------------------------------------------------------------------------------------------

_TERM = re.compile(
    r"""\s*(?P<field>[A-Za-z_][\w./-]*)\s*(?P<op>!=|>=|<=|=|:|>|<)\s*(?P<value>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s"'()]+)"""
)
Term = tuple[str, str, str]


def filter_terms(request: Request) -> list[Term]:
    """The terms of a list call's `filter`."""
    return [term for text in request.many("filter") for term in parse_filter(text)]


def parse_filter(text: str) -> list[Term]:
    """The terms of a filter such as `state="X" AND labels.k=v`; 400 for anything but terms joined by AND.

    A list call is where a client looks for the job that it may have paid for already, so a filter that is not
    understood must never be taken for one that matches nothing (or everything).
    """
    terms: list[Term] = []
    position = 0
    while text[position:].strip():
        if terms:
            joined = re.compile(r"\s+(?:AND\s+)?").match(text, position)
            position = joined.end() if joined else position
        found = _TERM.match(text, position)
        if found is None:
            raise ApiError(400, f"Invalid filter: could not parse {text[position:]!r} in {text!r}.")
        value = found["value"]
        if value[0] in "\"'":
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        terms.append((found["field"], found["op"], value))
        position = found.end()
    return terms


def matches(terms: Iterable[Term], item: Mapping[str, Any], fields: Sequence[str]) -> bool:
    """Whether a resource fits all the terms; a field outside `fields` (and `labels`) is a 400."""
    return all(_holds(term, item, fields) for term in terms)


def _holds(term: Term, item: Mapping[str, Any], fields: Sequence[str]) -> bool:
    name, operator, wanted = term
    head, _, key = name.partition(".")
    if head == "labels":
        labels = item.get("labels") or {}
        if not key:  # `labels:key`
            return wanted in labels
        found = labels.get(key.strip('"'))
        if wanted == "*":
            return found is not None
    elif (camel := _camel(name)) in fields:
        found = item.get(camel)
        if isinstance(found, list):
            return (wanted in found) != (operator == "!=")
    else:
        raise ApiError(400, f"Invalid filter: the field {name!r} cannot be filtered on; known: labels.KEY, {fields}.")
    text = "" if found is None else str(found)
    match operator:
        case "=":
            return found is not None and text == wanted
        case "!=":
            return text != wanted
        case ":":
            return wanted in text
        case ">" | ">=" | "<" | "<=":
            less, equal = text < wanted, text == wanted
            return {">": not less and not equal, ">=": not less, "<": less, "<=": less or equal}[operator]
    return False


# --- pages -----------------------------------------------------------------------------------------------------


def page(
    request: Request, items: Sequence[_T], key: Callable[[_T], str], *, size: int = 100, most: int = 1000
) -> tuple[list[_T], str]:
    """One page of items sorted by descending `key`, and the token of the next ("" on the last page).

    The token names the last item seen, not a position: items created meanwhile shift nothing.
    """
    wanted = request.number("pageSize", size) or size
    if wanted < 0:
        raise ApiError(400, f"Invalid page size: {wanted}. It must not be negative.")
    count = min(wanted, most)
    ordered = sorted(items, key=key, reverse=True)
    if token := request.one("pageToken"):
        try:
            last = base64.urlsafe_b64decode(token.encode()).decode()
        except ValueError:
            raise ApiError(400, f"Invalid page token: {token!r}.") from None
        ordered = [item for item in ordered if key(item) < last]
    chosen = ordered[:count]
    more = len(ordered) > count
    return chosen, base64.urlsafe_b64encode(key(chosen[-1]).encode()).decode() if more else ""


def page_response(key: str, items: Sequence[object], token: str) -> Response:
    """The answer of a list call; what is empty is left out, as protobuf's JSON does."""
    return json_response({**({key: items} if items else {}), **({"nextPageToken": token} if token else {})})


def listed(request: Request, key: str, items: Sequence[Mapping[str, Any]]) -> Response:
    """One page of resources, newest first, as the answer of a list call."""
    return page_response(key, *page(request, items, lambda item: f"{item.get('createTime', '')}|{item['name']}"))


def sse(values: Iterable[object]) -> Iterator[bytes]:
    """Values as server-sent events, the way the service writes them."""
    for value in values:
        yield b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\r\n\r\n"
