"""The recipe: everything that a compression run was told, validated, in YAML."""

from dtc.recipe.parts import Activations, Data, Objective, Optimizer, Recipe, Rule, Schedule, Training

__all__ = ["Activations", "Data", "Objective", "Optimizer", "Recipe", "Rule", "Schedule", "Training"]
