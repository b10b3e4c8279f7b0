"""Hyperparameters with their reasons: a table of presets, each row with its source, and the choice among them."""

from ..models import models
from .presets import Preset, Recipe, presets, recommend

__all__ = ["Preset", "Recipe", "models", "presets", "recommend"]
