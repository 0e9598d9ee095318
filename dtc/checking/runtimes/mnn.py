"""MNN, which converts a model to its own format first.

By its library, not by its command `mnnconvert`: that one reports each conversion to a server, and installs a package
for it into whatever environment `pip` belongs to.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

NAME, PACKAGE, MODULE = "mnn", "MNN", "MNN"


def run(path: str, feeds: Mapping[str, Any], outputs: Sequence[str]) -> list[Any]:
    """Return the outputs. The converter succeeds whatever happens, so that its file tells whether it has."""
    import _tools  # MNN's converter
    import MNN
    import numpy as np

    with tempfile.TemporaryDirectory(prefix="dtc-mnn-") as folder:
        converted = Path(folder) / "model.mnn"
        _tools.mnnconvert(
            ["mnnconvert", "-f", "ONNX", "--modelFile", path, "--MNNModel", str(converted), "--bizCode", "dtc"]
        )
        if not converted.is_file():
            raise ValueError("does not convert it")
        model = MNN.nn.load_module_from_file(str(converted), list(feeds), list(outputs))
        found = model.forward([_variable(array) for array in feeds.values()])
        return [np.array(MNN.expr.convert(each, MNN.expr.NCHW).read()) for each in found]


def _variable(array: Any) -> Any:
    """Return an array as MNN takes it, which has integers of 32 bits alone."""
    import MNN
    import numpy as np

    integers = array.dtype.kind in "iub"
    kind = MNN.expr.int if integers else MNN.expr.float
    held = np.ascontiguousarray(array, np.int32 if integers else np.float32)
    return MNN.expr.const(held, list(array.shape), MNN.expr.NCHW, kind)
