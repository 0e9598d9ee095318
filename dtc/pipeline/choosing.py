"""The first stages: the graph is made regular, its sites are found, and each is given to a method."""

from __future__ import annotations

import onnx_ir as ir

from dtc.errors import ModelError, RecipeError, RuleError
from dtc.graph.walk import replace_tensors
from dtc.passes import prepare
from dtc.passes.leftovers import told_compressed
from dtc.passes.plan import make_plan
from dtc.passes.prepare.quantize_activations import require_quantizers
from dtc.pipeline.reference import tensors_of
from dtc.pipeline.work import Work
from dtc.training.run import create_run


def normalise(work: Work) -> None:
    """Normalise the graph of the model in place, so that sites can be found."""
    prepare.normalise(work.model)
    replace_tensors(work.model, lambda tensor: work.on_disk(tensor) if isinstance(tensor, ir.Tensor) else tensor)
    work.given = tensors_of(work.model)
    work.undistorted = work.model.clone()  # shares its arrays, which no stage changes in place


def choose(work: Work) -> None:
    """Give every site to the first rule that matches it, and remember the original's weights.

    Raises:
        RecipeError: A rule is wrong; the message names its line.
        UsageError: Likewise, of a recipe that came from no file.
        ModelError: The model has no site, or its opset has no quantizers, which the recipe asks for.
    """
    recipe = work.recipe
    try:
        if recipe.activations.bits is not None:
            require_quantizers(work.model)
        work.plan = make_plan(work.model, recipe.rules, recipe.lean.rest_bits)
    except RuleError as error:
        place = recipe.place(error.path)
        # The recipe came from the command line: the error names the option already. From a file: its line, and the path
        # there, such as "rules.0.include".
        if place is None:
            raise
        raise RecipeError(f"{place}: {'.'.join(map(str, error.path))}: {error.reason}") from error
    except ModelError as error:
        raise ModelError(f"{work.original}: {error}") from error
    told = told_compressed(work.model)
    work.remarks += [] if told is None else [f"{told}; these are left as they are"]
    # Tensors, not copies: later stages give a site a new tensor and leave the old one as it was.
    tensors = {site.name: site.value.const_value for site in work.plan.sites}
    work.untouched = {name: tensor for name, tensor in tensors.items() if tensor is not None}


def begin_run(work: Work) -> None:
    """Make the run directory if one was asked for, and let the work continue with the copies in that directory.

    Raises:
        UsageError: The folder exists already.
        DataError: There is no such data.
    """
    if work.run is not None or work.run_folder is None:
        return
    run = create_run(
        work.run_folder,
        work.recipe,
        work.original,
        base=work.samples.base,
        replace=work.job.force,
        quantizations=work.levels,
        moments=work.moments.all_moments() if work.moments and work.recipe.training else (),
    )
    work.began_run = True
    work.job.write(run.folder)
    work.move_into(run)
