"""The occasional distortion (J. Lee, P. Kapoor, S. J. Kim: DeepTwist, 2018, arXiv 1810.12823, section 2).

Training is ordinary, in full precision. Every `distort_every` steps the weights are replaced by their distorted
version, and training goes on from there; it ends on a distortion. Only distorted weights are evaluated, and the best of
those are the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np

from dtc.data import Batch, Source
from dtc.device_arrays import DeviceArray, on_host
from dtc.errors import DataError
from dtc.graph.signature import Arrays
from dtc.passes.plan import Distorted
from dtc.training.best import Best
from dtc.training.evaluate import Evaluation, Score
from dtc.training.events import DistortedWeights, Evaluated, Iterated, Noted, Stepped
from dtc.training.journal import Recorder
from dtc.training.schedule import TrainingSchedule
from dtc.training.session import Session
from dtc.training.swap import swapped

MEASURED_BATCHES = 64
"""Batches over which gradients are averaged where nothing was trained yet."""


@dataclass
class Retraining:
    """The training loop of a run: `run` continues from the state of the session to the end."""

    session: Session
    data: Source
    evaluation: Evaluation
    schedule: TrainingSchedule
    journal: Recorder

    def run(self, should_stop: Callable[[], bool] = lambda: False) -> bool:
        """Train to the end, or to the first step after which `should_stop` returns True; return True at the end.

        Raises:
            TrainingError: A loss or a gradient is not finite; the last checkpoint stays as it is.
            DataError: An epoch has no batches.
        """
        schedule, progress = self.schedule, self.session.progress
        stopped = False
        while not (self._ended() or stopped):
            # One round of the outer loop is an epoch, or what a resumed run has left of one: `position` says where it
            # begins.
            for batch, ends_epoch in self._batches():
                if self.session.starts_distorted:
                    self._start_distorted(batch)
                # 1. An ordinary step. Steps and epochs of what follows are those of this step.
                fed = self._train_on(batch)
                at, distorted = (progress.step, progress.epoch), None
                # 2. Now and then, the weights become their distorted version.
                if schedule.distorts_at(*at, ends_epoch=ends_epoch):
                    distorted = self._distort(fed)
                # 3. Evaluation is of distorted weights, of a copy of them where training goes on undistorted.
                if schedule.evaluates_at(*at, ends_epoch=ends_epoch):
                    self._evaluate(distorted)
                if progress.step == schedule.steps:
                    self._evaluate_mean()
                # 4. A checkpoint stands between two batches, so a resumed run begins with the next one.
                progress.advance(ends_epoch=ends_epoch)
                stopped = should_stop()
                if progress.step % schedule.checkpoint_every == 0 or self._ended() or stopped:
                    self._checkpoint()
                if self._ended() or stopped:
                    break
        return self._ended()

    def _ended(self) -> bool:
        return self.schedule.has_ended(self.session.progress.step, self.session.progress.stale)

    def _batches(self) -> Iterator[tuple[Batch, bool]]:
        """Yield the rest of the epoch: each batch, and True with the last one. One batch is read ahead."""
        progress = self.session.progress
        batches = self._pass_over_data(progress.epoch, start=progress.position)
        with progress.timed("data"):
            batch = next(batches, None)
        if batch is None:
            raise DataError(f"{self.data.name}: epoch {progress.epoch} has no batch number {progress.position}")
        # A source does not tell how long it is, so a batch is handed out when the one behind it is known: of three
        # batches come (b0, False), (b1, False), (b2, True). Only the reading counts as "data", not what the caller does
        # in between.
        while batch is not None:
            with progress.timed("data"):
                following = next(batches, None)
            yield batch, following is None
            batch = following

    def _pass_over_data(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        # Carried state only means something between batches that follow each other.
        shuffle = not self.session.carry
        return self.data.batches(epoch=epoch, seed=self.session.seed, shuffle=shuffle, start=start)

    def _train_on(self, batch: Batch) -> Arrays:
        """Take one optimizer step; return the batch with its carried inputs."""
        progress = self.session.progress
        # Rates count steps from 0, events from 1: the session counts this step between the two lines.
        rate = self.schedule.learning_rate(progress.step, progress.epoch)
        trained = self.session.step(batch, rate)
        self.journal.log(Stepped(progress.step, progress.epoch, trained.loss, rate, trained.norm))
        return trained.fed

    def _start_distorted(self, batch: Batch) -> None:
        """Let training start from distorted weights, with the gradients at the weights as they are."""
        session = self.session
        if "gradient" in session.plan.needs:
            session.measure_gradients(islice(self._pass_over_data(0), MEASURED_BATCHES))
        # What one distortion alone gives is a candidate, too: no training is worse than none.
        self._evaluate(self._distort(session.carry.join(batch, {})))

    def _distort(self, fed: Arrays) -> Distorted:
        """Replace the weights by their distorted version; `fed` shows what that does to the loss."""
        session, progress = self.session, self.session.progress
        # 1. The loss is taken twice on the batch that was just trained on, so that the difference is the distortion's
        #    alone.
        before = session.loss(fed, "before the distortion")
        distorted = session.distorted()
        # 2. An iteration is logged before `adopt`: the engine still holds the trained weights, and these are what is
        #    scored.
        if self.schedule.iteration:
            self._log_iteration(distorted)
        # 3. From here on the weights are the distorted ones, whoever asks for them.
        session.adopt(distorted)
        if self.schedule.averages_at(progress.step) and session.at_full_strength():
            progress.distorted.add(session.engine.parameters)
        after = session.loss(fed, "after the distortion")
        self.journal.log(DistortedWeights(progress.step, progress.distortions, before, after))
        return distorted

    def _log_iteration(self, distorted: Distorted) -> None:
        """Log the relative error of the distorted weights, and loss and metric of the trained weights."""
        progress, score = self.session.progress, self._score()
        # `adopt` counts the distortion only after this, hence the 1.
        error = _relative_error(self.session.engine.parameters, distorted.dense)
        self.journal.log(Iterated(progress.step, progress.distortions + 1, error, score.loss, score.value))

    def _evaluate(self, distorted: Distorted | None) -> None:
        """Evaluate the distorted weights, or a distorted copy where this step was no distortion."""
        engine, progress = self.session.engine, self.session.progress
        # Two cases. This step distorted: the engine holds distorted weights already, and nothing is swapped. It did
        # not: a distorted copy stands in for the trained weights inside of the block, and training goes on undistorted
        # after it.
        in_place, distorted = distorted is not None, distorted or self.session.distorted()
        with swapped(engine.parameters, {} if in_place else distorted.dense):
            score = self._score()
            # Below full strength (a method that raises its sparsity step by step, for one) a good score is that of a
            # weaker compression: it is never the best, and says nothing of patience either.
            at_full_strength = self.session.at_full_strength()
            best = at_full_strength and score.beats(progress.best.score if progress.best else None)
            progress.stale = 0 if best or not at_full_strength else progress.stale + 1
            if best:
                progress.best = Best(progress.step, score)
                # Inside of the block, because `engine.parameters` are the distorted weights only there.
                self.journal.keep_best(progress.best, {**engine.parameters, **engine.statistics}, distorted)
        self.journal.log(_evaluated(progress.step, score, best=best))

    def _evaluate_mean(self) -> None:
        """Evaluate the mean of the last distorted weights, which is distorted itself: it is kept if it is the best."""
        # P. Izmailov et al.: Averaging weights leads to wider optima and better generalization, 2018 (arXiv
        # 1803.05407). Codewords that are trained have no weights of their own to average.
        progress = self.session.progress
        if progress.distorted.count > 1 and progress.latents is None:
            words = f"now the mean of the last {progress.distorted.count} distorted weights, distorted itself"
            self.journal.log(Noted(progress.step, words))
            with swapped(self.session.engine.parameters, progress.distorted.means()):
                self._evaluate(None)

    def _score(self) -> Score:
        """Return the score of the present weights, after measuring their BatchNormalization statistics."""
        with self.session.progress.timed("evaluation"):
            self.session.measure_statistics(self._pass_over_data(0))
            return self.evaluation(self.session.engine)

    def _checkpoint(self) -> None:
        with self.session.progress.timed("checkpoint"):
            self.journal.checkpoint(self.session)


def _relative_error(parameters: Mapping[str, DeviceArray], dense: Mapping[str, DeviceArray]) -> float:
    """Return the squared error of the distorted weights relative to the square of the trained ones."""
    # sum (w - d)^2 / sum w^2 over all trained sites together, so that a large site counts as much as it is large.
    # Squares are summed in float64: float32 loses digits over millions of them.
    pairs = [(on_host(parameters[name]), on_host(array)) for name, array in dense.items() if name in parameters]
    error = sum(float(np.square(a - b, dtype=np.float64).sum()) for a, b in pairs)
    scale = sum(float(np.square(a, dtype=np.float64).sum()) for a, _ in pairs)
    return error / scale if scale else 0.0


def _evaluated(step: int, score: Score, *, best: bool) -> Evaluated:
    # JSON has no NaN: a score that is none is left out.
    loss, value = (v if v is not None and math.isfinite(v) else None for v in (score.loss, score.value))
    return Evaluated(step, loss, score.metric, value, best)
