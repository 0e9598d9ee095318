"""Where the native library of the operators is, and how a session gets it.

The library is loaded by ONNX Runtime, through the same C interface from every language; Python needs nothing else of
it. Without it a model runs too, on the functions that its file carries.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import onnxruntime as ort

from dtc.errors import LibraryError, one_line

VARIABLE = "DTC_OPS"
"""Environment variable that names another library; `DTC_OPS=none` leaves every model to its own functions."""

FILE = {"win32": "dtc_ops.dll", "darwin": "libdtc_ops.dylib"}.get(sys.platform, "libdtc_ops.so")


def library_path() -> Path | None:
    """Return the native library: `$DTC_OPS`, or that of a checkout's build folder, or the installed one.

    None if this installation was built without (no C++ compiler was there), or `$DTC_OPS` is `none`.

    Raises:
        LibraryError: `$DTC_OPS` names a file that is not there.
    """
    told = os.environ.get(VARIABLE)
    if told == "none":
        return None
    if told:
        path = Path(told)
        if not path.is_file():
            raise LibraryError(f"{VARIABLE}={told}: no such file; unset it, or say {VARIABLE}=none to do without")
        return path.resolve()
    return next((path for path in _places() if path.is_file()), None)


def _places() -> list[Path]:
    spec = find_spec("dtc")
    assert spec is not None
    installed = [Path(folder) / "lib" / FILE for folder in spec.submodule_search_locations or ()]
    # In an editable installation the build folder comes first: `cmake --build` renews that one.
    checkout = Path(spec.origin or "").resolve().parents[1]
    return [checkout / "build" / "native" / FILE, *installed]


def register(options: ort.SessionOptions) -> Path | None:
    """Give a session's options the native kernels; return the library that they are in, None if there is none.

    Raises:
        LibraryError: ONNX Runtime does not load the library.
    """
    path = library_path()
    if path is None:
        return None
    try:
        options.register_custom_ops_library(str(path))
    except Exception as error:  # ONNX Runtime's errors have no other common base
        raise LibraryError(f"{path}: ONNX Runtime {ort.__version__} does not load it: {one_line(error)}") from error
    return path
