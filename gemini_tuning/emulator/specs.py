"""What `tuningJobs` POST refuses at once, and what it keeps of the body.

Only what is wrong with the request itself is refused here; what is wrong with the data is found when the job runs,
as on the service.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .catalog import ADAPTERS, adapter_sizes, base_model_id, is_gemini
from .state import Record
from .wire import ApiError

__all__ = ["METHODS", "check_job", "hyper_parameters", "labels_problem"]

METHODS = {
    "supervisedTuningSpec": "supervised tuning",
    "preferenceOptimizationSpec": "preference tuning",
    "distillationSpec": "distillation",
    "reinforcementTuningSpec": "reinforcement tuning",
}
_KEPT = ("baseModel", "preTunedModel", "tunedModelDisplayName", "description", "labels", "encryptionSpec",
         "serviceAccount", *METHODS)  # fmt: skip
_DISPLAY_NAME_LIMIT = 128
_LABELS_LIMIT = 64
_DATASET = re.compile(r"projects/[^/]+/locations/[^/]+/datasets/[^/]+")


def check_job(body: Mapping[str, Any]) -> Record:
    """The body that the job keeps, int64 values as strings; 400 for a request that can never be a job."""
    base, pre = body.get("baseModel"), body.get("preTunedModel")
    if base and pre:
        raise ApiError(400, "Invalid value: only one of base_model and pre_tuned_model can be set.")
    if not base and not pre:
        raise ApiError(400, "Base model is required: set base_model or pre_tuned_model.")
    if base and not is_gemini(base_model_id(str(base))):
        raise ApiError(400, f"Base model {base} is not supported for tuning.")
    methods = [method for method in METHODS if body.get(method) is not None]
    if len(methods) != 1:
        found = " and ".join(methods) or "none"
        raise ApiError(400, f"Exactly one tuning spec is required, got {found}; known: {', '.join(METHODS)}.")
    kept = {key: body[key] for key in _KEPT if body.get(key) is not None}
    _check_name(kept.get("tunedModelDisplayName", ""))
    if problem := labels_problem(kept.get("labels") or {}):
        raise ApiError(400, problem)
    spec = kept[methods[0]]
    if not isinstance(spec, dict):
        raise ApiError(400, f"Invalid value at '{methods[0]}': expected an object.")
    kept[methods[0]] = _check_spec(methods[0], spec, base_model_id(str(base or "")))
    return kept


def labels_problem(labels: object) -> str:
    """What is wrong with resource labels, or ""."""
    if not isinstance(labels, dict):
        return "Invalid value at 'labels': expected an object of strings."
    if len(labels) > _LABELS_LIMIT:
        return f"Too many labels: {len(labels)} > {_LABELS_LIMIT}."
    for key, value in labels.items():
        if not isinstance(value, str):
            return f"Invalid value at 'labels[{key!r}]': expected a string."
        for what, text in (("key", key), ("value", value)):
            if len(text) > _LABELS_LIMIT:
                return f"Label {what} {text!r} is longer than {_LABELS_LIMIT} characters."
            if not all(_label_character(character) for character in text):
                return (
                    f"Label {what} {text!r} is invalid: only lowercase letters, digits, underscores and dashes "
                    "are allowed."
                )
        if not key or not (key[0].isalpha()):
            return f"Label key {key!r} must start with a lowercase letter."
    return ""


def hyper_parameters(body: Mapping[str, Any]) -> tuple[int | None, float | None, int | None]:
    """Epochs, learning rate multiplier and adapter size of a supervised job as asked; None is the default."""
    given = body["supervisedTuningSpec"].get("hyperParameters") or {}
    epochs, rate = given.get("epochCount"), given.get("learningRateMultiplier")
    return (
        None if epochs is None else int(epochs),
        None if rate is None else float(rate),
        ADAPTERS.get(str(given.get("adapterSize"))),
    )


def _check_name(name: object) -> None:
    if not isinstance(name, str) or len(name) > _DISPLAY_NAME_LIMIT:
        raise ApiError(400, f"tuned_model_display_name must be a string of at most {_DISPLAY_NAME_LIMIT} characters.")


def _check_spec(method: str, spec: Mapping[str, Any], base: str) -> Record:
    required = "promptDatasetUri" if method == "distillationSpec" else "trainingDatasetUri"
    for key in (required, "validationDatasetUri"):
        uri = spec.get(key)
        if uri is None and key != required:
            continue
        if not isinstance(uri, str) or not (uri.startswith("gs://") or _DATASET.fullmatch(uri)):
            raise ApiError(400, f"{method}.{key} must be a Cloud Storage URI (gs://...) or a dataset, got {uri!r}.")
    given = spec.get("hyperParameters") or {}
    if not isinstance(given, dict):
        raise ApiError(400, f"Invalid value at '{method}.hyperParameters': expected an object.")
    checked = {key: value for key, value in given.items() if value is not None}
    if method == "supervisedTuningSpec" and "learningRate" in checked:
        if "learningRateMultiplier" in checked:
            raise ApiError(400, "Only one of learning_rate and learning_rate_multiplier can be set.")
        raise ApiError(400, "learning_rate is for open models only; use learning_rate_multiplier.")
    if "epochCount" in checked:
        epochs = _whole(checked["epochCount"])
        if epochs is None or epochs < 1:
            raise ApiError(400, f"epoch_count must be an integer of at least 1, got {checked['epochCount']!r}.")
        checked["epochCount"] = str(epochs)
    if "learningRateMultiplier" in checked:
        rate = checked["learningRateMultiplier"]
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < float("inf"):
            raise ApiError(400, f"learning_rate_multiplier must be greater than 0, got {rate!r}.")
    if "adapterSize" in checked:
        size = ADAPTERS.get(str(checked["adapterSize"]))
        if size is None:
            raise ApiError(400, f"Invalid value at 'hyper_parameters.adapter_size': {checked['adapterSize']!r}.")
        if size not in adapter_sizes(base):
            known = list(adapter_sizes(base))
            raise ApiError(400, f"Adapter size {size} is not supported for {base or 'the model'}; supported: {known}.")
    return {**spec, **({"hyperParameters": checked} if given else {})}


def _whole(value: object) -> int | None:
    """An int64 as proto JSON takes it: a number without a fraction, or a string of one."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value) if isinstance(value, int | float | str) else None
    except ValueError:
        return None
    return int(number) if number is not None and number.is_integer() else None


def _label_character(character: str) -> bool:
    # "Lowercase letters" include those of scripts without case, so a Chinese label is fine.
    return character in "_-" or (character.isalnum() and character == character.lower())
