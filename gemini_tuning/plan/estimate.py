"""What a job will be and cost, before it is bought."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from ..display import html_table
from ..recipes.presets import Recipe


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a job will be and cost, as far as it can be known before.

    Attributes:
        examples: Training examples.
        tokens: Tokens of one epoch, as a range: counted by a heuristic.
        recipe: The settings and their reason.
        price: USD per million training tokens, or None when not published.
        price_source: Where the price is from.
        simulated: Whether the backend is the simulator (then it costs nothing); None without a backend.
        basis: What was counted.
    """

    examples: int
    tokens: tuple[int, int]
    recipe: Recipe
    price: float | None
    price_source: str
    simulated: bool | None
    basis: str

    @property
    def cost(self) -> tuple[float, float] | None:
        """USD for all epochs as a range; None when the price is unknown or the service chooses the epochs."""
        if self.price is None or self.recipe.epochs is None:
            return None
        low, high = (count * self.recipe.epochs * self.price / 1e6 for count in self.tokens)
        return low, high

    def _rows(self) -> list[tuple[str, str]]:
        if self.simulated:
            cost = "nothing: the offline simulator"
        elif self.cost is not None:
            cost = f"USD {self.cost[0]:,.2f} to {self.cost[1]:,.2f} at USD {self.price:g} per million tokens"
        elif self.price is not None:
            low, high = (count * self.price / 1e6 for count in self.tokens)
            cost = f"USD {low:,.2f} to {high:,.2f} an epoch; the service chooses how many"
        else:
            cost = "unknown: no price is published for this model"
        rows = [
            ("examples", f"{self.examples:,} ({self.basis})"),
            ("tokens an epoch", f"{self.tokens[0]:,} to {self.tokens[1]:,} (estimated)"),
            ("recipe", self.recipe.describe()),
            ("why", self.recipe.why),
            ("cost", cost),
        ]
        rows += [("caveat", self.recipe.caveat)] if self.recipe.caveat else []
        rows += [("price from", self.price_source)] if self.price_source and not self.simulated else []
        return rows

    def __repr__(self) -> str:
        lines = []
        for name, text in self._rows():
            lines += textwrap.wrap(text, 100, initial_indent=f"{name:<17}", subsequent_indent=" " * 17)
        return "\n".join(["Estimate", *lines])

    def _repr_html_(self) -> str:
        return html_table(("estimate", ""), self._rows())
