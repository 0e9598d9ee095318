"""The table of `dtc.passes.lower.costs`: how many times faster than the dense product each form is, by rows and size.

Run: `python tests/benchmarks/native_costs.py`. One thread; small weights stay in a cache, as those of a small model do,
and the largest come from memory.
"""

from __future__ import annotations

import platform
from functools import partial

import native_matmul as products
import onnxruntime

from dtc.passes.lower.costs import ROWS, SIDES

SECONDS = 0.5
MOST_BYTES = {128: 1 << 20, 512: 8 << 20, 2048: 96 << 20}
"""Dense weights of all copies together, by side."""

FORMS: dict[str, products.Weight] = {
    **{f"binary {bits}": partial(products.binary, bits, 1) for bits in (1, 2, 3, 4, 8)},
    **{f"sparse {zeros}%": partial(products.sparse, 1 - zeros / 100) for zeros in (50, 80, 90, 95, 98)},
    "codebook 4 x 1": partial(products.codebook, 2, 1),
    "codebook 16 x 1": partial(products.codebook, 4, 1),
    "codebook 256 x 1": partial(products.codebook, 8, 1),
    "codebook 256 x 4": partial(products.codebook, 8, 4),
    "codebook 256 x 8": partial(products.codebook, 8, 8),
}


def speeds(side: int, rows: int) -> dict[str, float]:
    """Return the speed of each form against the dense product of that side, for so many rows at once."""
    products.COLD_BYTES = MOST_BYTES[side]
    products.MOST_COPIES = MOST_BYTES[side] // (4 * side * side)
    forms = {"dense": products.dense, **FORMS}
    found = products.medians(
        {name: products.runner(form, side, side, rows, 1) for name, form in forms.items()}, SECONDS
    )
    return {name: found["dense"] / found[name] for name in FORMS}


def main() -> None:
    """Print the table."""
    print(f"# {products.processor()}; ONNX Runtime {onnxruntime.__version__}, Python {platform.python_version()}")
    table = [[speeds(side, rows) for side in SIDES] for rows in ROWS]
    for name in FORMS:
        by_rows = (f"({', '.join(f'{column[name]:.1f}' for column in columns)})" for columns in table)
        print(f'    "{name}": ({", ".join(by_rows)}),')


if __name__ == "__main__":
    main()
