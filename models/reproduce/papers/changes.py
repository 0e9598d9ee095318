"""Models with weights that no method writes: pruned but dense, or moved at random; beginnings of trials."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dtc.data.npy import read_npz
from dtc.forms import Array
from dtc.graph import find_sites, load_model, save_model
from dtc.models.reproduce.papers.experiment import Begin, Change
from dtc.passes.plan import make_plan
from dtc.passes.prepare import normalise
from dtc.recipe import Recipe, Rule
from dtc.training.gradients import measure_gradients


def pruned_dense(begin: Begin, name: str, rule: Rule) -> Begin:
    """Begin with a model whose distorted weights are dense, zeros included."""

    def changed(folder: Path) -> Path:
        path = folder / f"{name}.onnx"
        if not path.exists():
            write_distorted(begin(folder), path, rule)
        return path

    return changed


def moved(recipe: Recipe, chosen: Literal["gradient", "random"], *, share: float, by: float) -> Change:
    """Move a share of each site's weights, those with the largest gradients or any, up or down by chance.

    Args:
        recipe: Says where the samples of the gradients come from, and the seed.
        chosen: Which weights are moved.
        share: Of the weights of a site.
        by: How far, in standard deviations of the site.
    """

    def change(begin: Path, output: Path) -> None:
        rng, model = np.random.default_rng(recipe.seed), load_model(begin)
        slopes = _gradients(begin, recipe, output.parent)
        for site in find_sites(model):
            weights = site.array().astype(np.float32)
            ranks = slopes[site.name].ravel() if chosen == "gradient" else rng.random(weights.size)
            few = np.argsort(-ranks, kind="stable")[: round(share * weights.size)]
            steps = np.zeros(weights.size, np.float32)
            steps[few] = by * weights.std() * rng.choice([-1, 1], len(few))
            site.assign(weights + steps.reshape(weights.shape))
        save_model(model, output, force=True)

    return change


def _gradients(model: Path, recipe: Recipe, folder: Path) -> Mapping[str, Array]:
    """Return the mean magnitude of each gradient, measured once for all trials of a folder."""
    kept = folder / f"{model.stem}.gradients.npz"
    if not kept.exists():
        found: dict[str, Any] = measure_gradients(model, recipe)
        np.savez(kept, **found)
    return {name: array.astype(np.float32) for name, array in read_npz(kept).items()}


def write_distorted(model: Path, output: Path, rule: Rule) -> None:
    """Write a model with the dense weights of what a rule makes of its own."""
    loaded = load_model(model)
    normalise(loaded)
    plan = make_plan(loaded, [rule])
    dense = plan.distort().dense
    for site in plan.sites:
        if site.name in dense:
            site.assign(dense[site.name])
    save_model(loaded, output, force=True)
