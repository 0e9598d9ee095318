"""A form with its lowering, the method that gives it and a target, all in a distribution of somebody else."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from distributions import Run, distribution, runner

from dtc import models
from dtc.graph import save_model

FORM = '''
"""Weights rounded to float16."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from dtc.forms import Array, Parts


@dataclass(frozen=True, eq=False)
class Half:
    """A matrix `[out, in]` in float16."""

    kind: ClassVar[str] = "half"

    values: npt.NDArray[np.float16]

    @property
    def shape(self) -> tuple[int, int]:
        return self.values.shape[0], self.values.shape[1]

    @property
    def nbytes(self) -> int:
        return self.values.nbytes

    @property
    def detail(self) -> str:
        return "float16"

    @property
    def shared(self) -> dict[str, int]:
        return {}

    def dense(self) -> Array:
        return self.values.astype(np.float32)

    def rows(self, start: int, stop: int) -> Self:
        return type(self)(self.values[start:stop])

    def pack(self) -> Parts:
        return {"values": self.values}

    @classmethod
    def unpack(cls, parts: Parts) -> Self:
        return cls(parts["values"].astype(np.float16))
'''

LOWERING = '''
"""Lowering of float16 weights: a Cast in front of the reader."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from half_form import Half

from dtc.passes.lower import Compressed, FormKind, Lowered, ReadBy
from dtc.passes.lower.decode import arranged, feed_readers
from dtc.graph.builder import insert_first
from dtc.passes.lower.rewriting import Rewriting


def lower(rewriting: Rewriting, items: list[Compressed]) -> list[Lowered]:
    return [lower_site(rewriting, item) for item in items]


def lower_site(rewriting: Rewriting, item: Compressed) -> Lowered:
    site, front = item.site, rewriting.front(item.site)

    def decode() -> ir.Value:
        stored = front.initializer("half", np.stack([form.values for form in item.forms]))
        cast = front.op("Cast", [stored], to=ir.DataType.FLOAT)
        return arranged(front, cast, site, shape=(site.view.count, site.view.rows, site.view.cols))

    feed_readers(site, decode)
    insert_first(front)
    readers = tuple(ReadBy.of(reader, "decoded", "a Cast to float32 when a session loads") for reader in site.readers)
    return Lowered(site, item.forms, readers, caveats=("float16 holds 11 bits",))


KIND = FormKind(form=Half, lower=lower)
'''

METHOD = '''
"""Weights rounded to float16."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from half_form import Half

from dtc.forms import Form
from dtc.passes.method import Method, DistortionStep, Outcome, Weights
from dtc.passes.options import Options


class HalfOptions(Options):
    """There is nothing to choose."""


class Rounding(Method):
    """Round every weight to float16."""

    name: ClassVar[str] = "half"
    title: ClassVar[str] = "float16 weights"
    paper: ClassVar[str] = "IEEE 754, 2008"
    options_type: ClassVar[type[Options]] = HalfOptions
    example: ClassVar[Mapping[str, Any]] = {}
    gives: ClassVar[type[Form]] = Half
    heeds_mask: ClassVar[bool] = False

    @classmethod
    def estimate(cls, rows: int, cols: int) -> str:
        return "2x"

    def distort(self, weights: Sequence[Weights], at: DistortionStep = DistortionStep()) -> dict[str, Outcome]:
        return {w.site: tuple(Half(matrix.astype(np.float16)) for matrix in w.matrices) for w in weights}
'''

TARGET = '''
"""Files for a runtime that knows few operators."""

from dataclasses import replace

from dtc.passes.lower.targets.standard import TARGET as STANDARD

TARGET = replace(
    STANDARD,
    name="tiny",
    title="a runtime that knows few operators",
    operators=frozenset({"Cast", "Gemm", "MatMul", "Transpose", "Reshape"}),
)
'''

SOURCES = {"half_form": FORM, "half_lowering": LOWERING, "half_method": METHOD, "tiny_target": TARGET}
POINTS = {
    "dtc.forms": "half_form",
    "dtc.passes.lower": "half_lowering",
    "dtc.passes.methods": "half_method",
    "dtc.passes.lower.targets": "tiny_target",
}


@pytest.fixture(scope="module")
def dtc(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run the command line with the distribution on its path."""
    folder = tmp_path_factory.mktemp("site")
    distribution(folder, SOURCES, POINTS)
    return runner(folder)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "digits.onnx"
    save_model(models.build("digits-mlp"), path)
    return path


@pytest.mark.parametrize("target", ["compute", "standard", "tiny"])
def test_a_new_form_is_lowered_checked_and_told_in_its_own_words(
    dtc: Run, model: Path, tmp_path: Path, target: str
) -> None:
    output = tmp_path / "half.onnx"
    words = ("compress", model, "--method", "half", "--lower", target, "--seconds", 0, "--json", "-o", output)
    status, out, err = dtc(*words)
    assert status == 0, err
    assert "a Cast to float32 when a session loads" in out
    assert "float16 holds 11 bits" in out
    assert "computed on" not in out
    assert json.loads(out)
    assert "Cast" in {node.op_type for node in onnx.load(output).graph.node}


def test_a_new_form_can_be_the_factors_of_another(dtc: Run, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "factors.onnx"
    words = ("compress", model, "--method", "svd+half", "--rank", 8, "--seconds", 0, "-o", output)
    status, out, err = dtc(*words)
    assert status == 0, err
    assert "factors half (float16)" in out


def test_a_new_target_is_offered_and_holds_to_its_operators(dtc: Run, model: Path, tmp_path: Path) -> None:
    _, out, _ = dtc("ops", "targets")
    assert "a runtime that knows few operators" in out
    output = tmp_path / "binary.onnx"
    words = ("compress", model, "--method", "binary", "--bits", 2, "--lower", "tiny", "--seconds", 0, "-o", output)
    status, _, err = dtc(*words)
    assert status == 2
    assert "target tiny has no operator" in err
    assert not output.exists()


def test_a_target_that_is_not_there_is_refused_with_those_that_are(dtc: Run, model: Path) -> None:
    status, _, err = dtc("compress", model, "--method", "half", "--lower", "webgpu")
    assert status == 2
    assert "no target is called 'webgpu'; there are: compute, int2, scan, standard, storage, tiny" in err
