"""The data of a recipe; each part is opened once, at its first use."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from dtc.data import Source, hold_out, open_source
from dtc.recipe import Recipe


class Samples:
    """The training and evaluation data of a compression; relative paths start at `base`."""

    def __init__(self, recipe: Recipe, base: Path) -> None:
        self.base = base
        self._data = recipe.data
        self._trains = recipe.training is not None

    @cached_property
    def train(self) -> Source | None:
        """The data that may be learnt from; None without data.

        Raises:
            DataError: The data is missing or damaged.
        """
        spec = self._data.train
        return None if spec is None else open_source(spec, batch_size=self._data.batch_size, base=self.base)

    @cached_property
    def evaluation(self) -> Source | None:
        """The data that weights are evaluated on; None without data.

        Where the recipe names none, a tail of the data that training leaves out, or all data without training.

        Raises:
            DataError: As `train`, or the data cannot be split.
        """
        # The same tail that the run directory holds out of the training, so that both evaluate on the same samples.
        if self._data.evaluate is None and self._trains and self.train is not None:
            return hold_out(self.train, self._data.held_out)[1]
        spec = self._data.evaluate or self._data.train
        if spec is None:
            return None
        return open_source(spec, batch_size=self._data.batch_size, base=self.base, split="evaluate")
