"""What runtimes make of the files of dtc: `python tests/benchmarks/runtimes.py RUNTIME...`, as Markdown.

A RUNTIME is what `dtc check --runtime` takes. Each real model of the tests is written in all forms, for the targets
`compute`, `compute` inlined, and `standard`.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "runtimes"))

from real_files import FORMS, MODELS, RealModel

from dtc.checking.elsewhere import Elsewhere, run_elsewhere
from dtc.checking.runtime import Runtime, find_runtime

TARGETS = ("compute", "compute inlined", "standard")


def main() -> None:
    data = Path(os.environ["DTC_DATA"]) / "onnx"
    runtimes = [find_runtime(told) for told in sys.argv[1:]]
    with tempfile.TemporaryDirectory() as folder:
        models = [RealModel(data / f"{name}.onnx", Path(folder)) for name in MODELS]
        print("| runtime | model | the original |", " | ".join(TARGETS), "|")
        print("| --- " * (3 + len(TARGETS)) + "|")
        for runtime in runtimes:
            for model in models:
                print(_row(runtime, model), flush=True)


def _row(runtime: Runtime, model: RealModel) -> str:
    original = run_elsewhere(runtime, model.original, model.original, model.feeds)
    cells = [_cell([_tried(runtime, model, form, target) for form in FORMS]) for target in TARGETS]
    name = f"{runtime.name} {original.version}".strip()
    return f"| {name} | {model.path.stem} | {original.outcome} | {' | '.join(cells)} |"


def _tried(runtime: Runtime, model: RealModel, form: str, target: str) -> tuple[str, Elsewhere]:
    return form, run_elsewhere(runtime, model.original, model.written(form, target), model.feeds)


def _cell(found: list[tuple[str, Elsewhere]]) -> str:
    """Return one word where all forms came to the same, else the forms of each outcome."""
    by_outcome: dict[str, list[str]] = {}
    for form, each in found:
        by_outcome.setdefault(each.outcome, []).append(form)
    if len(by_outcome) == 1:
        return next(iter(by_outcome))
    return "; ".join(f"{outcome}: {', '.join(forms)}" for outcome, forms in by_outcome.items())


if __name__ == "__main__":
    main()
