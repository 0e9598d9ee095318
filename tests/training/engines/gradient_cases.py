"""Run in the engine's process: gradients of losses and operators against central differences; prints JSON.

Case -> [training loss less evaluation loss, relative errors of directional derivatives by parameter, parameters].
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from engine_under_test import make_engine, tell

from dtc.models.net import Net
from dtc.recipe import Objective
from dtc.training.engine import Engine
from dtc.training.engine_kind import engines
from dtc.training.statistics import of_batch
from dtc.training.swap import swapped

FLOAT, INT64 = ir.DataType.FLOAT, ir.DataType.INT64
RNG = np.random.default_rng(11)


def real(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


@dataclass
class Case:
    """A model, and what it is fed with; labels of an mse are drawn where there are none."""

    model: ir.Model
    batch: dict[str, np.ndarray]
    objective: Objective = field(default_factory=lambda: Objective(loss="mse"))
    change: Callable[[Engine], None] = lambda engine: None
    batch_norm: str = "batch"


def loss_as_in_training(engine: Engine, batch: dict[str, np.ndarray]) -> float:
    """Return the loss in evaluation, every BatchNormalization with the batch's own statistics, or with frozen ones."""
    with swapped(engine.statistics, of_batch(engine, batch)):
        return engine.loss(batch)[0]


def examine(case: Case) -> list[object]:
    engine = make_engine(case.model, case.objective, threads=1, batch_norm=case.batch_norm)
    batch = dict(case.batch)
    if "labels" not in batch and case.objective.loss == "mse":
        batch["labels"] = real(*next(iter(engine.predict(batch).values())).shape)
    case.change(engine)
    result = engine.step(batch, seed=0)
    gradients = {name: value.copy() for name, value in result.gradients.items()}
    errors = {}
    for name, gradient in gradients.items():
        array, step = engine.parameters[name], 2e-3
        direction = (RNG.normal(size=array.shape) + np.sign(gradient)).astype("f")
        before, losses = array.copy(), []
        for sign in (1, -1):
            array[...] = before + np.float32(sign * step) * direction
            losses.append(loss_as_in_training(engine, batch))
        array[...] = before
        numeric, exact = (losses[0] - losses[1]) / (2 * step), float((gradient * direction).sum())
        errors[name] = abs(numeric - exact) / max(1e-2, abs(exact))
    return [abs(result.loss - loss_as_in_training(engine, batch)), errors, sorted(gradients)]


def dense(loss: str, labels: np.ndarray, shape: tuple[int, ...] = (5, 4), **options: object) -> Case:
    """A layer over the last axis of x and tanh before it."""
    net = Net("dense", 0)
    sizes = [f"d{axis}" for axis in range(len(shape) - 1)]
    x = net.input("x", FLOAT, [*sizes, shape[-1]])
    hidden = net.op("Tanh", "tanh", [net.op("MatMul", "first", [x, net.uniform("A", (shape[-1], 6), 1)])])
    out = net.op("MatMul", "second", [hidden, net.uniform("B", (6, 3), 1)])
    if options.pop("sigmoid", False):
        out = net.op("Sigmoid", "sigmoid", [out])
    model = net.model({"out": (out, [*sizes, 3])})
    return Case(
        model, {"x": real(*shape)} | ({} if labels is None else {"labels": labels}), Objective(loss=loss), **options
    )


def distilled() -> Case:
    def change(engine: Engine) -> None:
        for array in engine.parameters.values():
            array += np.float32(0.1) * real(*array.shape)

    return dense("distill", None, change=change)


def image_classes() -> Case:
    net = Net("segmentation", 0)
    x = net.input("x", FLOAT, ["N", 2, 4, 5])
    out = net.op("Conv", "conv", [x, net.uniform("W", (3, 2, 3, 3), 0.5)], kernel_shape=[3, 3], pads=[1] * 4)
    labels = RNG.integers(-1, 3, (2, 4, 5))
    model = net.model({"out": (out, ["N", 3, 4, 5])})
    return Case(model, {"x": real(2, 2, 4, 5), "labels": labels}, Objective(loss="cross-entropy"))


def conv(kind: str, weight: tuple[int, ...], x: tuple[int, ...], **attributes: object) -> Case:
    """One convolution with a bias, and a layer before it, so that the gradient of its input is tested too."""
    net = Net(kind, 0)
    data = net.input("x", FLOAT, x)
    group = int(attributes.get("group", 1))
    channels = weight[0] if kind == "Conv" else weight[1] * group
    first = net.op("Conv", "first", [data, net.uniform("V", (x[1], x[1], *[1] * (len(x) - 2)), 0.7)])
    inputs = [net.op("Tanh", "tanh", [first]), net.uniform("W", weight, 0.5), net.uniform("b", (channels,), 0.5)]
    out = net.op(kind, "conv", inputs, **attributes)
    return Case(net.model({"out": (out, [None] * len(x))}), {"x": real(*x)})


def transposed(weight: tuple[int, ...], x: tuple[int, ...], **attributes: object) -> Case:
    return conv("ConvTranspose", weight, x, **attributes)


def normalized(kind: str, batch_norm: str = "batch") -> Case:
    net = Net(kind, 0)
    x = net.input("x", FLOAT, ["N", 3, 4])
    first = net.op("MatMul", "first", [x, net.uniform("V", (4, 4), 1)])
    count = 4 if kind == "LayerNormalization" else 3
    inputs = [first, net.uniform("scale", (count,), 1), net.uniform("shift", (count,), 1)]
    if kind == "BatchNormalization":
        inputs += [net.constant("mean", real(3)), net.constant("var", np.abs(real(3)) + 0.5)]
    model = net.model({"out": (net.op(kind, "norm", inputs), ["N", 3, 4])})
    return Case(model, {"x": real(5, 3, 4)}, batch_norm=batch_norm)


def norm(net: Net, name: str, data: ir.Value, count: int) -> ir.Value:
    inputs = [net.uniform(f"{name}.scale", (count,), 1), net.uniform(f"{name}.shift", (count,), 1)]
    inputs += [net.constant(f"{name}.mean", np.zeros(count, "f")), net.constant(f"{name}.var", np.ones(count, "f"))]
    return net.op("BatchNormalization", name, [data, *inputs], epsilon=0.05)


def normalized_images(opset: int = 17) -> Case:
    """Two layers one behind the other, a sum around the second, and vectors normalised at the end."""
    net = Net("images", 0)
    x = net.input("x", FLOAT, ["N", 2, 5, 4])
    first = net.op("Conv", "first", [x, net.uniform("V", (3, 2, 3, 3), 0.5)], kernel_shape=[3, 3], pads=[1] * 4)
    hidden = net.op("Tanh", "tanh", [norm(net, "norm1", first, 3)])
    second = net.op("Conv", "second", [hidden, net.uniform("W", (3, 3, 1, 1), 0.7)], kernel_shape=[1, 1])
    joined = net.op("Tanh", "tanh2", [net.op("Add", "sum", [hidden, norm(net, "norm2", second, 3)])])
    pooled = net.op("Flatten", "flat", [net.op("GlobalAveragePool", "pool", [joined])])
    vectors = norm(net, "norm3", net.op("MatMul", "last", [pooled, net.uniform("U", (3, 4), 1)]), 4)
    model = net.model({"out": (vectors, ["N", 4])})
    model.opset_imports[""] = opset
    return Case(model, {"x": real(6, 2, 5, 4)})


def backwards() -> Case:
    """x[2::-1, :, ::-2] of what a layer gives."""
    net = Net("backwards", 0)
    first = net.op("MatMul", "first", [net.input("x", FLOAT, ["N", 3, 4]), net.uniform("W", (4, 5), 1)])
    lowest = -(2**63) + 1
    ends = {"starts": [2, -1], "ends": [lowest, lowest], "axes": [0, -1], "steps": [-1, -2]}
    inputs = [net.constant(name, np.array(numbers, np.int64)) for name, numbers in ends.items()]
    out = net.op("Slice", "out", [first, *inputs])
    return Case(net.model({"y": (out, [None, 3, 3])}), {"x": real(4, 3, 4)})


def tied() -> Case:
    net = Net("tied", 0)
    ids = net.input("ids", INT64, ["T", "N"])
    table = net.uniform("table", (7, 5), 1)
    rows = net.op("Tanh", "tanh", [net.op("Gather", "rows", [table, ids])])
    out = net.op("MatMul", "out", [rows, net.op("Transpose", "turned", [table], perm=[1, 0])])
    batch = {"ids": np.array([[1, 1, 6], [0, 1, -1]]), "labels": np.array([[2, -1, 6], [0, 1, 3]])}
    return Case(net.model({"logits": (out, ["T", "N", 7])}), batch, Objective(loss="cross-entropy"))


def shared() -> Case:
    """One matrix read by two products."""
    net = Net("shared", 0)
    weight = net.uniform("W", (4, 4), 1)
    hidden = net.op("Tanh", "tanh", [net.op("MatMul", "first", [net.input("x", FLOAT, ["N", 4]), weight])])
    return Case(net.model({"out": (net.op("MatMul", "second", [hidden, weight]), ["N", 4])}), {"x": real(5, 4)})


def contracted(equation: str, weight: tuple[int, ...], x: tuple[int, ...], out: int) -> Case:
    """An Einsum behind a layer, whose other sizes are free."""
    net = Net("einsum", 0)
    data = net.input("x", FLOAT, [f"d{axis}" for axis in range(len(x) - 1)] + [x[-1]])
    hidden = net.op("Tanh", "tanh", [net.op("MatMul", "first", [data, net.uniform("V", (x[-1], x[-1]), 1)])])
    operands = [hidden, net.uniform("W", weight, 1)]
    if equation.startswith("W"):
        operands, equation = operands[::-1], equation[1:]
    if equation.partition("->")[0].count(",") == 2:
        operands.append(net.uniform("U", (weight[-1],), 1))
    return Case(
        net.model({"out": (net.op("Einsum", "einsum", operands, equation=equation), [None] * out)}), {"x": real(*x)}
    )


def looked_up(table: tuple[int, ...], axis: int) -> Case:
    net = Net("entries", 0)
    rows = net.op("Gather", "rows", [net.uniform("W", table, 1), net.input("ids", INT64, ["N"])], axis=axis)
    out = net.op("Tanh", "tanh", [rows])
    return Case(net.model({"out": (out, [None] * len(table))}), {"ids": np.array([1, 1, 0, 3])})


def split() -> Case:
    """Three weights of one."""
    net = Net("split", 0)
    x = net.input("x", FLOAT, ["N", 4])
    sizes = net.constant("sizes", np.array([3, 2, 4]))
    parts = net.ops("Split", "split", [net.uniform("W", (4, 9), 1), sizes], ["a", "b", "c"], axis=1)
    parts = [net.op("MatMul", f"product {part.name}", [x, part]) for part in parts]
    return Case(net.model({"out": (net.op("Concat", "out", parts, axis=1), ["N", 9])}), {"x": real(5, 4)})


def silent(power: float | None) -> Case:
    """The magnitudes of a spectrum, in which some rows of x are 0: there the root has an infinite derivative."""
    net = Net("silence", 0)
    x = net.input("x", FLOAT, ["N", 4])
    parts = [net.op("MatMul", name, [x, net.uniform(f"W{name}", (4, 5), 1)]) for name in ("real", "imaginary")]
    squares = [net.op("Mul", f"{part.name}.square", [part, part]) for part in parts]
    total = net.op("Add", "total", squares)
    exponent = [] if power is None else [net.constant("exponent", np.array(power, np.float32))]
    out = net.op("Pow" if exponent else "Sqrt", "root", [total, *exponent])
    return Case(net.model({"y": (out, ["N", 5])}), {"x": real(5, 4) * np.array([[1], [0], [1], [0], [1]], "f")})


def newer_opset() -> Case:
    case = dense("mse", None)
    case.model.opset_imports[""] = 23
    return case


def before_control_flow() -> Case:
    """An If, whose branches read values of the graph around them, makes the input of the weights."""
    net = Net("branches", 0)
    x = net.input("x", FLOAT, ["N", 4])
    doubled = net.op("Add", "doubled", [x, x])
    branches = []
    for name in ("Neg", "Tanh"):
        node = ir.node(name, [doubled], name=name)
        node.outputs[0].name, node.outputs[0].type = f"{name}.out", ir.TensorType(FLOAT)
        node.outputs[0].shape = ir.Shape(["N", 4])
        branches.append(ir.Graph([], node.outputs, nodes=[node], name=name))
    flag = net.constant("flag", np.array(True))
    chosen = net.op("If", "if", [flag], then_branch=branches[0], else_branch=branches[1])
    out = net.op("MatMul", "out", [chosen, net.uniform("W", (4, 3), 1)])
    return Case(net.model({"y": (out, ["N", 3])}), {"x": real(5, 4)})


CASES: dict[str, Callable[[], Case]] = {
    "mse": lambda: dense("mse", None),
    "bce": lambda: dense("bce", RNG.integers(0, 2, (5, 3)).astype("f")),
    "bce of probabilities": lambda: dense("bce", RNG.random((5, 3)).astype("f"), sigmoid=True),
    "distillation": distilled,
    "cross-entropy": lambda: dense("cross-entropy", np.array([0, 2, -1, 1, -1])),
    "cross-entropy of steps": lambda: dense("cross-entropy", RNG.integers(-1, 3, (4, 3)), (4, 3, 5)),
    "cross-entropy of pixels": image_classes,
    "convolution": lambda: conv("Conv", (4, 3, 3, 2), (2, 3, 6, 5), strides=[2, 1], pads=[1, 0, 0, 1]),
    "grouped and dilated": lambda: conv("Conv", (4, 2, 3, 3), (2, 4, 7, 7), group=2, dilations=[2, 2]),
    "same upper": lambda: conv("Conv", (3, 2, 3, 3), (2, 2, 6, 7), strides=[2, 2], auto_pad="SAME_UPPER"),
    "same lower": lambda: conv("Conv", (3, 2, 2, 3), (2, 2, 6, 7), auto_pad="SAME_LOWER"),
    "grouped, one-dimensional": lambda: conv("Conv", (4, 2, 3), (2, 4, 5), group=2, strides=[2], pads=[1, 2]),
    "a channel each, one-dimensional": lambda: conv("Conv", (32, 1, 5), (1, 32, 2), group=32, pads=[2, 2]),
    "grouped, three-dimensional": lambda: conv("Conv", (4, 2, 3, 2, 2), (2, 4, 4, 3, 3), group=2, pads=[1] * 6),
    "transposed, grouped, one-dimensional": lambda: transposed((4, 2, 3), (2, 4, 4), group=2, strides=[2]),
    "one-dimensional": lambda: conv("Conv", (3, 2, 4), (2, 2, 9), strides=[2], pads=[1, 2]),
    "transposed": lambda: transposed((3, 4, 3, 2), (2, 3, 4, 5), pads=[1, 0, 0, 1]),
    "transposed with strides": lambda: transposed(
        (3, 4, 3, 3), (2, 3, 4, 5), strides=[2, 3], pads=[1, 1, 1, 1], output_padding=[1, 0]
    ),
    "transposed, grouped, dilated": lambda: transposed(
        (4, 2, 3, 2), (2, 4, 4, 3), group=2, dilations=[2, 2], strides=[1, 2]
    ),
    "transposed and cropped": lambda: transposed((2, 3, 2, 2), (1, 2, 4, 4), strides=[3, 2], pads=[1, 1, 2, 1]),
    "transposed, one-dimensional": lambda: transposed((2, 3, 4), (2, 2, 5), strides=[2], pads=[1, 1]),
    "transposed, same upper": lambda: transposed((2, 3, 4, 3), (1, 2, 4, 5), strides=[1, 2], auto_pad="SAME_UPPER"),
    "transposed, same lower": lambda: transposed((2, 3, 4, 3), (1, 2, 4, 5), strides=[1, 2], auto_pad="SAME_LOWER"),
    "transposed, given output": lambda: transposed((2, 3, 3, 3), (1, 2, 4, 5), strides=[2, 2], output_shape=[8, 10]),
    "BatchNormalization": lambda: normalized("BatchNormalization"),
    "BatchNormalization, frozen": lambda: normalized("BatchNormalization", "frozen"),
    "BatchNormalization of images": normalized_images,
    "BatchNormalization of images, opset 13": lambda: normalized_images(13),
    "BatchNormalization of images, opset 21": lambda: normalized_images(21),
    "LayerNormalization": lambda: normalized("LayerNormalization"),
    "tied embedding, repeated ids": tied,
    "slice running backwards": backwards,
    "shared weight": shared,
    "Einsum": lambda: contracted("bi,io->bo", (4, 3), (5, 4), 2),
    "Einsum, weight first, an axis summed": lambda: contracted("Woi,bti->ob", (3, 4), (5, 2, 4), 2),
    "Einsum of heads": lambda: contracted("bti,ihd->bhtd", (4, 2, 3), (5, 3, 4), 4),
    "Einsum over a stack, ellipsis": lambda: contracted("...hi,hio->...ho", (2, 4, 3), (5, 3, 2, 4), 4),
    "Einsum of three": lambda: contracted("bi,ij,j->b", (4, 3), (5, 4), 1),
    "entries of a stack": lambda: looked_up((4, 2, 3), 0),
    "entries along an axis": lambda: looked_up((2, 4, 3), -2),
    "split weight": split,
    "square root of zeros": lambda: silent(None),
    "power of zeros": lambda: silent(0.75),
    "opset 23": newer_opset,
    "control flow before the weights": before_control_flow,
}  # fmt: skip


if "ctc" in engines()[os.environ["ENGINE_UNDER_TEST"]].losses:
    CASES["ctc"] = lambda: dense("ctc", np.array([[1, 2, 1], [2, 2, -1]]), (5, 2, 4))


if __name__ == "__main__":
    tell({name: lambda build=build: examine(build()) for name, build in CASES.items()})
