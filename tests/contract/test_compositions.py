"""All pairs of methods: they are composed and compute what their forms say, or are refused with the reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import onnx_ir as ir
import pytest
from running import lowered_error, random_feeds

import dtc.passes.method
from dtc.errors import UsageError
from dtc.forms import BinaryCode, Form, LowRank
from dtc.forms.sparse import Sparse
from dtc.passes.compose import Composition, compositions, make_methods
from dtc.passes.method import DistortionStep, Method, Outcome, Skip, Weights, methods
from dtc.passes.options import Options
from dtc.passes.plan import make_plan
from dtc.recipe import Rule

NAMES = sorted(methods())
PAIRS = compositions()


def options(*names: str) -> dict[str, Any]:
    return {option: value for name in names for option, value in methods()[name].example.items()}


def model() -> ir.Model:
    """A product and a look-up."""
    made = ir.from_onnx_text("""
        <ir_version: 10, opset_import: ["": 17]>
        g (float[2, 48] x, int64[3] ids) => (float[2, 40] y, float[3, 32] rows) {
            y = MatMul(x, W)
            rows = Gather(E, ids)
        }
    """)
    for node, index, name, shape in ((made.graph[0], 1, "W", (48, 40)), (made.graph[1], 0, "E", (60, 32))):
        value = node.inputs[index]
        assert value is not None
        array = np.random.default_rng(len(name) + index).normal(size=shape).astype(np.float32)
        value.const_value = ir.tensor(array, name=name)
        value.shape, value.dtype = ir.Shape(shape), ir.DataType.FLOAT
        made.graph.register_initializer(value)
    return made


@pytest.mark.parametrize("second", NAMES)
@pytest.mark.parametrize("first", NAMES)
def test_a_pair_is_composed_or_refused_for_what_it_lacks(first: str, second: str) -> None:
    made = methods()
    if (first, second) in PAIRS:
        assert isinstance(make_methods(f"{first}+{second}", options(first, second)), Composition)
        return
    with pytest.raises(UsageError, match=rf"method {first}\+{second} makes no sense: ") as refused:
        make_methods(f"{first}+{second}", options(first, second))
    reason = str(refused.value)
    lacking = {
        f"{first} neither prunes nor factors": not issubclass(made[first].gives, LowRank | Sparse),
        f"{second} factors as {first} does": issubclass(made[second].gives, LowRank),
        f"{second} keeps its mask": made[second].keeps_mask,
        f"{second} neither codes nor factors": issubclass(made[second].gives, Sparse),
        f"{second} heeds no mask": not made[second].heeds_mask,
    }
    assert any(words in reason and lacks for words, lacks in lacking.items()), reason
    assert (f"; write {second}+{first}" in reason) == ((second, first) in PAIRS and "coded once" in reason)


def test_the_pairs_are_those_of_the_readme() -> None:
    assert {("prune", "binary"), ("prune", "codebook"), ("svd", "binary"), ("svd", "prune"), ("prune", "svd")} <= set(
        PAIRS
    )


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_a_composition_computes_what_its_forms_say(first: str, second: str) -> None:
    """Tolerance: float32 sums in another order, and kernels on 16-bit tables."""
    built = model()
    plan = make_plan(built, [Rule(method=f"{first}+{second}", options=options(first, second))])
    distorted = plan.distort()
    assert not distorted.skipped
    for site in plan.sites:
        array = site.array()
        assert np.square(distorted.dense[site.name] - array).sum() < np.square(array).sum()
    assert lowered_error(built, plan.compressed(distorted.forms), random_feeds(built)) < 1e-4


@pytest.mark.parametrize("second", sorted(b for a, b in PAIRS if a == "svd" and methods()[b].compensates))
def test_factors_are_treated_by_what_they_read(second: str) -> None:
    """The left factor reads what the right one makes of the inputs: its errors are made up for there."""
    rng = np.random.default_rng(2)
    matrix = rng.normal(size=(1, 60, 50)).astype(np.float32)
    x = rng.normal(size=(400, 50)) @ np.diag(np.linspace(0.05, 3, 50)) @ rng.normal(size=(50, 50))
    weights = Weights("w", matrix, "node", gram=lambda: (x.T @ x / len(x))[None])
    errors = []
    for compensate in (False, True):
        method = make_methods(f"svd+{second}", {**options("svd", second), "compensate": compensate})
        outcome = method.distort([weights])["w"]
        assert not isinstance(outcome, Skip)
        errors.append(np.square(x @ (outcome[0].dense() - matrix[0]).T).sum())
    assert errors[1] < errors[0]


class Deaf(Method):
    """Codes that know nothing of masks."""

    name: ClassVar[str] = "deaf"
    title: ClassVar[str] = "signs"
    paper: ClassVar[str] = "none"
    options_type: ClassVar[type[Options]] = Options
    example: ClassVar[Mapping[str, Any]] = {}
    gives: ClassVar[type[Form]] = BinaryCode

    @classmethod
    def estimate(cls, rows: int, cols: int) -> str:
        return ""

    def distort(self, weights: Sequence[Weights], at: DistortionStep = DistortionStep()) -> dict[str, Outcome]:
        return {}


def test_a_method_of_nobodys_list_goes_by_its_abilities(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {**methods(), "deaf": Deaf}
    for module in (dtc.passes.method, dtc.passes.compose):
        monkeypatch.setattr(module, "methods", lambda: known)
    assert isinstance(make_methods("svd+deaf", {"rank": 4}), Composition)
    with pytest.raises(UsageError, match="deaf heeds no mask: it would give other values to weights that prune made"):
        make_methods("prune+deaf", {"sparsity": 0.5})
    assert [pair for pair in compositions() if "deaf" in pair] == [("svd", "deaf")]
