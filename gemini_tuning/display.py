"""How results look: plain tables, escaped HTML without scripts or fixed colours, small SVG charts, one-file reports.

Everything that is shown may come from data, models or servers, so every text is escaped here, in one place.
"""

from __future__ import annotations

import html
import os
import secrets
import sys
import time
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol


class Step(Protocol):
    """What `progress=` callbacks get: `types.Progress`, of which this module knows the shape only."""

    @property
    def what(self) -> str: ...  # noqa: D102
    @property
    def done(self) -> int: ...  # noqa: D102
    @property
    def total(self) -> int | None: ...  # noqa: D102


class Job(Protocol):
    """What `on_update=` callbacks get: a `TuningJob`."""

    @property
    def view(self) -> Any: ...  # noqa: D102
    def describe(self) -> str: ...  # noqa: D102


class Showable(Protocol):
    """A result with an HTML form."""

    def _repr_html_(self) -> str: ...


def escape(text: object) -> str:
    """Text for HTML; control characters that HTML forbids become visible escapes."""
    clean = "".join(char if char in "\n\t" or char.isprintable() else f"\\x{ord(char):02x}" for char in str(text))
    return html.escape(clean, quote=True)


def width(text: str) -> int:
    """Columns that a text takes in a terminal: wide and full-width characters take two, marks none."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def shorten(text: object, columns: int) -> str:
    """One line of at most `columns` terminal columns, cut with an ellipsis."""
    line = " ".join(str(text).split())
    line = "".join(char if char.isprintable() else "�" for char in line)
    if width(line) <= columns:
        return line
    taken = 0
    for at, char in enumerate(line):
        taken += width(char)
        if taken > columns - 1:
            return line[:at] + "…"
    return line


def counted(n: int, one: str, many: str | None = None) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def short_name(resource: str) -> str:
    """`endpoints/7` of `projects/p/locations/l/endpoints/7`; a short name stays."""
    return "/".join(resource.split("/")[-2:]) if resource.startswith("projects/") else resource


def table(header: Sequence[object], rows: Iterable[Sequence[object]], *, max_width: int = 60) -> str:
    """A plain-text table; numbers are set right, everything else left."""
    cells = [[shorten(cell, max_width) for cell in row] for row in rows]
    heads = [str(cell) for cell in header]
    columns = list(zip(heads, *cells, strict=True)) if cells else [(head,) for head in heads]
    widths = [max(width(cell) for cell in column) for column in columns]
    right = [bool(column[1:]) and all(_is_number(cell) for cell in column[1:]) for column in columns]

    def line(row: Sequence[str]) -> str:
        padded = [
            " " * (size - width(cell)) + cell if to_right else cell + " " * (size - width(cell))
            for cell, size, to_right in zip(row, widths, right, strict=True)
        ]
        return "  ".join(padded).rstrip()

    return "\n".join([line(heads), "  ".join("-" * size for size in widths), *(line(row) for row in cells)])


def _is_number(cell: str) -> bool:
    return not cell or cell[0] in "+-.0123456789" or cell == "–"


def html_table(header: Sequence[object], rows: Iterable[Sequence[object]], *, caption: str = "") -> str:
    """An escaped HTML table with column and row headers for screen readers."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "".join(
        "<tr>"
        + "".join(
            f'<th scope="row">{escape(cell)}</th>' if at == 0 else f"<td>{escape(cell)}</td>"
            for at, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def details(summary: object, inner_html: str) -> str:
    """A part that opens on a click, without a script. `inner_html` is HTML already."""
    return f"<details><summary>{escape(summary)}</summary>{inner_html}</details>"


def paragraph(text: object) -> str:
    """An escaped paragraph."""
    return f"<p>{escape(text)}</p>"


class Series(NamedTuple):
    """One line of a chart: x and y of equal length, points in order of x."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


_DASHES = ("", "6 4", "2 3", "8 3 2 3")


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str,
    y_label: str,
    message: str = "",
    size: tuple[int, int] = (460, 240),
) -> str:
    """An inline SVG line chart in the colour of the text around it, so it reads in dark and in light.

    Lines differ by dash and by a label at their end, never by colour alone. `message` says in words what the
    picture shows, for those who cannot see it. Non-finite points are left out.
    """
    points = [
        (each.name, [(x, y) for x, y in zip(each.x, each.y, strict=True) if abs(x) < 1e300 and abs(y) < 1e300])
        for each in series
    ]
    points = [(name, line) for name, line in points if line]
    if not points:
        return paragraph(f"{title}: no points yet")
    across, high = size
    left, right, top, bottom = 46, 96, 26, 38
    xs = [x for _, line in points for x, _ in line]
    ys = [y for _, line in points for _, y in line]
    x0, x1, y0, y1 = min(xs), max(xs), min(0.0, *ys), max(ys)
    x_span, y_span = (x1 - x0) or 1.0, (y1 - y0) or 1.0

    def px(x: float) -> float:
        return left + (x - x0) / x_span * (across - left - right)

    def py(y: float) -> float:
        return high - bottom - (y - y0) / y_span * (high - top - bottom)

    parts = [
        f'<svg role="img" viewBox="0 0 {across} {high}" width="{across}" height="{high}" '
        'xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="11" fill="currentColor">',
        f"<title>{escape(title)}</title><desc>{escape(message or title)}</desc>",
        f'<text x="{left}" y="14" font-weight="bold">{escape(title)}</text>',
        f'<path d="M{left} {top}V{high - bottom}H{across - right}" fill="none" stroke="currentColor" opacity=".5"/>',
    ]
    for tick in range(5):
        value = y0 + y_span * tick / 4
        parts.append(f'<text x="{left - 6}" y="{py(value) + 4:.1f}" text-anchor="end">{_tick(value)}</text>')
        at = x0 + x_span * tick / 4
        parts.append(f'<text x="{px(at):.1f}" y="{high - bottom + 14}" text-anchor="middle">{_tick(at)}</text>')
    parts.append(
        f'<text x="{(left + across - right) / 2:.0f}" y="{high - 6}" text-anchor="middle">{escape(x_label)}</text>'
        f'<text transform="translate(11 {(top + high - bottom) / 2:.0f}) rotate(-90)" text-anchor="middle">'
        f"{escape(y_label)}</text>"
    )
    taken: list[float] = []
    for at, (name, line) in enumerate(points):
        path = "M" + "L".join(f"{px(x):.1f} {py(y):.1f}" for x, y in line)
        dash = f' stroke-dasharray="{_DASHES[at % len(_DASHES)]}"' if _DASHES[at % len(_DASHES)] else ""
        parts.append(f'<path d="{path}" fill="none" stroke="currentColor" stroke-width="{2 if at else 1}"{dash}/>')
        label = py(line[-1][1]) + 4
        label = min(label, high - bottom - 4)  # clear of the numbers under the axis
        while any(abs(label - other) < 13 for other in taken):
            label -= 13  # two lines that end together: their labels one above the other
        taken.append(label)
        parts.append(f'<text x="{across - right + 6}" y="{label:.1f}">{escape(name)}</text>')
    return "".join(parts) + "</svg>"


def _tick(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


_BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], columns: int = 40) -> str:
    """A curve in one line of text: the mean of each stretch, from its lowest to its highest value."""
    finite = [value for value in values if abs(value) < 1e300]
    if not finite:
        return ""
    count = min(columns, len(finite))
    means = []
    for at in range(count):
        chunk = finite[at * len(finite) // count : (at + 1) * len(finite) // count]
        means.append(sum(chunk) / len(chunk))
    low, high = min(means), max(means)
    return "".join(_BARS[int((mean - low) / (high - low) * 7) if high > low else 0] for mean in means)


_STYLE = """
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;margin:.6rem 0}
caption{text-align:left;font-weight:600;padding:.2rem 0}
th,td{border-bottom:1px solid;border-color:color-mix(in srgb,currentColor 25%,transparent);
padding:.25rem .7rem .25rem 0;text-align:left;vertical-align:top;font-variant-numeric:tabular-nums;
overflow-wrap:anywhere;min-width:5.2rem}
th[scope=col]{white-space:nowrap}th[scope=row]{font-weight:normal}section{overflow-x:auto}
details{margin:.4rem 0}summary{cursor:pointer}svg{max-width:100%;height:auto}
@media print{details:not([open])>*{display:block}}
"""


def page(title: str, sections: Iterable[tuple[str, Showable]]) -> str:
    """One offline HTML page: no script, no external address, readable in dark and light, printable."""
    body = "".join(f"<section><h2>{escape(name)}</h2>{result._repr_html_()}</section>" for name, result in sections)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{escape(title)}</h1>{body}</body></html>\n"
    )


def save_html(path: str | os.PathLike[str], *results: Showable, title: str = "gemini_tuning report") -> Path:
    """Writes any results as one HTML file, in the order given, and returns its path.

    The file appears whole or not at all.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    text = page(title, [(_heading(result), result) for result in results])
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return target


def _heading(result: object) -> str:
    """What the result calls itself, or `EvalReport` -> `Eval report`."""
    own = getattr(result, "heading", None)
    if isinstance(own, str):
        return own
    name = type(result).__name__
    return "".join(f" {char.lower()}" if char.isupper() and at else char for at, char in enumerate(name))


class Bars:
    """Progress bars (tqdm) for whatever takes longer than two seconds; plain lines when nobody watches a terminal.

    Pass `bars.update` as `progress=` and `bars.job` as `on_update=`. Use it as a context manager.
    """

    def __init__(self, *, delay: float = 2.0) -> None:
        self._delay = delay
        self._bar: Any = None
        self._what = ""
        self._said = time.monotonic()

    def update(self, progress: Step) -> None:
        """Shows `done` of `total` of one piece of work."""
        if progress.what != self._what:
            self._end()
            self._what = progress.what
        if progress.total is None:
            return
        self._show(progress.what, progress.done, progress.total)
        if progress.done >= progress.total:
            self._end()

    def job(self, job: Job) -> None:
        """Shows the steps of a tuning job."""
        view = job.view
        if view.steps and not view.ended_for_good:
            self._show(job.describe().split(",")[0], view.steps_done or 0, view.steps)
        elif view.ended_for_good:
            self._end()

    def _show(self, what: str, done: int, total: int) -> None:
        if not sys.stderr.isatty():
            # A log file keeps every redraw of a bar, so it gets a line every few seconds.
            now = time.monotonic()
            if now - self._said > 5:
                self._said = now
                print(f"  {what}: {done:,} of {total:,}", file=sys.stderr, flush=True)  # noqa: T201
            return
        from tqdm import tqdm  # a tenth of a second, and only for those who watch

        if self._bar is None:
            self._bar = tqdm(total=total, desc=what, delay=self._delay, leave=False, ascii=" #")
        self._bar.set_description(what, refresh=False)
        self._bar.update(done - self._bar.n)

    def _end(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        self._what = ""

    def __enter__(self) -> Bars:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
