import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_tuning.data import FilterReport, from_records, instruct, keep, sample
from gemini_tuning.errors import DataError, PlanError
from gemini_tuning.types import Dataset

DATA = from_records(
    [{"input": f"text {n}", "output": "ab"[n % 2], "channel": "mail" if n % 3 else None} for n in range(20)]
)


def test_instructions_go_around_the_text_and_leave_it():
    """The model reads the template filled in; the user's own text, target and origin stay."""
    done = instruct(DATA, system="Be brief.", each="Intent via {channel} {{x}}: {input}")
    assert done[1].prompt.text == "Intent via mail {x}: text 1"
    assert done[0].prompt.text == "Intent via  {x}: text 0"
    assert (done[1].system, done[1].input, done[1].output) == ("Be brief.", "text 1", "b")
    assert [each.origin for each in done] == [each.origin for each in DATA]


@given(system=st.none() | st.text(), each=st.sampled_from([None, "Q: {input}", "{input}{input}", "{channel}: {input}"]))
def test_instructing_twice_is_instructing_once(system, each):
    """Instructions replace earlier ones and never nest."""
    once = instruct(DATA, system=system, each=each)
    assert instruct(once, system=system, each=each) == once


@pytest.mark.parametrize("each", ["{inptu}", "{input} {nope}", "{", "{input} }", "{}", "{ }", "no place", ""])
def test_templates_that_cannot_work_are_refused(each):
    """An unknown name, a lone brace or a template that would lose the text is refused, with the columns."""
    with pytest.raises(PlanError) as caught:
        instruct(DATA, each=each)
    assert "instruct" in str(caught.value)
    if "inptu" in each:
        assert "{input}" in caught.value.hint
        assert "channel" in caught.value.hint


@given(order=st.permutations(range(20)), n=st.integers(1, 25), seed=st.integers(0, 3))
def test_a_sample_depends_on_the_set(order, n, seed):
    """The same rows are chosen in any order, in the input's order, and a larger sample holds the smaller."""
    chosen = sample(DATA, n, seed=seed)
    shuffled = Dataset([DATA[row] for row in order])
    assert {each.origin for each in sample(shuffled, n, seed=seed)} == {each.origin for each in chosen}
    assert list(chosen) == [each for each in DATA if each in chosen.examples]
    assert len(chosen) == min(n, 20)
    assert {each.origin for each in chosen} <= {each.origin for each in sample(DATA, n + 1, seed=seed)}


@pytest.mark.parametrize("n", [0, -1, 1.5, True, None])
def test_sample_sizes_that_cannot_work(n):
    """A sample has a whole number of rows."""
    with pytest.raises(PlanError, match="sample"):
        sample(DATA, n)


def test_keep_lists_what_it_dropped():
    """A filter gives the rows it kept and, in its report, every row that went."""
    kept, report = keep(DATA, lambda example: example.output == "a", name="only a")
    assert (len(kept), report.kept, len(report.dropped), report.ratio) == (10, 10, 10, 0.5)
    assert msgspec.json.decode(msgspec.json.encode(report), type=FilterReport) == report
    assert "only a" in repr(report)
    assert "text 1" in report._repr_html_()
    assert report.to_records()[0]["where"] == "record 2"


def test_a_filter_that_raises_names_the_row():
    """An error in the user's function is told with its row, and is the cause."""
    with pytest.raises(DataError, match="KeyError") as caught:
        keep(DATA, lambda example: example.meta["nope"])
    assert caught.value.line == 1
    assert isinstance(caught.value.__cause__, KeyError)
