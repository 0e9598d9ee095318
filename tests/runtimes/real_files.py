"""Which real models are written in which forms, and tried elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dtc.checking.elsewhere import Expected
from dtc.graph import load_model, save_model
from dtc.passes.lower import find_target, lower
from dtc.passes.plan import make_plan
from dtc.passes.prepare import normalise, strip_training
from dtc.recipe import Rule
from dtc.sample_inputs import InputSampler
from dtc.session import runner, session

MODELS: Mapping[str, Mapping[str, Any]] = {
    "ptb_rnnlm_lstm100_derived": {},
    "resnet20_cifar10_derived": {},
    "mnist-8": {},
    "silero_vad_v5": {"sr": np.array(16000)},
}
"""Real models, and inputs that are held."""

FORMS: Mapping[str, Mapping[str, Any]] = {
    "svd": {"rank_ratio": 0.3},
    "prune": {"sparsity": 0.9},
    "binary": {"bits": 2},
    "codebook": {"codewords": 16, "block": 1},
    "uniform": {"bits": 4},
}

IN_FRONT_OF_RECURRENCES: Mapping[str, Mapping[str, Any]] = {
    "prune+binary": {"sparsity": 0.9, "bits": 1},
    "prune+codebook": {"sparsity": 0.8, "codewords": 8, "block": 1},
    "bins": {"bins": 5, "huffman": True},
}
"""Further forms, which take more to decode than some runtimes compute when they load a model."""


class RealModel:
    """A model, an input of it, and what ONNX Runtime computes of both; and its files in all forms.

    Args:
        path: Its file.
        folder: Takes the files in its forms.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        self.path, self._folder = path, folder
        self._written: dict[tuple[str, str], Expected] = {}

    @cached_property
    def feeds(self) -> Sequence[Mapping[str, Any]]:
        """One generated input."""
        sampler = InputSampler(
            load_model(self.path), runner(session(self.path)), seed=0, fixed=MODELS.get(self.path.stem)
        )
        return [dict(feed) for feed in sampler.draws(1)]

    @cached_property
    def original(self) -> Expected:
        """The model as it is."""
        return Expected.of(self.path, self.feeds)

    def written(self, form: str, target: str) -> Expected:
        """Write the model in a form for a target, `compute inlined` for one without functions; once."""
        if (form, target) not in self._written:
            path = self._folder / f"{self.path.stem}.{form}.{target.replace(' ', '-')}.onnx"
            self._write(form, target, path)
            self._written[form, target] = Expected.of(path, self.feeds)
        return self._written[form, target]

    def _write(self, form: str, target: str, path: Path) -> None:
        model = load_model(self.path)
        normalise(model)
        plan = make_plan(model, [Rule(method=form, options=dict({**FORMS, **IN_FRONT_OF_RECURRENCES}[form]))])
        distorted = plan.distort()
        for site in plan.sites:
            if site.name in distorted.dense:
                site.assign(distorted.dense[site.name])
        strip_training(model)
        lowering, _, inlined = target.partition(" ")
        lower(model, plan.compressed(distorted.forms), find_target(lowering, inlined=bool(inlined)))
        save_model(model, path)
