"""A stream of blocks as physical lines, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from .opening import ROW_LIMIT

Blank = Callable[[int, int], None]
TooLong = Callable[[int, bytes], None]


def physical_lines(
    blocks: Iterable[bytes], *, blank: Blank | None, too_long: TooLong, limit: int = ROW_LIMIT
) -> Iterator[tuple[int, list[bytes], bytes]]:
    """Lists of lines without their line feeds: the 1-based number of the first line, the lines, and them in one piece.

    Only a line feed ends a line; U+2028 and others are text. An empty last line is none.

    Args:
        blocks: The bytes.
        blank: Gets the first line and the count where a whole block is white space; no list holds these lines. With
            None they are lines like others.
        too_long: Gets the number and the beginning of a line of more than `limit` bytes. When it returns, the line is
            passed over without being held.
        limit: In bytes.
    """
    number = 1
    held: list[bytes] = []
    size = 0
    skipping = False
    for block in blocks:
        cut = block.rfind(b"\n")
        if skipping:
            first = block.find(b"\n")
            if first < 0:
                continue
            block, cut, skipping = block[first + 1 :], cut - first - 1, False
            number += 1
        if blank is not None and not held and block.isspace():
            count = block.count(b"\n")
            if count:
                blank(number, count)
            number += count
            held, size = ([block[cut + 1 :]], len(block) - cut - 1) if cut + 1 < len(block) else ([], 0)
            continue
        if cut < 0:
            if block:
                held.append(block)
                size += len(block)
        else:
            held.append(block[:cut])
            content = b"".join(held)
            lines = content.split(b"\n")
            if len(lines[0]) > limit:
                too_long(number, lines[0][:200])
                content = content[len(lines[0]) + 1 :]
                lines = lines[1:]
                number += 1
            if lines:
                yield number, lines, content
            number += len(lines)
            held = [block[cut + 1 :]] if cut + 1 < len(block) else []
            size = len(block) - cut - 1
        if size > limit:
            too_long(number, b"".join(held)[:200])
            held, size, skipping = [], 0, True
    if held:
        last = b"".join(held)
        yield number, [last], last
