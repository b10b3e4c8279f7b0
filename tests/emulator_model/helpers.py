"""Small labelled data and one call that trains on it."""

import random
from dataclasses import dataclass

from gemini_tuning.emulator.learner import Checkpoint, train
from gemini_tuning.emulator.values import Point, Prompt, Row, Settings
from gemini_tuning.emulator.weights import Weights

TOPICS = {
    "shipping/track": ["parcel", "package", "courier", "delivery", "tracking number"],
    "billing/refund": ["refund", "money back", "charged twice", "wrong amount", "invoice"],
    "account_login": ["password", "login", "two factor code", "locked out", "username"],
    "app-crash": ["crash", "frozen screen", "error message", "blank page", "bug"],
    "card_lost": ["lost card", "stolen card", "missing card", "card gone", "block my card"],
    "物流查询": ["包裹", "快递", "物流", "派送", "签收"],
}
_FRAMES = [
    "Hello, there is something about the {} again",
    "My {} is a problem since {n} days",
    "please check {}",
    "why is {} not working? order {n}",
    "I have a question on {}",
    "{} {n} help",
    "关于{}，请帮忙{n}",
]


def rows(count: int, *, seed: int, wrong: float = 0.0, system: str = "You route tickets.") -> list[Row]:
    """`count` rows over six labels; a share `wrong` of them has a random label."""
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        label, words = draw.choice(sorted(TOPICS.items()))
        text = draw.choice(_FRAMES).format(draw.choice(words), n=draw.randrange(1000))
        noisy = draw.random() < wrong
        target = draw.choice(sorted(TOPICS)) if noisy else label
        made.append(Row(Prompt(system, (("user", f"Topic of: {text}"),)), target))
    return made


@dataclass(frozen=True)
class Run:
    """What one training run gave."""

    checkpoints: list[Checkpoint]
    points: list[Point]

    @property
    def weights(self) -> Weights:
        return self.checkpoints[-1].weights

    @property
    def eval_losses(self) -> list[float]:
        return [point.eval_loss for point in self.points if point.eval_loss is not None]

    @property
    def train_losses(self) -> list[float]:
        return [point.train_loss for point in self.points if point.train_loss is not None]

    def late(self, name: str, count: int = 20) -> float:
        """Mean of a train value over the last `count` steps."""
        values = [getattr(point, name) for point in self.points if getattr(point, name) is not None]
        return sum(values[-count:]) / len(values[-count:])


def fit(
    data: list[Row],
    validation: list[Row] | None = None,
    *,
    epochs: int | None = None,
    multiplier: float | None = None,
    adapter: int | None = None,
    base: str = "gemini-2.5-flash",
    seed: int = 0,
    start: Weights | None = None,
) -> Run:
    points: list[Point] = []
    checkpoints = list(
        train(
            data,
            validation or [],
            base_model=base,
            settings=Settings(epochs, multiplier, adapter),
            seed=seed,
            start=start,
            on_point=points.append,
            should_stop=lambda: False,
        )
    )
    return Run(checkpoints, points)


def accuracy(weights: Weights, data: list[Row]) -> float:
    return sum(weights.answer(row.prompt, 64)[0] == row.target for row in data) / len(data)
