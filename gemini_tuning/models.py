"""The dated table of Gemini models: what can be tuned how, where, within which limits.

One row a model; every fact about a model lives here and nowhere else, so that a change at Google is one diff.
Sources are pages under https://docs.cloud.google.com/gemini-enterprise-agent-platform/ unless they say otherwise;
a value that no page states is None, never a guess.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

AS_OF = "2026-11-22"
"""When the table was last checked."""

TOKENS_PER_EXAMPLE = 131_072
"""Input and output of one training example; the same for all models here (models/tuning/supervised-tuning)."""
EXAMPLES = 10_000_000
"""Examples of a text-only training file (the same page)."""
VALIDATION_EXAMPLES, VALIDATION_SHARE, VALIDATION_FREE = 5_000, 0.3, 1_000
"""Most validation examples; and most as a share of the training examples, where there are more than the last number
of them (the same page)."""
EXAMPLES_MULTIMODAL = 300_000
"""Examples of a training file where any example has a file in it (the same page)."""
FILE_BYTES = 1_000_000_000
"""Bytes of a training file: "1GB for JSONL" (the same page), read strictly, as everywhere here: 1 GB = 10^9 bytes."""
REINFORCEMENT_EXAMPLES, REINFORCEMENT_TOKENS = 5_000, 32_768
"""Lines of a reinforcement file, and tokens of one of them, input and output
(models/tuning/reinforcement-tuning/reinforcement-tuning-job/tuning-dataset)."""

ADAPTER_SIZES = (1, 2, 4, 8, 16, 32)
"""What the service's enum holds; which of them a model takes is in its row (reference/rest, AdapterSize)."""

Method = Literal["supervised", "preference", "distillation", "reinforcement"]

TEXT_ONLY: tuple[Method, ...] = ("preference",)
"""Methods whose examples may hold no file (models/tuning/preference-tuning/prepare-data)."""


# --- files inside examples -----------------------------------------------------------------------------------------

MediaKind = Literal["image", "audio", "video", "document"]

MEDIA_RESOLUTIONS = ("MEDIA_RESOLUTION_LOW", "MEDIA_RESOLUTION_MEDIUM", "MEDIA_RESOLUTION_HIGH")
"""What `generationConfig.mediaResolution` of a training line may be; HIGH when it is not said (models/tuning/image).
Models before Gemini 3 want one value for all lines of the training and validation files (models/tuning/video)."""
PART_MEDIA_RESOLUTIONS = (*MEDIA_RESOLUTIONS, "MEDIA_RESOLUTION_ULTRA_HIGH")
"""What `mediaResolution.level` of one part may be, from Gemini 3 on (google-genai 2.34, PartMediaResolutionLevel)."""


@dataclass(frozen=True, kw_only=True)
class Media:
    """What supervised tuning takes of one kind of file.

    The tuning pages name no MIME types of their own and point to the pages of the models, so those types are here.

    Attributes:
        kind: Kind of file.
        mime_types: What the model cards of Gemini 2.5 and 3.5 Flash list; in lower case.
        files: Most files of this kind in one example.
        bytes: Most bytes of one file; 1 MB is read as 10^6.
        pages: Most pages of all the documents of one example; None where it has no meaning.
        seconds: Longest play of one example, at resolution HIGH or MEDIUM; None where it has no meaning.
        seconds_low: The same at resolution LOW. A longer video makes the service drop the example, unbilled; more
            than 10 % of examples dropped fail the job before it starts.
        source: The page.
    """

    kind: MediaKind
    mime_types: tuple[str, ...]
    files: int
    bytes: int
    pages: int | None = None
    seconds: int | None = None
    seconds_low: int | None = None
    source: str


MEDIA: tuple[Media, ...] = (
    Media(
        kind="image", files=30, bytes=20_000_000, source="models/tuning/image; models/gemini/3-5-flash",
        mime_types=("image/png", "image/jpeg", "image/webp", "image/heic", "image/heif"),
    ),
    Media(
        kind="audio", files=1, bytes=100_000_000, seconds=3_600, seconds_low=3_600,
        mime_types=(
            "audio/x-aac", "audio/flac", "audio/mp3", "audio/m4a", "audio/mpeg", "audio/mpga", "audio/mp4",
            "audio/ogg", "audio/pcm", "audio/wav", "audio/webm",
        ),
        source="models/tuning/audio (its table is headed Gemini 2.5); models/gemini/3-5-flash",
    ),
    Media(
        kind="video", files=1, bytes=100_000_000, seconds=300, seconds_low=1_200,
        mime_types=(
            "video/x-flv", "video/quicktime", "video/mpeg", "video/mpegs", "video/mpg", "video/mp4", "video/webm",
            "video/wmv", "video/3gpp",
        ),
        source=(
            "models/tuning/video; models/gemini/3-5-flash. The page says one video an example, and its own sample for "
            "Gemini 3 has two: more than one is a reason to warn, not to refuse"
        ),
    ),
    Media(
        kind="document", files=4, bytes=20_000_000, pages=300, mime_types=("application/pdf",),
        source="models/tuning/document (PDF only; the models themselves also read text/plain)",
    ),
)  # fmt: skip

FILE_SCHEMES = ("gs", "https", "http")
"""A `fileUri` is an object in Cloud Storage or a public address (models/tuning/image, audio, video, document)."""


def media_of(mime_type: str) -> Media | None:
    """The row that a MIME type belongs to, parameters (`; codecs=...`) aside; None for a type that no page lists."""
    plain = mime_type.partition(";")[0].strip().lower()
    return next((media for media in MEDIA if plain in media.mime_types), None)


# --- models --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Price:
    """USD per million tokens; None is unknown, which is not free.

    Attributes:
        training: Training tokens: data set tokens x epochs.
        input: Tokens of a prompt of up to 200,000 tokens of text, to the base model.
        output: Tokens of an answer, thoughts included.
        tuned_factor: What a tuned model's input and output cost, as a multiple of the base model's: an assumption,
            see `TUNED_FACTOR_NOTE`.
        source: Where the numbers are from.
        as_of: The day on which the source was read (ISO).
    """

    training: float | None = None
    input: float | None = None
    output: float | None = None
    tuned_factor: float | None = None
    source: str = ""
    as_of: str = AS_OF

    def __post_init__(self) -> None:
        for name in ("training", "input", "output", "tuned_factor"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                msg = f"Price({name}={value!r}): expected a number of 0 or more, or None for unknown"
                raise ValueError(msg)
        try:
            date.fromisoformat(self.as_of)
        except ValueError:
            msg = f"Price(as_of={self.as_of!r}): expected a day, written as 2026-11-22"
            raise ValueError(msg) from None


TUNED_FACTOR_NOTE = (
    "Google's pages disagree about tuned inference: 1.5 times the base price from Gemini 3 on "
    "(models/tuning/reinforcement-tuning), or the same price (models/deploy/overview)"
)
"""Why `Price.tuned_factor` is an assumption: 1.0 up to Gemini 2.5, 1.5 from Gemini 3 on."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """What is known of one model.

    Attributes:
        name: As the service calls it.
        methods: Ways of tuning that its model card lists.
        adapters: Adapter sizes that supervised tuning accepts.
        tokens_per_example: Limit of input and output together.
        examples: Limit of a text-only training file.
        validation_examples: Limit of a validation file (or 30 % of the training count when that is more).
        train_at: Locations of tuning jobs; empty when several regions are listed without a closed set.
        serve_at: Locations that serve the tuned model; empty means the job's own.
        thinking_off: The lowest legal thinking of a tuned model: a budget in tokens (2.5), or a level (3.x).
        price: What tokens cost; a caller's own prices go before it.
        retirement: What Google says about its end, or None.
        source: Pages that the row was read from.
    """

    name: str
    methods: tuple[Method, ...]
    adapters: tuple[int, ...] = (1, 2, 4, 8, 16)
    tokens_per_example: int = TOKENS_PER_EXAMPLE
    examples: int = EXAMPLES
    validation_examples: int = VALIDATION_EXAMPLES
    train_at: tuple[str, ...] = ()
    serve_at: tuple[str, ...] = ()
    thinking_off: int | Literal["MINIMAL"] = 0
    price: Price = Price()
    retirement: str | None = None
    source: str = "models/tuning/supervised-tuning; models/model-versions"


_TRAINING = "training: a third-party README of 2025 (Vvren2022/finetune-gemini-vertex-ai), not confirmed by Google"
_INFERENCE = (
    "input and output: Google's price page of the Gemini Developer API "
    "(https://ai.google.dev/gemini-api/docs/pricing) as third parties copied it in 2026; "
    "the page for Google Cloud was not read"
)
_RETIRE_25 = "closed to new or 90-day-inactive projects since 2026-10-20; shutdown 2027-03-31"

_TABLE = (
    Model(
        name="gemini-3.5-flash", methods=("supervised", "reinforcement"),
        train_at=("us-central1", "europe-west4"), serve_at=("us", "eu"), thinking_off="MINIMAL",
        price=Price(input=1.5, output=9.0, tuned_factor=1.5, source=_INFERENCE),
        retirement="not before 2027-05-19",
    ),
    Model(
        name="gemini-3.1-flash-lite", methods=("supervised", "reinforcement"),
        train_at=("us-central1", "europe-west4"), serve_at=("us", "eu"), thinking_off="MINIMAL",
        price=Price(input=0.25, output=1.5, tuned_factor=1.5, source=_INFERENCE),
        retirement="not before 2027-05-07",
    ),
    Model(
        name="gemini-3.5-flash-lite", methods=("supervised",), thinking_off="MINIMAL",
        price=Price(input=0.3, output=2.5, tuned_factor=1.5, source=_INFERENCE),
        retirement="not before 2027-07-21",
        source="reference/models/tuning (2026-10-01) lists it; the model card of August 2026 did not",
    ),
    Model(
        name="gemini-2.5-pro", methods=("supervised",), adapters=(1, 2, 4, 8),
        thinking_off=128,  # 2.5 Pro cannot be told not to think: models/thinking
        price=Price(training=25.0, input=1.25, output=10.0, tuned_factor=1.0, source=f"{_TRAINING}; {_INFERENCE}"),
        retirement=_RETIRE_25,
    ),
    Model(
        name="gemini-2.5-flash", methods=("supervised", "preference"),
        price=Price(training=5.0, input=0.3, output=2.5, tuned_factor=1.0, source=f"{_TRAINING}; {_INFERENCE}"),
        retirement=_RETIRE_25,
    ),
    Model(
        name="gemini-2.5-flash-lite", methods=("supervised", "preference"),
        price=Price(training=1.5, input=0.1, output=0.4, tuned_factor=1.0, source=f"{_TRAINING}; {_INFERENCE}"),
        retirement="closed to new or 90-day-inactive projects since 2026-10-20; shutdown 2027-01-28",
    ),
)  # fmt: skip

RETIRED: dict[str, str] = {
    "gemini-2.0-flash": "gemini-3.5-flash",
    "gemini-2.0-flash-001": "gemini-3.5-flash",
    "gemini-2.0-flash-lite": "gemini-3.1-flash-lite",
    "gemini-2.0-flash-lite-001": "gemini-3.1-flash-lite",
    "gemini-1.5-pro": "gemini-3.5-flash",
    "gemini-1.5-pro-002": "gemini-3.5-flash",
    "gemini-1.5-flash": "gemini-3.5-flash",
    "gemini-1.5-flash-002": "gemini-3.5-flash",
}
"""Models that are gone, each with one that can be tuned today (2.0: 2026-06-01; 1.5: 2025)."""


def models() -> tuple[Model, ...]:
    """The known models, newest first."""
    return _TABLE


def find(name: str) -> Model | None:
    """The row of a model, or None. A version such as `gemini-2.5-flash-preview-09` is not its family."""
    return next((model for model in _TABLE if model.name == name), None)
