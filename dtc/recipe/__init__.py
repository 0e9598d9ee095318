"""The recipe: everything that a compression run was told, validated, in YAML."""

from dtc.recipe.flags import Flag, flags_of
from dtc.recipe.parts import Activations, Data, Lean, Objective, Optimizer, Recipe, Rule, Schedule, Training

__all__ = [
    "Activations",
    "Data",
    "Flag",
    "Lean",
    "Objective",
    "Optimizer",
    "Recipe",
    "Rule",
    "Schedule",
    "Training",
    "flags_of",
]
