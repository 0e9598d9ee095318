"""tract, which runs models in Rust programs and in browsers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

NAME, PACKAGE, MODULE = "tract", "tract", "tract"


def run(path: str, feeds: Mapping[str, Any], outputs: Sequence[str]) -> list[Any]:
    """Return the outputs; each input is told as a fact, since tract plans for sizes that are known."""
    import tract

    model = tract.onnx().load(path)
    names = [model.input_name(index) for index in range(model.input_count())]
    for index, name in enumerate(names):
        if name not in feeds:
            raise ValueError(f"takes {name!r}, which has a value in the file, for an input")
        model.set_input_fact(index, _fact(feeds[name]))
    found = model.into_model().into_runnable().run([feeds[name] for name in names])
    assert len(found) == len(outputs)
    return [each.to_numpy() for each in found]


def _fact(array: Any) -> str:
    """Return type and shape in tract's words: `2,3,f32`."""
    element = "bool" if array.dtype.kind == "b" else f"{array.dtype.kind}{8 * array.dtype.itemsize}"
    return ",".join([*map(str, array.shape), element])
