"""The quick ways for plain rows: two columns of text, and Gemini's turns of one text each, the model's last.

A line of Gemini's shape is decoded straight into structs that know nothing else: a field more, another kind of part, an
empty text, and the general way decides. So what is accepted here is what the general way accepts, with the same result
(a property test compares the two), in a tenth of its time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from ...types import Example, Json, Location, Part, Turn
from .gathering import Gathering
from .json_text import has_double_key, structural_quotes

__all__ = ["PlainReader", "read_pair"]

_SHARED = 4096
"""Different short answers and instructions of which one copy is kept: labels and system texts repeat."""
_SHORT = 64
_LARGE = 64 << 20
"""Bytes from which numpy is worth its import."""


class _Part(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    text: str


class _Turn(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    role: Literal["user", "model"]
    parts: tuple[_Part]


class _System(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    parts: tuple[_Part]
    role: str = ""


class _Line(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    contents: tuple[_Turn, ...]
    systemInstruction: _System | None = None
    system_instruction: _System | None = None


def read_pair(value: Json, line: bytes, number: int, gathering: Gathering) -> bool:
    """Adds a row that has the two named columns and nothing else, both of them texts; whether it was one."""
    if type(value) is not dict or len(value) != 2 or gathering.shape != "flat" or gathering.faulty:
        return False
    asked, answer = value.get(gathering.columns.input), value.get(gathering.columns.output)
    if type(asked) is not str or type(answer) is not str or not asked.strip() or not answer.strip():
        return False
    if structural_quotes(line) != 8:  # a key stands twice
        return False
    turns = (Turn("user", (Part(asked),)), Turn("model", (Part(answer),)))
    gathering.examples.append(Example(turns=turns, where=Location(gathering.name, number)))
    return True


class PlainReader:
    """Reads lines of Gemini's shape; those that are not plain go to `general`, which says whether it wants the next.

    To be made after the first row, which decides the shape of the file.
    """

    def __init__(self, gathering: Gathering, general: Callable[[bytes, int], bool]) -> None:
        self._to = gathering
        self._general = general
        self._decode = msgspec.json.Decoder(_Line).decode
        self._answers: dict[str, Turn] = {}
        self._systems: dict[str, str] = {}
        self._wanted = False
        self._seen = 0

    @staticmethod
    def fits(gathering: Gathering) -> bool:
        """Whether lines of this file may be plain."""
        columns = gathering.columns
        named = {columns.input, columns.output} & {"contents", "systemInstruction", "system_instruction"}
        return gathering.shape == "gemini" and not gathering.faulty and not named

    def read(self, first: int, lines: Sequence[bytes], content: bytes) -> None:
        """Reads lines that follow each other.

        Args:
            first: The number of the first one.
            lines: The lines.
            content: The same in one piece.
        """
        decode, turns_of, systems, name = self._decode, self._turns, self._systems, self._to.name
        add = self._to.examples.append
        wanted = self._wanted
        others: set[int] = set()
        expected = 0
        for number, line in enumerate(lines, first):
            if not wanted:
                try:
                    row = decode(line)
                except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                    pass
                else:
                    turns = turns_of(row.contents)
                    given = row.systemInstruction or row.system_instruction
                    if turns is not None and (given is None or None in (row.systemInstruction, row.system_instruction)):
                        expected += 2 + 10 * len(turns)
                        system = None
                        if given is not None:
                            expected += 12 if given.role else 8
                            system = given.parts[0].text
                            system = systems.get(system) or self._share(system)
                        add(Example(turns=turns, system=system, where=Location(name, number)))
                        continue
            others.add(number)
            expected += structural_quotes(line)
            wanted = self._general(line, number)
        self._wanted = wanted
        self._seen += len(content)
        if expected != structural_quotes(content, numpy=self._seen > _LARGE):
            # Some line has a key twice, or a null that is as good as nothing.
            for number, line in enumerate(lines, first):
                if number not in others and has_double_key(line):
                    self._to.note("duplicate-keys", number)

    def _turns(self, contents: tuple[_Turn, ...]) -> tuple[Turn, ...] | None:
        """The turns of a conversation that can be trained on as it is, or None."""
        turns = []
        asked = False
        role = ""
        for turn in contents:
            role, text = turn.role, turn.parts[0].text
            if not text or text.isspace():
                return None
            if role == "user":
                asked = True
                turns.append(Turn(role, (Part(text),)))
            elif len(text) > _SHORT:
                turns.append(Turn(role, (Part(text),)))
            else:
                turns.append(self._answers.get(text) or self._answer(text))
        return tuple(turns) if asked and role == "model" else None

    def _answer(self, text: str) -> Turn:
        turn = Turn("model", (Part(text),))
        if len(self._answers) < _SHARED:
            self._answers[text] = turn
        return turn

    def _share(self, system: str) -> str:
        if len(self._systems) < _SHARED:
            self._systems[system] = system
        return system
