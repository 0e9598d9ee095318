"""The README of a bundle, from that of its target, and the licence of what dtc put into it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

from dtc.bundles.document import BundleTensor

README = "README.md"

_PLACEHOLDER = re.compile(r"\{([a-z]+)\}")

_LICENCES = """\
Programs, build files and the native library in this folder are part of dtc, under the Apache License 2.0, which
follows. The model is what it was made of: its licence is that of the original model, and of the data it learnt from.
No third-party code is in this folder; what its programs install comes under licences of its own.

"""


def write_readme(folder: Path, facts: Mapping[str, Any]) -> None:
    """Fill in the placeholders of a bundle's README: what the model is, and what it takes and gives."""
    words = {
        "model": facts["source"].name,
        "inputs": _listed(facts["inputs"]),
        "outputs": _listed(facts["outputs"]),
        "processor": facts["processor"],
    }
    words |= {name.replace("-", ""): version for name, version in facts["pinned"].items()}
    path = folder / README
    text = path.read_text(encoding="utf-8")
    path.write_text(_PLACEHOLDER.sub(lambda found: words[found[1]], text), encoding="utf-8")


def write_licence(folder: Path) -> None:
    """Write `LICENSES.txt`: what holds for which file, and the text of dtc's own licence."""
    (folder / "LICENSES.txt").write_text(_LICENCES + _own_licence(), encoding="utf-8")


def _own_licence() -> str:
    """Return the text of dtc's licence: of a checkout, else of the installed distribution."""
    checkout = Path(__file__).resolve().parents[2] / "LICENSE"
    if checkout.is_file():
        return checkout.read_text(encoding="utf-8")
    try:
        licences = [path for path in files("dtc") or () if path.name == "LICENSE"]
    except PackageNotFoundError:
        licences = []
    return licences[0].read_text(encoding="utf-8") if licences else "https://www.apache.org/licenses/LICENSE-2.0\n"


def _listed(tensors: Sequence[BundleTensor]) -> str:
    return ", ".join(_told(each) for each in tensors)


def _told(each: BundleTensor) -> str:
    sizes = ", ".join("?" if size is None else str(size) for size in each.shape)
    return f"`{each.name}` {each.dtype} [{sizes}]"
