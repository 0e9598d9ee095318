"""The recipe of a command line: made from options, or from a file some of whose values options replace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dtc.cli.method_options import given_options, given_rule_options
from dtc.cli.recipe_options import SEARCH_HELD_OUT, overridden, training_flags
from dtc.data import relocated
from dtc.errors import RecipeError, UsageError
from dtc.job import refuse_code
from dtc.recipe import Data, Lean, Objective, Recipe, Rule, Training, flags_of
from dtc.scratch import scratch_folder

_DATA = ("train", "evaluate")


def told_recipe(options: dict[str, Any]) -> Recipe:
    """Return the recipe of a command line; its data is named relative to the working directory.

    Options stand above a recipe file, but for those of the rules: which of the file's rules they mean is not said.

    Raises:
        UsageError: The options do not go together, or a value is refused.
        RecipeError: The file is no recipe.
    """
    # 1. Rules from the options or from the file.
    recipe = _of_rule(options) if options["recipe_file"] is None else _of_file(options["recipe_file"], options)
    # 2. Training: that of the file, or a new one for --retrain. Its options without either would be silently without
    #    effect.
    training = recipe.training
    if training is None and options["retrain"]:
        training = Training()
    if training is None and (flags := training_flags(options)):
        raise UsageError(f"{flags[0]} is for retraining; add --retrain")
    if options["recipe_file"] is not None and not options["allow_code"]:
        refuse_code(_without_told_code(recipe, options), Path(), named_in=options["recipe_file"])
    # 3. The other parts, the command line over the file.
    objective, data = overridden(recipe.objective, options), overridden(recipe.data, options)
    if training is not None and data.train is None:
        raise UsageError("--retrain needs samples: give --data")
    activations = overridden(recipe.activations, options)
    if activations.bits is not None and data.train is None:
        raise UsageError("--activation-bits needs samples to take ranges from: give --data")
    lean = overridden(recipe.lean, options)
    parts: dict[str, Any] = {"objective": objective, "data": data, "activations": activations, "lean": lean}
    parts["training"] = None if training is None else overridden(training, options)
    # 4. The recipe's own fields (seed, target and so on), over the parts that are decided by now.
    whole = overridden(recipe.model_copy(update=parts), options)
    # A copy of what was read still knows its lines.
    return recipe.model_copy(update={name: getattr(whole, name) for name in Recipe.model_fields})


def searched_recipe(options: dict[str, Any]) -> Recipe:
    """Return the recipe of a search's command line, without rules; its data is named relative to the working directory.

    Raises:
        UsageError: A value is refused.
    """
    data = overridden(Data(held_out=SEARCH_HELD_OUT), options)
    parts = {"objective": overridden(Objective(), options), "data": data, "lean": overridden(Lean(), options)}
    # Statistics chosen anew for each file that is looked at would take ten times as long as the file itself.
    return overridden(Recipe(**parts, batch_norm="frozen"), options)


def searched_training(options: dict[str, Any]) -> Training | None:
    """Return how a search retrains what it chose; None if it does not.

    Raises:
        UsageError: Options of retraining were given without `--retrain`, or a value is refused.
    """
    if options["retrain"] is None:
        if flags := training_flags(options):
            raise UsageError(f"{flags[0]} is for retraining; add --retrain EPOCHS")
        return None
    return overridden(Training(epochs=options["retrain"]), options)


def _without_told_code(recipe: Recipe, options: dict[str, Any]) -> Recipe:
    """Return the recipe of a file without data and libraries that the command line puts in the place of the file's."""
    flags = flags_of(Data)
    told = {name: None for name in _DATA if options[flags[name].parameter] is not None}
    libraries = () if options["custom_ops"] else recipe.custom_ops
    return recipe.model_copy(update={"data": recipe.data.model_copy(update=told), "custom_ops": libraries})


def save_recipe(recipe: Recipe, path: Path, *, force: bool) -> None:
    """Write a recipe whose data is named relative to the working directory, with names relative to the file.

    Raises:
        RecipeError: The file exists with other content and may not be overwritten, or cannot be written.
    """
    text = _moved(recipe, Path(), path.parent).to_yaml()
    if path.is_file() and path.read_bytes() == text.encode():
        return
    if path.exists() and not force:
        raise RecipeError(f"{path}: exists already; choose another --save-recipe or add --force")
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise RecipeError(f"{path}: is no regular file; choose another --save-recipe")
    try:
        with scratch_folder(path.absolute().parent) as folder:
            written = folder / "recipe.yaml"
            written.write_text(text, encoding="utf-8")
            written.replace(path)
    except OSError as error:
        raise RecipeError(f"{path}: cannot be written ({error.strerror})") from error


def _of_rule(options: dict[str, Any]) -> Recipe:
    if options["method"] is None:
        raise UsageError("give --method, for example --method svd --rank 96, or --recipe FILE.yaml")
    rule = Rule(
        method=options["method"],
        options=given_options(options["method"], options),
        include=options["include"] or ("*",),
        exclude=options["exclude"],
    )
    return Recipe(rules=(rule,), objective=Objective(), data=Data())


def _of_file(path: Path, options: dict[str, Any]) -> Recipe:
    flags = [f"--{name}" for name in ("method", "include", "exclude") if options[name]] + given_rule_options(options)
    if flags:
        raise UsageError(f"{flags[0]} does not go with --recipe: change the rules of {path}")
    recipe = Recipe.load(path)
    if not recipe.rules:
        raise RecipeError(f"{path}: rules: is missing; a compression needs at least one rule with a method")
    return _moved(recipe, path.parent, Path())


def _moved(recipe: Recipe, old: Path, new: Path) -> Recipe:
    # "set/train.npz" in recipes/a.yaml is "recipes/set/train.npz" for the working directory, and the other way round.
    specs = {"train": recipe.data.train, "evaluate": recipe.data.evaluate}
    moved = {name: spec and relocated(spec, old, new) for name, spec in specs.items()}
    libraries = tuple(relocated(library, old, new) for library in recipe.custom_ops)
    return recipe.model_copy(update={"data": recipe.data.model_copy(update=moved), "custom_ops": libraries})
