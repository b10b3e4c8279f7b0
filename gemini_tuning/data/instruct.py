"""A system instruction for all examples and an instance instruction around each: both together work best."""

from __future__ import annotations

from difflib import get_close_matches

from ..errors import PlanError
from ..types import Dataset, Instructions


def instruct(dataset: Dataset, *, system: str | None = None, each: str | None = None) -> Dataset:
    """The examples as the model will read them.

    Args:
        dataset: Examples; their targets and their own texts (`Example.input`) stay as they are.
        system: System instruction for all; None leaves each example's own.
        each: Template around each input: `{input}` (required, or the user's text would be lost) and the names of other
            columns in single braces; `{{` and `}}` are braces. A column without a value in a row gives `""`.

    Doing it again replaces the instructions and never nests them.

    Raises:
        PlanError: a lone brace, a name that is no column of any row, a template without `{input}`.
    """
    instructions = Instructions(system=system, each=each)
    if each is not None:
        check_template(each, {name for example in dataset for name in example.meta})
    return dataset.replace(instructions.apply(example) for example in dataset)


def check_template(each: str, columns: set[str]) -> None:
    """Raises PlanError when the template cannot be filled from `input` and these columns."""
    try:
        fields = Instructions(each=each).fields()
    except ValueError as error:
        raise PlanError.bad_value("instruct", "each", each, "a template", hint=str(error)) from error
    known = ["input", *sorted(columns - {"input"})]
    for field in fields:
        if field not in known:
            near = get_close_matches(field, known, n=1)
            guess = f"Did you mean {{{near[0]}}}? " if near else ""
            raise PlanError.bad_value(
                "instruct", "each", each, f"only names of columns; {{{field}}} is none",
                hint=f"{guess}The columns are {', '.join(known)}; for a brace write {{{{ or }}}}.",
            )  # fmt: skip
    if "input" not in fields:
        raise PlanError.bad_value(
            "instruct", "each", each, "{input} in the template, which is where the user's text goes",
            hint=f"for example: {each.rstrip()} {{input}}",
        )  # fmt: skip
