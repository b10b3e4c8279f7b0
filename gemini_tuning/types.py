"""The values that every layer passes on: examples, data sets, prompts, replies, findings, tuned models.

All are immutable. Rows are msgspec structs, because a million of them matter; they cross files as JSON. What they hold
cannot point back at them, so the collector of reference cycles need not look at them (`gc=False`): that is a third of
the time of reading a million rows.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple, Protocol, overload

import msgspec

Json = Any
"""A value that JSON can hold."""


# --- places and findings -------------------------------------------------------------------------------------------


class Location(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Where in the user's own data something is.

    `line` is the 1-based physical line of a JSONL or CSV file, the 1-based record of a JSON array or of
    records in memory (then `file` is None).
    """

    file: str | None = None
    line: int | None = None
    field: str | None = None

    def __str__(self) -> str:
        number = "" if self.line is None else f"{'line' if self.file else 'record'} {self.line}"
        return ", ".join(part for part in (self.file or "", number, self.field or "") if part) or "records"


Severity = Literal["note", "warning", "stop"]


class Finding(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Something worth knowing about data or a training run: one shape for both.

    `where` holds the first 1,000 places and `count` says how many there are. `stop` means: money spent now is
    wasted. `details` carries evidence, strength, the change advised and what would refute it.
    """

    code: str
    severity: Severity
    message: str
    hint: str = ""
    where: tuple[Location, ...] = ()
    count: int = 0
    details: dict[str, Json] = {}

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(str(self))}</p>"

    def __str__(self) -> str:
        place = f" ({self.where[0]}{f' and {self.count - 1} more' if self.count > 1 else ''})" if self.where else ""
        hint = f" Hint: {self.hint}" if self.hint else ""
        return f"[{self.severity}] {self.code}: {self.message}{place}{hint}"


# --- examples ------------------------------------------------------------------------------------------------------


class Part(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One part of a turn: a text, or any other kind (`fileData`, `functionCall`, ...) as canonical JSON."""

    text: str | None = None
    other: str | None = None


class Turn(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One turn of a conversation. `role` is `"user"` or `"model"`; a function response has Google's `""`."""

    role: str
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """The text parts, joined; parts of other kinds are left out."""
        if len(self.parts) == 1:  # nearly every turn, and asked for many times a row
            return self.parts[0].text or ""
        return "".join(part.text for part in self.parts if part.text is not None)


class Completion(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One scored answer of a preference example."""

    score: float
    turn: Turn


def text_turn(role: str, text: str) -> Turn:
    """A turn of one text part."""
    return Turn(role, (Part(text=text),))


class Prompt(msgspec.Struct, frozen=True, omit_defaults=True):
    """Exactly what a model is sent: turns that end with the user's, the system instruction, the tools (JSON)."""

    turns: tuple[Turn, ...]
    system: str | None = None
    tools: str | None = None

    @property
    def text(self) -> str:
        """The text of the last turn."""
        return self.turns[-1].text if self.turns else ""


class Example(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """One example of what the model should do.

    Attributes:
        turns: The conversation; for supervised tuning the last turn is the model's and is the target.
        system: System instruction.
        tools: The `tools` list as canonical JSON.
        completions: Preference pairs.
        references: Named reference answers (reinforcement), as canonical JSON.
        origin: `<content hash>#<occurrence>` of the row that this example comes from. An augmented example
            keeps its parent's, so that no split can part them.
        where: Place in the user's data.
        meta: The row's other columns; not sent to the model, usable in instructions and slices.
        augmented: How it was made (`"paraphrase"`), or None for the user's own.
        raw_input: The input before the instance instruction was put around it, or None when there is none.
    """

    turns: tuple[Turn, ...]
    system: str | None = None
    tools: str | None = None
    completions: tuple[Completion, ...] = ()
    references: str | None = None
    origin: str = ""
    where: Location = Location()
    meta: dict[str, Json] = {}
    augmented: str | None = None
    raw_input: str | None = None

    @classmethod
    def of(
        cls, input: str, output: str, *, where: Location | None = None, meta: Mapping[str, Json] | None = None
    ) -> Example:
        """A single-turn example."""
        return cls(
            turns=(text_turn("user", input), text_turn("model", output)),
            where=where or Location(),
            meta=dict(meta or {}),
        )

    @property
    def _asked(self) -> tuple[Turn, ...]:
        return self.turns[:-1] if self.turns and self.turns[-1].role == "model" else self.turns

    @property
    def input(self) -> str:
        """The user's own text that is answered: the last user turn before the target, without instructions."""
        if self.raw_input is not None:
            return self.raw_input
        if len(self.turns) == 2 and self.turns[0].role == "user" and self.turns[1].role == "model":
            return self.turns[0].text
        return next((turn.text for turn in reversed(self._asked) if turn.role == "user"), "")

    @property
    def output(self) -> str:
        """The target: the text of the last turn when it is the model's, else the preferred completion, else `""`."""
        if self.turns and self.turns[-1].role == "model":
            return self.turns[-1].text
        best = max(self.completions, key=lambda completion: completion.score, default=None)
        return best.turn.text if best else ""

    @property
    def prompt(self) -> Prompt:
        """What the model is sent to answer this example."""
        return Prompt(self._asked, self.system, self.tools)

    @property
    def text(self) -> str:
        """Everything the user wrote before the target, without instructions: what duplicates are compared by."""
        if self.raw_input is None and len(self.turns) == 2 and self.turns[1].role == "model":
            return self.turns[0].text
        earlier = [turn.text for turn in self._asked]
        if self.raw_input is not None:
            last = max((at for at, turn in enumerate(self._asked) if turn.role == "user"), default=None)
            if last is not None:
                earlier[last] = self.raw_input
        return "\n".join(earlier)

    def content_hash(self) -> str:
        """16 hex digits over what is trained on (turns, system, tools, completions, references)."""
        content = (self.system, self.turns, self.tools, self.completions, self.references)
        return hashlib.sha256(_bytes(content)).hexdigest()[:16]

    def with_input(self, text: str) -> Example:
        """The same example with another text in the last user turn (parts of other kinds are kept)."""
        asked = self._asked
        last = max(at for at, turn in enumerate(asked) if turn.role == "user")
        others = tuple(part for part in asked[last].parts if part.text is None)
        turn = Turn("user", (*others, Part(text=text)))
        turns = (*self.turns[:last], turn, *self.turns[last + 1 :])
        return msgspec.structs.replace(self, turns=turns)

    def with_output(self, text: str) -> Example:
        """The same example with another text as its target: for a label that was wrong."""
        if not self.turns or self.turns[-1].role != "model":
            msg = "this example has no target: its last turn is not the model's"
            raise ValueError(msg)
        others = tuple(part for part in self.turns[-1].parts if part.text is None)
        turn = Turn("model", (*others, Part(text=text)))
        return msgspec.structs.replace(self, turns=(*self.turns[:-1], turn), origin="")

    def __repr__(self) -> str:
        lines = [("system", self.system)] if self.system else []
        lines += [
            (turn.role or "function", turn.text or f"{len(turn.parts)} parts without text") for turn in self.turns
        ]
        return "Example(" + ", ".join(f"{role}={text!r}" for role, text in lines) + ")"

    def to_record(self) -> dict[str, Json]:
        """A flat row: `input`, `output`, the other columns, and `augmented` when it was made."""
        row: dict[str, Json] = {**self.meta, "input": self.input, "output": self.output}
        if self.augmented:
            row["augmented"] = self.augmented
        return row


class Broken(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A row that cannot be used as it is, kept aside with the reason: `repair` mends it or says why it cannot.

    Attributes:
        where: Its place.
        code: As of the `DataError` that refuses it (`data-role`, `data-json`, ...).
        message: What is wrong, without the place.
        hint: What to do.
        raw: The row as text: the JSON of an object, or the line as it stands. Bytes that are not UTF-8 are written as
            `\\xNN`, and then `text` is False: such a row is for reading only and cannot be mended.
        text: Whether `raw` is the row's own text.
    """

    where: Location
    code: str
    message: str
    hint: str = ""
    raw: str = ""
    text: bool = True


class Dataset(Sequence[Example]):
    """An immutable list of examples that knows where it came from.

    Args:
        examples: The examples. Those without an `origin` get one when they are first looked at: content hash and
            occurrence.
        source: The file or object they came from, for messages and manifests.
        broken: Rows that could not be used, for `check` and `repair`; whoever trains on the data refuses them.
        notes: What reading met and passed over (a byte order mark, blank lines): for `check` to tell.
    """

    __slots__ = ("__dict__", "_given", "_named", "broken", "notes", "source")

    def __init__(
        self,
        examples: Iterable[Example] = (),
        *,
        source: str = "records",
        broken: Iterable[Broken] = (),
        notes: Iterable[Finding] = (),
    ) -> None:
        self._given: tuple[Example, ...] = tuple(examples)
        self._named = False
        self.source = source
        self.broken: tuple[Broken, ...] = tuple(broken)
        self.notes: tuple[Finding, ...] = tuple(notes)

    @property
    def given(self) -> tuple[Example, ...]:
        """The examples as they came; those that were never asked for as `examples` may have no `origin` yet."""
        return self._given

    @property
    def examples(self) -> tuple[Example, ...]:
        """The examples, each with its `origin`: hashed when first asked for, since reading alone does not need it."""
        if not self._named:
            self._given = with_origins(self._given)
            self._named = True
        return self._given

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> Dataset: ...
    def __getitem__(self, index: int | slice) -> Example | Dataset:
        if isinstance(index, slice):
            return Dataset(self.examples[index], source=self.source)
        return self.examples[index]

    def __len__(self) -> int:
        return len(self._given)

    def __iter__(self) -> Iterator[Example]:
        return iter(self.examples)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dataset) and self.examples == other.examples and self.broken == other.broken

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def replace(self, examples: Iterable[Example], *, broken: Iterable[Broken] = ()) -> Dataset:
        """Other examples from the same source."""
        return Dataset(examples, source=self.source, broken=broken)

    @cached_property
    def fingerprint(self) -> str:
        """64 hex digits that depend on the *set* of examples, not on their order.

        A query without ORDER BY gives the same rows in another order: the same data, so the same key, so no
        second bill.
        """
        digest = hashlib.sha256()
        for line in sorted(
            # Without the occurrence: which of two equal rows is the second depends on their order.
            _bytes((each.origin.partition("#")[0], each.augmented, each.content_hash(), each.meta))
            for each in self
        ):
            digest.update(line + b"\n")
        for line in sorted(_bytes((each.raw, each.code)) for each in self.broken):
            digest.update(b"broken" + line + b"\n")
        return digest.hexdigest()

    @cached_property
    def labels(self) -> dict[str, int]:
        """Outputs with their counts, most frequent first, then by name."""
        counts: dict[str, int] = {}
        for example in self:
            counts[example.output] = counts.get(example.output, 0) + 1
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def to_records(self) -> list[dict[str, Json]]:
        """Flat rows, one an example."""
        return [example.to_record() for example in self]

    def __repr__(self) -> str:
        kinds = len(self.labels)
        broken = f", {len(self.broken):,} broken rows" if self.broken else ""
        return f"Dataset({len(self):,} examples, {kinds:,} distinct outputs{broken}, from {self.source!r})"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(_short(example.input))}</td><td>{html.escape(_short(example.output))}</td></tr>"
            for example in self.examples[:5]
        )
        return (
            f"<p>{html.escape(repr(self))}</p><table><thead><tr><th scope='col'>input</th>"
            f"<th scope='col'>output</th></tr></thead><tbody>{rows}</tbody></table>"
        )


def _bytes(content: Any) -> bytes:
    """JSON for hashing; text that UTF-8 cannot hold (lone surrogates) is escaped here and refused by name later."""
    try:
        return msgspec.json.encode(content, order="sorted")
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(content), sort_keys=True).encode()


def _short(text: str, width: int = 120) -> str:
    text = "".join(char if char.isprintable() else "\ufffd" for char in text[: width + 1])
    return text if len(text) <= width else text[: width - 1] + "…"


def with_origins(examples: Iterable[Example]) -> tuple[Example, ...]:
    """Gives each example without an origin its own: content hash and occurrence within this list."""
    seen: dict[str, int] = {}
    result = []
    for example in examples:
        if not example.origin:
            content = example.content_hash()
            occurrence = seen.get(content, 0)
            seen[content] = occurrence + 1
            example = msgspec.structs.replace(example, origin=f"{content}#{occurrence}")
        result.append(example)
    return tuple(result)


# --- instructions --------------------------------------------------------------------------------------------------

_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


class Instructions(msgspec.Struct, frozen=True, omit_defaults=True):
    """A system instruction for all examples and an instance instruction for each.

    `each` is a template: `{input}` and the names of other columns in single braces, `{{` and `}}` for braces.
    It is filled in literally: no attribute, index, format or code is ever evaluated.
    """

    system: str | None = None
    each: str | None = None

    def fields(self) -> tuple[str, ...]:
        """The names that `each` uses, in order; raises ValueError for a lone brace or an empty name."""
        names = []
        for match in _PLACEHOLDER.finditer(self.each or ""):
            if match.group() in ("{{", "}}"):
                continue
            name = match.group(1)
            if not name or not name.strip():
                msg = f"a lone brace or an empty name at character {match.start()}; write {{{{ or }}}} for a brace"
                raise ValueError(msg)
            names.append(name)
        return tuple(names)

    def fill(self, input: str, meta: Mapping[str, Json]) -> str:
        """The user's text with the instance instruction around it; a column without a value gives `""`."""
        if self.each is None:
            return input

        def value(match: re.Match[str]) -> str:
            if match.group() in ("{{", "}}"):
                return match.group()[0]
            name = match.group(1)
            found = input if name == "input" else meta.get(name)
            return "" if found is None else str(found)

        return _PLACEHOLDER.sub(value, self.each)

    def apply(self, example: Example) -> Example:
        """The example as the model will read it. Applying twice is the same as once."""
        plain = example.input
        instructed = msgspec.structs.replace(example, system=self.system or example.system)
        if self.each is None or not plain:
            return instructed
        return msgspec.structs.replace(instructed.with_input(self.fill(plain, example.meta)), raw_input=plain)

    def prompt(self, text: str) -> Prompt:
        """What is sent for a new text."""
        return Prompt((text_turn("user", self.fill(text, {})),), self.system)


# --- calling models ------------------------------------------------------------------------------------------------


class Reply(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A model's answer.

    `text` is `""` when nothing came; then `finish` says why (`MAX_TOKENS`, `SAFETY`, ...). `finish` is Google's
    name of the finish reason, or `BLOCKED:<reason>` for a blocked prompt. Latency is in seconds, from sending
    to the whole answer, without waiting for retries. Token counts are None when the service gave none.
    """

    text: str
    finish: str = "STOP"
    latency: float = 0.0
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    thought_tokens: int | None = None
    attempts: int = 1


class Caller(Protocol):
    """Something that answers prompts: a base model or a tuned endpoint behind a backend."""

    @property
    def model(self) -> str:
        """The model or endpoint, as recorded."""
        ...

    @property
    def simulated(self) -> bool:
        """True when the answers come from the offline simulator."""
        ...

    async def generate(self, prompt: Prompt, *, schema: Mapping[str, Json] | None = None) -> Reply:
        """One answer at temperature 0. With `schema` (OpenAPI style) it is asked for as JSON.

        To be awaited on the backend's own loop. Raises `BackendError` when the call failed for good.
        """
        ...

    async def count_tokens(self, prompt: Prompt, *, media_resolution: str | None = None) -> int:
        """How many tokens the service reads in a prompt, system instruction and tools included; nothing is generated.

        The turns may end with the model's, so that a whole training example can be counted. Files are counted at
        `media_resolution` (`MEDIA_RESOLUTION_LOW`, ...), or at the service's default. The same rules as for
        `generate`.
        """
        ...

    def __call__(self, prompt: Prompt, *, schema: Mapping[str, Json] | None = None) -> Reply:
        """The same from ordinary code: waits for the answer."""
        ...


class Checkpoint(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A state of a tuned model during training, with an endpoint of its own."""

    id: str
    epoch: int | None = None
    step: int | None = None
    endpoint: str | None = None


@dataclass(frozen=True, kw_only=True)
class TunedModel:
    """A tuned model that can be called: `tuned("text")`.

    Attributes:
        endpoint: Full resource name; what requests are sent to.
        model: Full resource name of the model; what continuous tuning starts from.
        base_model: What it was tuned from.
        job: Resource name of the tuning job.
        key: The run's key in the ledger.
        checkpoints: States during training, each with an endpoint.
        instructions: What was trained with; applied to every text that is asked.
        simulated: True when the offline simulator made it.
        connect: Gives the caller of an endpoint; injected by the backend.
    """

    endpoint: str
    model: str
    base_model: str
    job: str
    key: str
    checkpoints: tuple[Checkpoint, ...] = ()
    instructions: Instructions = field(default_factory=Instructions)
    simulated: bool = False
    checkpoint: str | None = None
    connect: Callable[[str], Caller] = field(repr=False, compare=False)

    @property
    def caller(self) -> Caller:
        """What sends prompts to this model's endpoint."""
        return self.connect(self.endpoint)

    def prompt(self, text: str) -> Prompt:
        """Exactly what is sent for this text, instructions included."""
        return self.instructions.prompt(text)

    def __call__(self, text: str) -> str:
        """The model's answer; `""` when it gave none (`caller(prompt(text)).finish` says why)."""
        return self.caller(self.prompt(text)).text

    def at(self, checkpoint: str) -> TunedModel:
        """The model at one of its checkpoints; raises ValueError with the known ids."""
        found = next((each for each in self.checkpoints if each.id == checkpoint and each.endpoint), None)
        if found is None or found.endpoint is None:
            msg = f"no checkpoint {checkpoint!r} with an endpoint; there are {[each.id for each in self.checkpoints]}"
            raise ValueError(msg)
        return replace(self, endpoint=found.endpoint, checkpoint=found.id)

    def __repr__(self) -> str:
        mark = ", simulated" if self.simulated else ""
        return f"TunedModel({self.base_model} -> {self.endpoint}, {len(self.checkpoints)} checkpoints{mark})"


class Progress(NamedTuple):
    """What `progress=` callbacks get: `done` of `total` (None when unknown), and what is being done."""

    what: str
    done: int
    total: int | None
