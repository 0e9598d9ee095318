"""The folder of a run directory that holds second moments of the inputs of sites, for its first distortions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from dtc.data.npy import map_npy
from dtc.errors import TrainingError
from dtc.graph import Site
from dtc.passes.method import Gram, Grams

FOLDER = "moments"
_NAMES = "sites.json"


def write_moments(run: Path, moments: Iterable[tuple[str, Grams]]) -> None:
    """Write the moments of sites, float64 `[count, in, in]` by name, to a run directory; no folder if there are none.

    A file each, numbered: names may hold slashes.
    """
    folder, names = run / FOLDER, list[str]()
    for name, array in moments:
        folder.mkdir(exist_ok=True)
        np.save(folder / f"{len(names)}.npy", array)
        names.append(name)
    if names:
        (folder / _NAMES).write_text(json.dumps(names) + "\n", encoding="utf-8")


class StoredMoments:
    """The moments that `write_moments` wrote to a run directory, read when they are asked for.

    Raises:
        TrainingError: The folder is damaged.
    """

    def __init__(self, run: Path) -> None:
        self._folder = run / FOLDER
        self._numbers: dict[str, int] = {}
        try:
            if self._folder.exists():
                names = json.loads((self._folder / _NAMES).read_text(encoding="utf-8"))
                self._numbers = {str(name): number for number, name in enumerate(names)}
        except (OSError, ValueError, TypeError) as error:
            raise TrainingError(f"{self._folder / _NAMES}: damaged ({error})") from error

    def gram_of(self, site: Site) -> Gram:
        """Return a function that reads the moments of a site; it gives None for a site that has none."""
        return lambda: self._read(site.name)

    def all_moments(self) -> Iterator[tuple[str, Grams]]:
        """Yield the names of all sites that have moments, with these."""
        for name in self._numbers:
            moments = self._read(name)
            assert moments is not None, "it has a number"
            yield name, moments

    def _read(self, name: str) -> Grams | None:
        if name not in self._numbers:
            return None
        return np.asarray(map_npy(self._folder / f"{self._numbers[name]}.npy"), dtype=np.float64)
