"""Sources of batches that are functions of the user."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from types import ModuleType
from typing import Any

import numpy as np

from dtc.errors import DataError
from dtc.forms import AnyArray

_OFFERED = ("epoch", "seed", "batch_size", "split")


@dataclass(frozen=True, eq=False)
class FunctionSource:
    """Batches that a function of the user makes, shuffled by the function as `seed` and `epoch` tell it."""

    name: str
    function: Callable[..., Iterable[Mapping[str, Any]]]
    batch_size: int
    split: str
    reason: str = ""

    @property
    def knows_splits(self) -> bool:
        """True if the function gives other batches for evaluation than for training."""
        return "split" in _declared(self.function)

    @property
    def words(self) -> str:
        """Which batches these are, and why these."""
        which = f'the split "{self.split}"' if self.knows_splits else "all batches"
        return f"{which} of {PurePath(self.name).name}{f' ({self.reason})' if self.reason else ''}"

    @property
    def length(self) -> int | None:
        """Unknown before the function is called."""
        return None

    def batches(self, *, epoch: int, seed: int, shuffle: bool, start: int = 0) -> Iterator[dict[str, AnyArray]]:
        """Call the function and yield its batches, dicts of arrays, from number `start` on.

        Raises:
            DataError: The function raises, or what it gives are no batches.
        """
        offered = {"epoch": epoch, "seed": seed, "batch_size": self.batch_size, "split": self.split}
        declared = _declared(self.function)
        made = self._guarded(lambda: iter(self.function(**{k: v for k, v in offered.items() if k in declared})))
        for index in range(sys.maxsize):
            try:
                batch = self._guarded(lambda: next(made))
            except StopIteration:
                return
            # A generator cannot be entered in the middle: the batches in front of `start` are made and dropped.
            if index >= start:
                yield self._checked(batch)

    def evaluating(self) -> FunctionSource:
        """Return the same function, asked for evaluation batches.

        Raises:
            DataError: It does not declare `split`.
        """
        if not self.knows_splits:
            raise DataError(
                f"{self.name}: nothing can be held out of a function's batches; give --eval-data, "
                'or declare split="train" in the function and return other batches for "evaluate"'
            )
        return replace(self, split="evaluate")

    def _guarded(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except (StopIteration, DataError):
            raise
        except (Exception, SystemExit) as error:
            # The line told is the deepest one in the user's own file, not one in NumPy that it called.
            frames = traceback.extract_tb(error.__traceback__)
            theirs = [frame for frame in frames if frame.filename == _file(self.function)]
            frame = (theirs or frames)[-1]
            place = f"{Path(frame.filename).name}, line {frame.lineno}"
            raise DataError(f"{self.name}: {type(error).__name__}: {error} ({place})") from error

    def _checked(self, batch: object) -> dict[str, AnyArray]:
        if not isinstance(batch, Mapping) or not batch:
            raise DataError(
                f"{self.name}: gives {type(batch).__name__}, not batches; yield dicts of arrays by input name"
            )
        # Copied, because a function may fill the same buffers again for the next batch.
        arrays = {str(key): np.array(value) for key, value in batch.items()}
        for key, array in arrays.items():
            if array.dtype.kind not in "biuf":
                raise DataError(f"{self.name}: {key!r} of a batch is of type {array.dtype}, not numbers")
        return arrays


def load_function(place: str, function: str, base: Path) -> Callable[..., Any]:
    """Return a function of a module, or of a Python file relative to `base`.

    Raises:
        DataError: No such file, module or function, or the module cannot be imported.
    """
    name = f"{place}:{function}"
    try:
        module = _load_file(base / place) if place.endswith(".py") else _import(place)
    except DataError:
        raise
    except (Exception, SystemExit) as error:
        raise DataError(f"{name}: cannot be imported ({type(error).__name__}: {error})") from error
    found = getattr(module, function, None)
    if not callable(found):
        raise DataError(f"{name}: {place} has no function {function!r}")
    return found  # type: ignore[no-any-return]


def _declared(function: Callable[..., Any]) -> frozenset[str]:
    parameters = inspect.signature(function).parameters.values()
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        return frozenset(_OFFERED)
    return frozenset(p.name for p in parameters)


def _file(function: Callable[..., Any]) -> str | None:
    code = getattr(function, "__code__", None)
    return None if code is None else str(code.co_filename)


def _import(module: str) -> ModuleType:
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)  # last, so that nothing here hides an installed module
    return importlib.import_module(module)


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    spec = importlib.util.spec_from_file_location(f"dtc_data_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise DataError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
