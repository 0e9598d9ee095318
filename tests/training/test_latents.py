"""Codewords trained in place of the weights: assignments stay, small steps add up, a resumed run is the same run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fake_engine import Accuracy, FakeEngine, FakePlan, make_retraining, make_run_inputs, network, samples
from test_resume import content

from dtc.data import ArraySource
from dtc.errors import RuleError, TrainingError
from dtc.passes.compose import make_methods
from dtc.passes.plan import make_plan
from dtc.recipe import Rule
from dtc.training.run import create_run
from dtc.training.work import Tools, work


def rules(**options) -> list[Rule]:
    given = {"codewords": 6, "block": 1, "codeword_bits": 4, "keep_assignments": True, **options}
    return [Rule(method="codebook", options=given, include=["W", "U"])]


def source() -> ArraySource:
    return ArraySource("samples", samples(), 16, keep_short=False)


def run_of(**options):
    model = network()
    run = make_retraining(
        source(), source(), model=model, steps=12, distort_every=4, optimizer={"kind": "sgd", "learning_rate": 0.002}
    )
    run.session.plan = make_plan(model, rules(**options))
    return run


@pytest.mark.parametrize("bits", [4, 16, 32])
def test_after_the_first_distortion_every_block_keeps_its_codeword(bits: int) -> None:
    run = run_of(codeword_bits=bits)
    seen = []
    step = run.session.engine.step

    def watch(batch, *, seed):
        seen.append({name: array.copy() for name, array in run.session.engine.parameters.items()})
        return step(batch, seed=seed)

    run.session.engine.step = watch
    assert run.run()
    seen.append(run.session.engine.parameters)
    assert len(np.unique(seen[3]["W"])) > 6
    for name in ("W", "U"):
        groups = [np.unique(at[name], return_inverse=True) for at in seen[4:]]
        assert all(len(values) <= 6 for values, _ in groups)
        members = seen[4][name]
        for at in seen[5:]:  # equal weights stay equal
            for value in np.unique(members):
                assert len(np.unique(at[name][members == value])) == 1
        assert not np.array_equal(seen[4][name], seen[-1][name])
    assert not np.array_equal(seen[4]["V"], seen[-1]["V"])


def test_steps_too_small_for_the_grid_add_up() -> None:
    run = run_of(codeword_bits=2)
    assert run.run()
    latents = run.session.progress.latents
    assert latents is not None
    words, rounded = latents.arrays["W::codewords"], latents.forms()["W"][0].codewords
    assert rounded.bits == 2
    assert not np.array_equal(words, rounded.values)
    np.testing.assert_array_equal(run.session.engine.parameters["W"].T, latents.forms()["W"][0].dense())
    assert run.journal.bests[-1][2]["W"][0].codewords.bits == 2


def test_a_step_is_that_of_gradient_descent_on_the_codewords() -> None:
    run = run_of(codeword_bits=32)
    run.schedule = replace(run.schedule, steps=4)
    assert run.run()
    run.schedule = replace(run.schedule, steps=5, distort_every=99)
    before = run.session.engine.parameters["W"].copy()
    slopes = {}
    step = run.session.engine.step

    def watch(batch, *, seed):
        result = step(batch, seed=seed)
        slopes.update({name: array.copy() for name, array in result.gradients.items()})
        return result

    run.session.engine.step = watch
    assert run.run()
    for value in np.unique(before):
        mean = slopes["W"][before == value].mean()
        np.testing.assert_allclose(run.session.engine.parameters["W"][before == value], value - 0.002 * mean, atol=1e-6)


def test_a_resumed_run_is_the_run_that_never_stopped(tmp_path) -> None:
    contents = []
    for name, pauses in (("whole", []), ("stopped", [3, 25])):
        folder = tmp_path / name
        folder.mkdir()
        recipe, model = make_run_inputs(folder, optimizer={"kind": "adam", "learning_rate": 0.01})
        recipe = recipe.model_copy(update={"rules": tuple(rules())})
        run = create_run(folder / "run", recipe, model, base=folder).folder
        tools = Tools(lambda model, recipe, teacher: FakeEngine(model), make_plan, lambda name: Accuracy())
        for pause in pauses:
            stops = iter([False] * pause + [True])
            assert not work(run, tools, should_stop=lambda stops=stops: next(stops))
        assert work(run, tools, should_stop=lambda: False)
        contents.append(content(run))
    assert contents[0] == contents[1]
    assert any("last/latent" in name for name in contents[0])


def test_a_table_that_a_frozen_site_reads_is_not_trained() -> None:
    model = network()
    plan = make_plan(model, rules(share=True))
    forms = plan.distort().forms
    assert plan.latents(forms, {"W"}) is None
    held = plan.latents(forms, {"W", "U"})
    assert held is not None
    assert set(held.arrays) == {"codewords.1::codewords", "codewords.1::range"}


def test_a_range_that_vanished_stops_the_run() -> None:
    model = network()
    plan = make_plan(model, rules())
    held = plan.latents(plan.distort().forms, {"W", "U"})
    assert held is not None
    held.arrays["W::range"][...] = 1.0
    with pytest.raises(TrainingError, match="W: the range of its codewords"):
        held.forms()


def test_weights_of_methods_without_latents_are_trained_themselves() -> None:
    model = network()
    plan = make_plan(model, rules(keep_assignments=False))
    assert plan.latents(plan.distort().forms, {"W", "U"}) is None
    run = make_retraining(source(), source(), steps=6, distort_every=3)
    run.session.plan = FakePlan()
    assert run.run()
    assert run.session.progress.latents is None


def test_codes_of_factors_cannot_stay() -> None:
    with pytest.raises(RuleError, match="--keep-assignments"):
        make_methods("svd+codebook", {"rank": 2, "keep_assignments": True})
