"""Tables, charts and pages."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from gemini_tuning.display import Series, html_table, line_chart, page, save_html, shorten, sparkline, table, width

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\x1b[31m\u202e"


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}


class Result:
    def _repr_html_(self) -> str:
        return html_table((EVIL,), [(EVIL,)], caption=EVIL) + line_chart(
            [Series(EVIL, [1, 2], [3, 4])], title=EVIL, x_label=EVIL, y_label=EVIL, message=EVIL
        )


def test_no_text_becomes_markup(tmp_path: Path) -> None:
    """Whatever stands in a cell, a title or a label."""
    tags = Tags()
    text = save_html(tmp_path / "deep" / "r.html", Result(), title=EVIL).read_text(encoding="utf-8")
    tags.feed(text)
    assert not tags.seen & {"script", "img", "iframe", "link", "object"}
    assert not {name for name in tags.attributes if name.startswith("on")}
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in text
    assert "\x1b" not in text
    assert [each.name for each in (tmp_path / "deep").iterdir()] == ["r.html"]


@given(st.lists(st.lists(st.text(), min_size=2, max_size=2), max_size=5))
def test_tables_hold_any_text(rows: list[list[str]]) -> None:
    """One line a row, whatever the text."""
    lines = table(("a", "b"), rows).split("\n")
    assert len(lines) == len(rows) + 2


@given(st.text(), st.integers(1, 30))
def test_shortening_keeps_to_the_width(text: str, columns: int) -> None:
    """Chinese characters take two columns."""
    assert width(shorten(text, columns)) <= max(columns, 1)


def test_chinese_columns_line_up() -> None:
    """Cells are padded by columns, not by characters."""
    lines = table(("意图", "n"), [("天气/查询", "1"), ("a", "20")]).split("\n")
    assert len({width(line) for line in lines}) == 1


@given(st.lists(st.floats(), max_size=20))
def test_charts_and_sparklines_take_any_numbers(values: list[float]) -> None:
    """Also NaN, infinities, one point and none."""
    chart = line_chart([Series("s", range(len(values)), values)], title="t", x_label="x", y_label="y")
    assert "nan" not in chart
    assert "inf" not in chart
    assert len(sparkline(values)) <= 40


def test_a_page_is_whole_and_offline() -> None:
    """With a policy that forbids everything but its own style."""
    text = page("t", [("Result", Result())])
    assert text.startswith("<!doctype html>")
    assert "default-src 'none'" in text
