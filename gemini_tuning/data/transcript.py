"""An example as Gemini reads it, for people: every turn, file, call and invisible character, and what is trained on.

What is shown is what is there. A zero-width space, a mark that turns the direction of writing, or a space at the end
of a line cannot be seen, and each of them is learnt; so they are written out: `⟦ZWSP⟧`, `⟦RLM⟧`, `⟦space⟧`. Words that
an instance instruction put around the user's own stand in `⟪ ⟫`. Where a text has one of these brackets itself, it is
written out too.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..display import escape, width
from ..types import Example, Instructions, Json, Part, Turn
from .tokens import example_tokens

HEAD, TAIL = 800, 400
"""Characters of a long text that are shown at its beginning and at its end."""
FIRST, LAST = 8, 6
"""Turns of a long conversation that are shown at its beginning and at its end."""
_COLUMN = 60

Kind = Literal["text", "injected", "other"]


@dataclass(frozen=True)
class Piece:
    """A stretch of one kind: the user's or model's `text`, `injected` instruction, or `other`: a file, a call."""

    kind: Kind
    text: str


@dataclass(frozen=True, kw_only=True)
class Block:
    """One thing that Gemini reads.

    Attributes:
        role: `system`, `tools`, `settings`, `user`, `model`, `function` or `references`.
        note: What becomes of it (`trained on`, `the target`, `preferred`, ...).
        pieces: What it says, shortened and written out.
        tokens: Estimated (see `data.tokens`); 0 for what is no token (settings, references).
    """

    role: str
    note: str = ""
    pieces: tuple[Piece, ...] = ()
    tokens: int = 0

    @property
    def text(self) -> str:
        """All of it, with injected instructions in brackets."""
        return "".join(f"⟪{piece.text}⟫" if piece.kind == "injected" else piece.text for piece in self.pieces)

    @property
    def heading(self) -> str:
        """Role and note."""
        return f"{self.role}, {self.note}" if self.note else self.role


@dataclass(frozen=True, kw_only=True, repr=False)
class Transcript:
    """What Gemini reads of one example, in order. `print` it, or let a notebook show it.

    Attributes:
        title: Where it comes from.
        blocks: What is read.
        tokens: Estimated tokens, everything read once.
        unsent: Columns of the row that stay here.
    """

    title: str
    blocks: tuple[Block, ...]
    tokens: int
    unsent: tuple[str, ...] = ()

    @property
    def _legend(self) -> list[str]:
        lines = []
        if any(piece.kind == "injected" for block in self.blocks for piece in block.pieces):
            lines.append("⟪ ⟫ the instruction around the user's own words")
        if self.unsent:
            lines.append(f"not sent: {', '.join(visible(name) for name in self.unsent)}")
        return lines

    def to_records(self) -> list[dict[str, Json]]:
        """A flat row for each block."""
        return [
            {"role": block.role, "note": block.note, "text": block.text, "tokens": block.tokens}
            for block in self.blocks
        ]

    def __str__(self) -> str:
        lines = [f"{self.title}: about {self.tokens:,} tokens"]
        for block in self.blocks:
            heading = f"{block.heading} "
            dots = "·" * max(2, _COLUMN - width(heading))
            lines.append(f"{heading}{dots} {block.tokens:,}" if block.tokens else heading.rstrip())
            lines += [f"  {line}" for line in block.text.split("\n")]
        return "\n".join([*lines, *self._legend])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        # Kinds differ by brackets and by the shape of the letters, never by colour: it reads in dark and in light.
        style = 'style="white-space:pre-wrap;overflow-wrap:anywhere;margin:0;text-align:start" dir="auto"'
        rows = "".join(
            f'<tr><th scope="row" style="text-align:left;vertical-align:top">{escape(block.role)}'
            f"{f'<br><small>{escape(block.note)}</small>' if block.note else ''}</th>"
            f'<td style="text-align:left;vertical-align:top"><pre {style}>{_html(block)}</pre></td>'
            f'<td style="vertical-align:top">{f"{block.tokens:,}" if block.tokens else ""}</td></tr>'
            for block in self.blocks
        )
        legend = "".join(f"<p><small>{escape(line)}</small></p>" for line in self._legend)
        names = ("role", "what Gemini reads", "tokens, about")
        head = "".join(f'<th scope="col" style="text-align:left">{name}</th>' for name in names)
        return (
            f'<table><caption style="text-align:left">{escape(self.title)}: about {self.tokens:,} tokens</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{legend}"
        )


class Preview(list[Example]):
    """Examples that show themselves as transcripts; else a list like any other."""

    def __repr__(self) -> str:
        return "\n\n".join(str(transcript(example)) for example in self) or "no examples"

    def _repr_html_(self) -> str:
        return "".join(transcript(example)._repr_html_() for example in self) or "<p>no examples</p>"


def transcript(example: Example, *, instructions: Instructions | None = None, full: bool = False) -> Transcript:
    """What Gemini reads of an example.

    Args:
        example: With its instructions applied, as it would be uploaded.
        instructions: What was applied. With it the instruction is told from the user's words exactly. Without it the
            user's words are looked for in their turn; where they stand twice, nothing is marked and the note says so.
        full: Show long texts and long conversations whole, and tools as JSON; else the middle is left out, with the
            number of characters or turns that are missing. The bytes of inline files are never shown.

    In supervised tuning every model turn is trained on; the last one is the target that evaluation compares with.
    Of a preference pair the answer with the higher score is preferred.
    """
    blocks = [*_heads(example, full), *_conversation(example, instructions, full), *_answers(example, full)]
    if example.references is not None:
        text = _shown(_pretty(example.references), full)
        blocks.append(Block(role="references", note="for the reward, not read", pieces=(Piece("other", text),)))
    made = f" ({visible(example.augmented)})" if example.augmented else ""
    return Transcript(
        title=f"{visible(str(example.where))}{made}",
        blocks=tuple(blocks),
        tokens=round(example_tokens(example)),
        unsent=tuple(name for name in example.meta if name != "generationConfig"),
    )


# --- what is read ----------------------------------------------------------------------------------------------------


def _heads(example: Example, full: bool) -> Iterator[Block]:
    if example.system is not None:
        tokens = round(example_tokens(Example(turns=(), system=example.system)))
        yield Block(role="system", pieces=(_said(example.system, full),), tokens=tokens)
    if example.tools is not None:
        tokens = round(example_tokens(Example(turns=(), tools=example.tools)))
        text = _pretty(example.tools) if full else "\n".join(_declared(json.loads(example.tools)))
        note = "" if full else "names only"
        yield Block(role="tools", note=note, pieces=(Piece("other", _shown(text, full)),), tokens=tokens)
    config = example.meta.get("generationConfig")
    if isinstance(config, Mapping) and config:
        text = "\n".join(f"{name}: {_compact(value)}" for name, value in config.items())
        yield Block(role="settings", pieces=(Piece("other", _shown(text, full)),))


def _conversation(example: Example, instructions: Instructions | None, full: bool) -> Iterator[Block]:
    turns = example.turns
    last_user = max((at for at, turn in enumerate(turns) if turn.role == "user"), default=-1)
    hidden = range(FIRST, len(turns) - LAST) if not full and len(turns) > FIRST + LAST + 1 else range(0)
    for at, turn in enumerate(turns):
        if at in hidden:
            if at == hidden.start:
                left = Piece("other", f"⟦{len(hidden):,} turns left out⟧")
                weight = round(sum(map(_weight, turns[hidden.start : hidden.stop])))
                yield Block(role="...", pieces=(left,), tokens=weight)
            continue
        note = ""
        if turn.role == "model" and not example.completions and example.references is None:
            note = "trained on: the target" if at == len(turns) - 1 else "trained on"
        pieces: tuple[Piece, ...] = ()
        if at == last_user and example.raw_input is not None:
            pieces, note = _marked(example, turn, instructions, full)
        yield Block(role=turn.role or "function", note=note, pieces=pieces or _pieces(turn, full), tokens=_tokens(turn))


def _answers(example: Example, full: bool) -> Iterator[Block]:
    best = max((each.score for each in example.completions), default=0.0)
    for each in sorted(example.completions, key=lambda each: -each.score):
        name = "preferred" if each.score == best else "the other answer"
        yield Block(
            role=each.turn.role or "model",
            note=f"{name} (score {each.score:g})",
            pieces=_pieces(each.turn, full),
            tokens=_tokens(each.turn),
        )


def _pieces(turn: Turn, full: bool) -> tuple[Piece, ...]:
    """The parts of a turn: texts follow each other as the model reads them, other parts get a line of their own."""
    found: list[Piece] = []
    for at, part in enumerate(turn.parts):
        if part.text is not None:
            found.append(_said(part.text, full))
        if part.other is not None:
            found.append(Piece("other", _shown(_described(part), full)))
        following = turn.parts[at + 1] if at + 1 < len(turn.parts) else None
        if following is not None and (part.other is not None or following.other is not None):
            found.append(Piece("other", "\n"))
    return tuple(found)


def _marked(
    example: Example, turn: Turn, instructions: Instructions | None, full: bool
) -> tuple[tuple[Piece, ...], str]:
    """The last user turn with the instruction told from the user's words, and a note where that cannot be told."""
    own = example.raw_input or ""
    text = turn.text
    spans = _by_template(instructions, own, example.meta, text) if instructions is not None else None
    if spans is None:
        if text == own:
            return (), ""
        if not own or text.count(own) != 1:
            return (), "with an instruction around it"
        before, _, after = text.partition(own)
        spans = [("injected", before), ("text", own), ("injected", after)]
    spans = [(kind, part) for kind, part in spans if part]
    files = [Piece("other", f"{visible(_described(part))}\n") for part in turn.parts if part.text is None]
    said = [
        Piece(kind, _shown(part, full, starts=at == 0, ends=at == len(spans) - 1))
        for at, (kind, part) in enumerate(spans)
    ]
    return (*files, *said), ""


def _by_template(
    instructions: Instructions, own: str, meta: Mapping[str, Json], text: str
) -> list[tuple[Kind, str]] | None:
    """The spans that the template makes, or None when it does not make this very text."""
    if instructions.each is None:
        return None
    spans: list[tuple[Kind, str]] = []
    end = 0
    for match in re.finditer(r"\{\{|\}\}|\{[^{}]*\}", instructions.each):
        spans.append(("injected", instructions.each[end : match.start()]))
        filled = Instructions(each=match.group()).fill(own, meta)
        spans.append(("text" if match.group() == "{input}" else "injected", filled))
        end = match.end()
    spans.append(("injected", instructions.each[end:]))
    if "".join(part for _, part in spans) != text:
        return None
    joined: list[tuple[Kind, str]] = []
    for kind, part in spans:
        if joined and joined[-1][0] == kind:
            joined[-1] = (kind, joined[-1][1] + part)
        else:
            joined.append((kind, part))
    return joined


def _said(text: str, full: bool) -> Piece:
    return Piece("text", _shown(text, full))


def _weight(turn: Turn) -> float:
    return example_tokens(Example(turns=(turn,)))


def _tokens(turn: Turn) -> int:
    return round(_weight(turn))


# --- parts that are no text ------------------------------------------------------------------------------------------


def _described(part: Part) -> str:
    """A part of another kind in words: its kind, what matters of it, and what stands beside it."""
    found: dict[str, Any] = json.loads(part.other or "{}")
    words: list[str] = []
    for kind in ("fileData", "inlineData", "functionCall", "functionResponse", "executableCode", "codeExecutionResult"):
        inside = found.pop(kind, None)
        if isinstance(inside, Mapping):
            words.append(_WORDS[kind](inside))
        elif inside is not None:
            words.append(f"{kind} {_compact(inside)}")
    video = found.pop("videoMetadata", None)
    if isinstance(video, Mapping):
        found.update(video)
    words += [f"{name} {_compact(value)}" for name, value in found.items()]
    return f"[{', '.join(words)}]"


def _inline(inside: Mapping[str, Any]) -> str:
    size = len(str(inside.get("data", ""))) * 3 // 4
    return f"inline file {inside.get('mimeType', 'without a MIME type')}, about {size:,} bytes"


_WORDS: dict[str, Any] = {
    "fileData": lambda inside: f"file {inside.get('mimeType', 'without a MIME type')} {inside.get('fileUri', '')}",
    "inlineData": _inline,
    "functionCall": lambda inside: f"call {inside.get('name', '')}({_compact(inside.get('args', {}))})",
    "functionResponse": lambda inside: f"result of {inside.get('name', '')}: {_compact(inside.get('response', {}))}",
    "executableCode": lambda inside: f"code in {inside.get('language', '')}:\n{inside.get('code', '')}",
    "codeExecutionResult": lambda inside: f"output, {inside.get('outcome', '')}:\n{inside.get('output', '')}",
}


def _declared(tools: Iterable[Any]) -> Iterator[str]:
    """`name(parameter, ...)` of each function; the name of any other tool."""
    for tool in tools:
        for kind, inside in tool.items() if isinstance(tool, Mapping) else ():
            if kind != "functionDeclarations" or not isinstance(inside, list):
                yield str(kind)
                continue
            for function in inside:
                schema = function.get("parameters") or function.get("parametersJsonSchema") or {}
                names = schema.get("properties") if isinstance(schema, Mapping) else None
                yield f"{function.get('name', '')}({', '.join(map(str, names or ()))})"


def _compact(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)


def _pretty(text: str) -> str:
    return json.dumps(json.loads(text), ensure_ascii=False, indent=1)


# --- characters ------------------------------------------------------------------------------------------------------

_NAMES = {
    "\t": "tab", "\r": "CR", "\0": "NUL", "\x1b": "ESC", "\xa0": "NBSP", "\xad": "SHY", "\u200b": "ZWSP",
    "\u200c": "ZWNJ", "\u200d": "ZWJ", "\u200e": "LRM", "\u200f": "RLM", "\u202a": "LRE", "\u202b": "RLE",
    "\u202c": "PDF", "\u202d": "LRO", "\u202e": "RLO", "\u2060": "WJ", "\u2066": "LRI", "\u2067": "RLI",
    "\u2068": "FSI", "\u2069": "PDI", "\ufeff": "BOM", "\u3000": "wide space",
}  # fmt: skip
# Drawn as nothing or as a gap, though Unicode calls them letters, marks or symbols. The two selectors that choose the
# picture of an emoji (FE0E, FE0F) are left alone: they stand behind half of all emoji.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_OURS = frozenset("⟦⟧⟪⟫")
_ODD = re.compile(r"[^\x21-\x7e\n ]")


def visible(text: str, *, starts: bool = True, ends: bool = True) -> str:
    """The text with every character that cannot be seen written out: `⟦ZWSP⟧`, `⟦U+E0041⟧`, `⟦3 spaces⟧`.

    Line breaks stay. Spaces are written out at the end of a line, and at the start and the end of the text when these
    are those of the whole.
    """
    text = _ODD.sub(lambda match: _written(match.group()), text)
    edges = (r"\A +|" if starts else "") + (r" +(?=\n|\Z)" if ends else r" +(?=\n)")
    return re.sub(edges, lambda match: _spaces(len(match.group())), text)


def _spaces(count: int) -> str:
    return "⟦space⟧" if count == 1 else f"⟦{count} spaces⟧"


def _written(char: str) -> str:
    if char in _NAMES:
        return f"⟦{_NAMES[char]}⟧"
    category = unicodedata.category(char)
    selector = "\ufe00" <= char <= "\ufe0d" or "\U000e0100" <= char <= "\U000e01ef"
    if category[0] in "CZ" or char in _BLANK or char in _OURS or selector:
        return f"⟦U+{ord(char):04X}⟧"
    return char


def _shown(text: str, full: bool, *, starts: bool = True, ends: bool = True) -> str:
    """The text written out; of a long one the beginning and the end."""
    left = len(text) - HEAD - TAIL
    if full or left <= TAIL:
        return visible(text, starts=starts, ends=ends)
    head = visible(text[:HEAD], starts=starts, ends=False)
    tail = visible(text[HEAD + left :], starts=False, ends=ends)
    return f"{head}⟦{left:,} characters left out⟧{tail}"


def _html(block: Block) -> str:
    return "".join(
        f"<em>⟪{escape(piece.text)}⟫</em>" if piece.kind == "injected"
        else f"<b>{escape(piece.text)}</b>" if piece.kind == "other"
        else escape(piece.text)
        for piece in block.pieces
    )  # fmt: skip
