"""What a job will be and cost, before it is bought: ranges where a number is estimated, words where it is unknown."""

from __future__ import annotations

import datetime
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..display import html_table
from ..errors import PlanError
from ..models import AS_OF, TUNED_FACTOR_NOTE, Method, Price, find
from ..recipes.presets import Recipe
from ..types import Example, Json
from .counting import Counts
from .tokens import count_files, error_band, output_tokens, prompt_tokens, training_tokens

Range = tuple[float, float]

_STALE = 180
"""Days after which a price is called old."""

_STEPS = "steps: the service chooses the size of a batch and publishes none; a running job says how many steps it has"
_EPOCHS = "epochs: the service chooses them by the size of the data and publishes no formula"
_VALIDATION = "validation tokens: no page says whether they are billed; they are not in the cost"
_LONGER = "answers while evaluating are taken to be as long as the references; a base model may write more, or think"
_METHODS: dict[Method, str] = {
    "reinforcement": "tokens trained: Google publishes no formula for reinforcement tuning; samples add to it",
    "distillation": "tokens trained: Google publishes no formula for distillation; the teacher's answers add to it",
}


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a job will be and cost, as far as it can be known before. Made by `Estimate.of`.

    Money is in USD. A range is (low, high). None means unknown, and `unknown` says why; it never means free.

    Attributes:
        examples: Training examples.
        tokens: Tokens of one epoch: what the service would count as one pass over the training file.
        recipe: The settings and their reason.
        price: USD per million training tokens.
        price_source: Where prices are from.
        simulated: Whether the backend is the simulator (then it costs nothing); None without a backend.
        basis: How the tokens were counted.
        scope: Which rows were counted.
        method: Way of tuning.
        validation_examples: Examples that are validated on.
        error: How far off `tokens` may be, as a share, by the mix of scripts; None where the service counted.
        trained_tokens: Tokens of all epochs, by the rule of the method.
        evaluated: Examples of one pass of evaluation: of the test part, else of the validation part.
        evaluation: What that pass costs with the base model.
        tuned_evaluation: The same with the tuned one.
        price_as_of: The day on which the prices were read.
        unknown: What is not known, in words.
    """

    examples: int
    tokens: tuple[int, int]
    recipe: Recipe
    price: float | None
    price_source: str
    simulated: bool | None
    basis: str
    scope: str = ""
    method: Method = "supervised"
    validation_examples: int = 0
    error: float | None = None
    trained_tokens: tuple[int, int] | None = None
    evaluated: int = 0
    evaluation: Range | None = None
    tuned_evaluation: Range | None = None
    price_as_of: str = AS_OF
    unknown: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        train: Sequence[Example],
        validation: Sequence[Example] = (),
        *,
        recipe: Recipe,
        test: Sequence[Example] = (),
        method: Method = "supervised",
        prices: Price | None = None,
        counts: Counts | None = None,
        simulated: bool | None = None,
        scope: str = "",
        today: datetime.date | None = None,
    ) -> Estimate:
        """Looks at data and a recipe; nothing is sent.

        Args:
            train: Training examples, instructions included.
            validation: Validation examples.
            recipe: What the job is sent; names the model.
            test: What evaluation asks; the validation part when empty.
            method: Way of tuning.
            prices: The caller's own; a price that is None there is taken from the table of models.
            counts: What the service counted for `train` (see `count`); without it tokens are estimated here.
            simulated: Whether the backend is the simulator.
            scope: Words about which rows these are.
            today: For the age of a price; the clock's day when None.

        Raises:
            PlanError: The counts are of other data, or of the simulator for a job that costs money.
        """
        given: object = prices
        if given is not None and not isinstance(given, Price):
            hint = "from gemini_tuning.models import Price; Price(training=5.0, source='our contract')"
            raise PlanError.bad_value("estimate", "prices", prices, "a Price, in USD per million tokens", hint=hint)
        band = error_band(train)
        if counts is None:
            weights = training_tokens(train)
            total = sum(weights)
            tokens = round(total * (1 - band)), round(total * (1 + band))
            basis = f"estimated without the tokenizer, ±{band:.0%}"
        else:
            _check_counts(counts, train, simulated)
            tokens, basis = counts.tokens, counts.describe()
        price, words = _price(recipe.model, prices, today or datetime.date.today())
        trained = None
        if method not in _METHODS and recipe.epochs is not None:
            trained = tokens[0] * recipe.epochs, tokens[1] * recipe.epochs
        asked = list(test or validation)
        factor = 1.0 if price.tuned_factor is None else price.tuned_factor
        base = _pass(asked, price, counts.ratio if counts is not None else 1.0)
        made = cls(
            examples=len(train),
            tokens=tokens,
            recipe=recipe,
            price=price.training,
            price_source=words,
            simulated=simulated,
            basis=basis,
            scope=scope,
            method=method,
            validation_examples=len(validation),
            error=None if counts is not None else band,
            trained_tokens=trained,
            evaluated=len(asked),
            evaluation=base,
            tuned_evaluation=None if base is None else (base[0] * factor, base[1] * factor),
            price_as_of=price.as_of,
        )
        assumed = (prices is None or prices.tuned_factor is None) and factor != 1
        return replace(made, unknown=tuple(made._not_known(train, counts, assumed)))

    def _not_known(self, train: Sequence[Example], counts: Counts | None, assumed: bool) -> list[str]:
        files = count_files(train)
        notes = [
            _METHODS.get(self.method),
            _EPOCHS if self.recipe.epochs is None else None,
            f"{_STEPS}{self._most_steps}",
            f"price: none is published for training {self.recipe.model}" if self.price is None else None,
            f"files: {files:,}, whose tokens are guessed without looking at them; the range does not cover that, "
            "and the service can count them"
            if files and counts is None
            else None,
            f"files: {files:,}; for files the service's own count is an estimate too" if files and counts else None,
            _VALIDATION if self.validation_examples else None,
        ]
        if self.evaluated and self.evaluation is None:
            notes.append(f"price: none is known for asking {self.recipe.model}, so not for an evaluation either")
        if self.evaluation is not None and not self.simulated:
            notes += [_LONGER, TUNED_FACTOR_NOTE if assumed else None]
        return [note for note in notes if note]

    @property
    def _most_steps(self) -> str:
        if self.recipe.epochs is None or self.method in _METHODS:
            return ""
        return f" (at most {self.examples * self.recipe.epochs:,}, one for each example and epoch)"

    @property
    def cost(self) -> Range | None:
        """USD of training as a range; None when the price, the epochs or the rule of the method is unknown."""
        if self.price is None or self.recipe.epochs is None or self.method in _METHODS:
            return None
        low, high = self.epoch_cost or (0.0, 0.0)
        return low * self.recipe.epochs, high * self.recipe.epochs

    @property
    def epoch_cost(self) -> Range | None:
        """USD of one epoch as a range; None when the price or the rule of the method is unknown."""
        if self.price is None or self.method in _METHODS:
            return None
        low, high = self.tokens
        return low * self.price / 1e6, high * self.price / 1e6

    def to_records(self) -> list[dict[str, Json]]:
        """One flat row: numbers only where they are known."""
        row: dict[str, Json] = {
            "examples": self.examples,
            "validation_examples": self.validation_examples,
            "model": self.recipe.model,
            "method": self.method,
            **self.recipe.settings(),
            "basis": self.basis,
            "price": self.price,
            "price_as_of": self.price_as_of,
            "evaluated": self.evaluated,
            "simulated": self.simulated,
            "unknown": list(self.unknown),
        }
        for name, value in (
            ("tokens", self.tokens),
            ("trained_tokens", self.trained_tokens),
            ("epoch_cost", self.epoch_cost),
            ("cost", self.cost),
            ("evaluation", self.evaluation),
            ("tuned_evaluation", self.tuned_evaluation),
        ):
            row[f"{name}_low"], row[f"{name}_high"] = value or (None, None)
        return [row]

    def _rows(self) -> list[tuple[str, str]]:
        scope = f" ({self.scope})" if self.scope else ""
        rows = [
            ("examples", f"{self.examples:,}{scope}"),
            ("validated on", f"{self.validation_examples:,} examples" if self.validation_examples else ""),
            ("tokens an epoch", f"{_span(self.tokens)} ({self.basis})"),
            ("method", "" if self.method == "supervised" else self.method),
            ("recipe", self.recipe.describe()),
            ("why", self.recipe.why),
            ("caveat", self.recipe.caveat),
            ("tokens trained", _span(self.trained_tokens) if self.trained_tokens else ""),
            ("cost", self._cost_words()),
            ("one evaluation", self._evaluation_words()),
        ]
        rows += [("unknown", note) for note in self.unknown]
        rows.append(("prices from", f"{self.price_source} (as of {self.price_as_of})"))
        hidden = {"prices from"} if self.simulated or not self.price_source else set()
        return [(name, text) for name, text in rows if text and name not in hidden]

    def _cost_words(self) -> str:
        if self.simulated:
            return "nothing: the offline simulator"
        if self.cost is not None:
            return f"{_usd(self.cost)} at USD {self.price:g} per million tokens"
        if self.epoch_cost is not None:
            return f"{_usd(self.epoch_cost)} an epoch at USD {self.price:g} per million tokens"
        return "unknown"

    def _evaluation_words(self) -> str:
        if self.simulated or self.evaluation is None or self.tuned_evaluation is None:
            return ""
        base, tuned = _usd(self.evaluation), _usd(self.tuned_evaluation)
        both = f"{base} with the base model or the tuned one"
        words = both if base == tuned else f"{base} with the base model, {tuned} with the tuned one"
        return f"{words} ({self.evaluated:,} questions)"

    def __repr__(self) -> str:
        lines = []
        for name, text in self._rows():
            lines += textwrap.wrap(text, 100, initial_indent=f"{name:<17}", subsequent_indent=" " * 17)
        return "\n".join(["Estimate", *lines])

    def _repr_html_(self) -> str:
        return html_table(("estimate", ""), self._rows())


def _check_counts(counts: Counts, train: Sequence[Example], simulated: bool | None) -> None:
    if counts.examples != len(train):
        raise PlanError.bad_value(
            "estimate", "counts", counts, f"counts of these {len(train):,} examples", hint="count them again."
        )
    if counts.simulated and simulated is False:
        raise PlanError.bad_value(
            "estimate", "counts", counts, "counts of the service", hint="the simulator's tokens are not Gemini's."
        )


def _price(model: str, own: Price | None, today: datetime.date) -> tuple[Price, str]:
    """What tokens cost, and the words about where that is from."""
    known = find(model)
    table = known.price if known is not None else Price()
    if own is None:
        return table, _dated(table, today)
    merged = replace(
        own,
        training=table.training if own.training is None else own.training,
        input=table.input if own.input is None else own.input,
        output=table.output if own.output is None else own.output,
        tuned_factor=table.tuned_factor if own.tuned_factor is None else own.tuned_factor,
    )
    words = own.source or "given by the caller"
    borrowed = [
        name
        for name in ("training", "input", "output")
        if getattr(own, name) is None and getattr(table, name) is not None
    ]
    if borrowed:
        words = f"{words}; {' and '.join(borrowed)} from the table: {table.source}"
    return merged, _dated(replace(merged, source=words), today)


def _dated(price: Price, today: datetime.date) -> str:
    try:
        age = (today - datetime.date.fromisoformat(price.as_of)).days
    except ValueError:
        return price.source
    old = f"; {age:,} days old: look at your own price list" if age > _STALE else ""
    return f"{price.source}{old}" if price.source else ""


def _pass(asked: Sequence[Example], price: Price, ratio: float) -> Range | None:
    """USD of asking every example once and getting answers as long as the references."""
    if not asked or price.input is None or price.output is None:
        return None
    middle = ratio * (sum(prompt_tokens(asked)) * price.input + output_tokens(asked) * price.output) / 1e6
    band = error_band(asked)
    return middle * (1 - band), middle * (1 + band)


def _span(tokens: tuple[int, int]) -> str:
    low, high = tokens
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _usd(cost: Range) -> str:
    low, high = (f"{value:,.2f}" for value in cost)
    if high == "0.00":
        return "less than USD 0.01"
    return f"USD {low}" if low == high else f"USD {low} to {high}"
