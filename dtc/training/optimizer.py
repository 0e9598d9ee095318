"""Optimizers, in place, as PyTorch defines them, of arrays in host memory or on a device.

Arrays in host memory are gone through in blocks that stay in the cache: a step reads and writes every array once, and
allocates nothing. On a device all are taken at once, whole. The gradients themselves are left as they are.

Parameters that must stay positive are updated in their logarithm (S. Jain et al.: Trained quantization thresholds,
2020, arXiv 1903.08066), and do not decay.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dtc import recipe
from dtc.device_arrays import DeviceArray, Tensors, copied, namespace
from dtc.errors import TrainingError
from dtc.training.engine import Live

BLOCK = 1 << 15
"""Elements; the up to six blocks in use at a time fit in the second-level cache of any current core."""

_BEGUN = "begun"
"""Kind of state: the step after which a parameter was taken in."""

_DOUBLING = math.log(2)


class ArrayOptimizer(ABC):
    """Updates parameters in place.

    Attributes:
        state: The arrays to keep between steps, by `<kind>/<parameter>`, where the parameter lies; a checkpoint holds
            them.
    """

    slots: tuple[str, ...] = ()

    def __init__(
        self, options: recipe.Optimizer, parameters: Mapping[str, DeviceArray], positive: Collection[str] = ()
    ) -> None:
        self.options, self.positive = options, frozenset(positive)
        self.state: Live = {}
        self.begin(parameters)
        self._scratch = (np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32))

    def begin(self, parameters: Mapping[str, DeviceArray], *, t: int = 0) -> None:
        """Take in parameters that are trained from step `t + 1` on, their state at zero."""
        for name, array in parameters.items():
            self.state |= {f"{slot}/{name}": namespace(array).zeros_like(array) for slot in self.slots}
            if t:
                self.state[f"{_BEGUN}/{name}"] = np.array([t], np.float32)

    def step(
        self, parameters: Mapping[str, DeviceArray], gradients: Mapping[str, DeviceArray], *, rate: float, t: int
    ) -> float:
        """Update every parameter that has a gradient, as step number `t` (from 1); return the norm of all gradients.

        The norm is the one before clipping. Nothing is changed where it is not finite.

        Raises:
            TrainingError: The norm is not finite.
        """
        # 1. One norm over all parameters, so that clipping keeps the direction of the step.
        norm = global_norm(gradients)
        if not math.isfinite(norm):
            raise TrainingError(
                f"step {t}: the gradient is not finite{_culprits(gradients)}; lower the learning rate, or freeze them"
            )
        limit = self.options.clip_norm
        # The 1e-6 is that of torch.nn.utils.clip_grad_norm_. With limit 1 and norm 4 every gradient is scaled by 0.25.
        scale = 1.0 if limit is None else min(1.0, limit / (norm + 1e-6))
        # 2. Scales are few numbers: no blocks of scratch memory, and no weight decay, which would pull them to zero.
        for name in gradients.keys() & self.positive:
            own = self._count(name, t)
            self._step_logarithm(parameters[name], gradients[name], self._slots(name), scale, rate, own)
        # 3. All others. What has no gradient (a weight that latents stand for) is not touched.
        for own, arrays in self._updated(parameters, gradients, t):
            for parameter, grad, *state in _blocks(arrays):
                # The gradient is the engine's: it is scaled into scratch memory.
                scratch, spare = self._scratch_for(grad)
                namespace(grad).multiply(grad, scale, out=scratch)
                self._decay(parameter, scratch, spare, rate)
                self._update(parameter, scratch, spare, state, rate, own)
        return norm

    def _count(self, name: str, t: int) -> int:
        """Return the steps of a parameter, which may have been taken in late: bias correction goes by them."""
        begun = self.state.get(f"{_BEGUN}/{name}")
        return t if begun is None else t - int(begun[0])

    def _slots(self, name: str) -> list[DeviceArray]:
        return [self.state[f"{slot}/{name}"] for slot in self.slots]

    def _updated(
        self, parameters: Mapping[str, DeviceArray], gradients: Mapping[str, DeviceArray], t: int
    ) -> Iterator[tuple[int, list[list[DeviceArray]]]]:
        """Yield what is updated alike: a count of steps, and of each parameter itself, its gradient and its state."""
        alike = defaultdict[tuple[int, bool], list[list[DeviceArray]]](list)
        for name, gradient in gradients.items():
            if name not in self.positive:
                here = namespace(gradient) is np
                alike[self._count(name, t), here].append([parameters[name], gradient, *self._slots(name)])
        yield from ((own, arrays) for (own, _), arrays in alike.items())

    def _scratch_for(self, block: DeviceArray) -> tuple[DeviceArray, DeviceArray]:
        """Return two arrays like a block; on a device they are the allocator's to keep."""
        if isinstance(block, np.ndarray):
            first, second = self._scratch
            return first[: block.size], second[: block.size]
        lib = namespace(block)
        return lib.empty_like(block), lib.empty_like(block)

    def _step_logarithm(
        self,
        parameter: DeviceArray,
        gradient: DeviceArray,
        slots: list[DeviceArray],
        scale: float,
        rate: float,
        t: int,
    ) -> None:
        """Update a parameter that must stay positive, by a factor of two at most.

        The gradient is divided by the parameter: so the step of SGD is the one that it would take without the
        logarithm, as long as it is small, and that of Adam is a share of the parameter, however small that is.
        """
        # With p = exp(l) and slope g / p, a step of SGD moves l by -rate g / p, and p by about -rate g. For p = 0.5, g
        # = 0.2, rate = 0.01: l moves by -0.004, p to 0.5 exp(-0.004) = 0.498; without the logarithm it is 0.498, too.
        lib = namespace(parameter)
        before = lib.log(parameter, out=lib.empty_like(parameter))
        logarithm = copied(before)
        slope = lib.divide(gradient * np.float32(scale), parameter, out=lib.empty_like(parameter))
        # Blocks of the logarithm are views, so the updates land in it; `slope` is a copy that may be overwritten.
        for block, grad, *state in _blocks([[logarithm, slope, *slots]]):
            self._update(block, grad, namespace(grad).empty_like(grad), state, rate, t)
        # At most a factor of two a step: one large gradient cannot make a scale vanish, from where it would not come
        # back.
        lib.exp(lib.clip(logarithm, before - _DOUBLING, before + _DOUBLING), out=parameter)

    @abstractmethod
    def _update(
        self, p: DeviceArray, g: DeviceArray, spare: DeviceArray, state: list[Any], rate: float, t: int
    ) -> None:
        """Update a block; `g` and `spare` may be overwritten."""

    def _decay(self, p: DeviceArray, g: DeviceArray, spare: DeviceArray, rate: float) -> None:
        """Add the weight decay to the gradient."""
        if self.options.weight_decay:
            namespace(p).multiply(p, self.options.weight_decay, out=spare)
            g += spare


class Sgd(ArrayOptimizer):
    """Stochastic gradient descent without momentum (torch.optim.SGD)."""

    def _update(
        self, p: DeviceArray, g: DeviceArray, spare: DeviceArray, state: list[Any], rate: float, t: int
    ) -> None:
        g *= rate
        p -= g


class Momentum(ArrayOptimizer):
    """SGD with momentum, without dampening (torch.optim.SGD with `momentum`)."""

    slots = ("momentum",)

    def _update(
        self, p: DeviceArray, g: DeviceArray, spare: DeviceArray, state: list[Any], rate: float, t: int
    ) -> None:
        (velocity,) = state
        velocity *= self.options.momentum
        velocity += g
        namespace(p).multiply(velocity, rate, out=g)
        p -= g


class Adam(ArrayOptimizer):
    """Adam with the weight decay added to the gradient (torch.optim.Adam).

    D. Kingma, J. Ba, 2014 (arXiv 1412.6980), algorithm 1.
    """

    slots = ("mean", "square")

    def _update(
        self, p: DeviceArray, g: DeviceArray, spare: DeviceArray, state: list[Any], rate: float, t: int
    ) -> None:
        # p -= rate / (1 - beta1^t) * mean / (sqrt(square) / sqrt(1 - beta2^t) + epsilon), without new arrays.
        mean, square = state
        beta1, beta2 = self.options.betas
        # mean = beta1 mean + (1 - beta1) g, the first moment of algorithm 1.
        namespace(p).multiply(g, 1 - beta1, out=spare)
        mean *= beta1
        mean += spare
        # square = beta2 square + (1 - beta2) g^2, the second one. From here on g is memory, not the gradient.
        g *= g
        g *= 1 - beta2
        square *= beta2
        square += g
        # g = sqrt(square / (1 - beta2^t)) + epsilon: the bias correction is under the root, epsilon is not. At t = 1
        # and beta2 = 0.999 the correction is a factor of 31.6.
        namespace(p).sqrt(square, out=g)
        g *= 1 / math.sqrt(1 - beta2**t)
        g += self.options.epsilon
        # The correction of the mean, 1 / (1 - beta1^t), goes into the rate: one number instead of one pass over the
        # block.
        namespace(p).divide(mean, g, out=g)
        g *= rate / (1 - beta1**t)
        p -= g


class AdamW(Adam):
    """Adam with decoupled weight decay (torch.optim.AdamW).

    I. Loshchilov, F. Hutter, 2017 (arXiv 1711.05101), algorithm 2.
    """

    def _decay(self, p: DeviceArray, g: DeviceArray, spare: DeviceArray, rate: float) -> None:
        """Make the parameters smaller, and leave the gradient alone."""
        if self.options.weight_decay:
            p *= 1 - rate * self.options.weight_decay


def make_optimizer(
    options: recipe.Optimizer, parameters: Mapping[str, DeviceArray], positive: Collection[str] = ()
) -> ArrayOptimizer:
    """Return the optimizer of a recipe with all state at zero; parameters named in `positive` must stay positive."""
    match options.kind:
        case "sgd":
            return (Momentum if options.momentum else Sgd)(options, parameters, positive)
        case "adam":
            return Adam(options, parameters, positive)
        case "adamw":
            return AdamW(options, parameters, positive)


def _culprits(gradients: Mapping[str, DeviceArray]) -> str:
    """Return in words which parameters have a gradient that is not finite; nothing where only their norm overflows."""
    names = [name for name, gradient in gradients.items() if not bool(namespace(gradient).isfinite(gradient).all())]
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f" in {names[0]!r}{more}" if names else ""


def global_norm(gradients: Mapping[str, DeviceArray]) -> float:
    """Return the Euclidean norm of all gradients together."""
    here, there = _by_place(gradients.values())
    squares = sum(float(np.dot(each.reshape(-1), each.reshape(-1))) for each in here)
    return math.sqrt(squares + Tensors(there).norm() ** 2) if there else math.sqrt(squares)


def _by_place(arrays: Iterable[DeviceArray]) -> tuple[list[DeviceArray], list[DeviceArray]]:
    """Return the arrays in host memory, and those on a device."""
    found: tuple[list[DeviceArray], list[DeviceArray]] = [], []
    for array in arrays:
        found[namespace(array) is not np].append(array)
    return found


def _blocks(alike: Sequence[Sequence[DeviceArray]]) -> Iterator[tuple[DeviceArray, ...]]:
    """Yield the parts of arrays that are updated together: of each in turn, all of one shape; on a device of all."""
    if not isinstance(alike[0][0], np.ndarray):
        yield tuple(map(Tensors, zip(*alike, strict=True)))
        return
    for parameter, *others in alike:
        # Reshaping an array that is not contiguous would copy it, and the update would be lost.
        assert parameter.flags.c_contiguous, "parameters are contiguous"
        flat = [array.reshape(-1) for array in (parameter, *others)]
        for start in range(0, parameter.size, BLOCK):
            yield tuple(array[start : start + BLOCK] for array in flat)
