"""What else of a model gets smaller, beside the weights that methods compress.

Each of these is a choice of a recipe (`dtc.recipe.Lean`), and a rewrite of the copy of the model that is lowered.
"""

from dtc.passes.lean.batch_norm import Folded, fold_batch_norms
from dtc.passes.lean.names import names_bytes, strip_names

__all__ = ["Folded", "fold_batch_norms", "names_bytes", "strip_names"]
