"""Training curves as a value: loss and fraction of correct next-step predictions, for training and validation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from ..display import Series, line_chart, sparkline

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SeriesName = Literal["train_loss", "eval_loss", "train_accuracy", "eval_accuracy"]
_NAMES: tuple[SeriesName, ...] = ("train_loss", "eval_loss", "train_accuracy", "eval_accuracy")


class Point(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One step; what was not measured there is None. A non-finite value is kept: it is a finding."""

    step: int
    epoch: float | None = None
    train_loss: float | None = None
    eval_loss: float | None = None
    train_accuracy: float | None = None
    eval_accuracy: float | None = None


class Curves(msgspec.Struct, frozen=True, kw_only=True):
    """The points of a run, by step, each step once."""

    points: tuple[Point, ...]
    simulated: bool = False

    @classmethod
    def from_records(cls, rows: Iterable[Mapping[str, Any]], *, simulated: bool = False) -> Curves:
        """From rows with `step` and any of the series.

        A row without a step takes its place in the list, from 1. Rows of one step are merged; where a restart
        wrote a value twice, the later one counts. `None` and missing mean "not measured".
        """
        merged: dict[int, dict[str, Any]] = {}
        for at, row in enumerate(rows, start=1):
            step = row.get("step")
            number = int(step) if step is not None else at
            into = merged.setdefault(number, {"step": number})
            for name in ("epoch", *_NAMES):
                value = row.get(name)
                if value is not None:
                    into[name] = float(value)
        return cls(points=tuple(Point(**merged[step]) for step in sorted(merged)), simulated=simulated)

    def series(self, name: SeriesName) -> Series:
        """Steps and values of one series, where it was measured."""
        known = [(point.step, value) for point in self.points if (value := getattr(point, name)) is not None]
        return Series(name.replace("_", " "), [step for step, _ in known], [value for _, value in known])

    def to_records(self) -> list[dict[str, Any]]:
        """One row a step."""
        return [msgspec.to_builtins(point) for point in self.points]

    def summary(self) -> str:
        """First and last values in words: also the text of the picture for those who cannot see it."""
        parts = []
        for name in _NAMES:
            values = self.series(name).y
            if values:
                parts.append(f"{name.replace('_', ' ')} {values[0]:.3g} -> {values[-1]:.3g}")
        return "; ".join(parts) or "no points yet"

    def __repr__(self) -> str:
        mark = "simulated, " if self.simulated else ""
        lines = [f"Curves({mark}{len(self.points)} steps)"]
        for name in _NAMES:
            values = self.series(name).y
            if values:
                lines.append(f"  {name:<15}{sparkline(values)}  {values[0]:.3f} -> {values[-1]:.3f}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return self._chart("loss", "total loss") + self._chart("accuracy", "fraction of correct next-step predictions")

    def _chart(self, kind: Literal["loss", "accuracy"], label: str) -> str:
        names: tuple[SeriesName, SeriesName] = (
            ("train_loss", "eval_loss") if kind == "loss" else ("train_accuracy", "eval_accuracy")
        )
        lines = [self.series(name) for name in names]
        mark = " (simulated)" if self.simulated else ""
        return line_chart(lines, title=label + mark, x_label="step", y_label=kind, message=self.summary())

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draws the losses with matplotlib (extra `viz`) and returns the axes."""
        try:
            import matplotlib.pyplot as plt  # seconds, and only for those who plot
        except ImportError as error:
            from ..errors import ConfigError

            what = "Curves.plot"
            raise ConfigError.missing_extra(what, "matplotlib", "viz") from error
        axes = ax if ax is not None else plt.subplots()[1]
        for name, style in (("train_loss", "-"), ("eval_loss", "--")):
            line = self.series(name)  # type: ignore[arg-type]
            if line.y:
                axes.plot(line.x, line.y, style, label=line.name)
        axes.set(xlabel="step", ylabel="total loss", title="simulated" if self.simulated else "")
        axes.legend()
        return axes


def finite(values: Iterable[float]) -> list[float]:
    """The finite ones."""
    return [value for value in values if math.isfinite(value)]
