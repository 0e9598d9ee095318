"""The choice among the engines of a machine, by what each of them can train of a model: found out by asking them.

The preferred one is asked first. It declines where it cannot train every site that is to be compressed, and the next
one is asked. Where none can train all, the first that can train some does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from dtc.errors import EngineError, PartlyTrainedError
from dtc.recipe import Recipe
from dtc.training.engine_kind import EngineKind, engine_of, ranked_engines

T = TypeVar("T")


@dataclass(frozen=True)
class Asked:
    """An engine that is asked to train.

    Attributes:
        kind: The engine.
        whole: It is to decline unless it can train every site that is to be compressed, as there are others.
        remark: Why it is this one, in one line; empty where it is the preferred one.
    """

    kind: EngineKind
    whole: bool = False
    remark: str = ""


def by_able_engine(recipe: Recipe, attempt: Callable[[Asked], T]) -> T:
    """Return what `attempt` returns for the engine that a recipe names, or else for the first that does not decline.

    Raises:
        EngineError: No engine can train the model; gives the reason of each in one line.
        UsageError: There is no engine of that name, or it does not do what the recipe asks for.
    """
    named = engine_of(recipe)  # refuses what no engine does
    if recipe.training is None or recipe.training.engine is not None:
        return attempt(Asked(named))
    ranked = [kind for kind in ranked_engines() if kind.refuse(recipe) is None]
    able = [kind for kind in ranked if kind.unavailable() is None]
    declined: dict[EngineKind, str] = {}
    partial: EngineKind | None = None
    for kind in able:
        # Those that cannot run here are only worth a word where they would have been preferred.
        before = [each for each in ranked[: ranked.index(kind)] if each not in declined]
        absent = {each: reason for each in before if (reason := each.unavailable()) is not None}
        try:
            return attempt(Asked(kind, whole=len(able) > 1, remark=_remark(kind, absent | declined)))
        except PartlyTrainedError as error:
            declined[kind], partial = str(error), partial or kind
        except EngineError as error:
            declined[kind] = str(error)
    if partial is not None:
        return attempt(Asked(partial, remark=_remark(partial, declined, ", as far as it can")))
    reasons = {kind: declined.get(kind) or kind.unavailable() or "" for kind in ranked}
    told = set(reasons.values())
    raise EngineError(told.pop() if len(told) == 1 else _joined(reasons))


def _remark(kind: EngineKind, others: dict[EngineKind, str], how: str = "") -> str:
    return f"trained by {kind.title}{how}: {_joined(others)}" if others else ""


def _joined(reasons: dict[EngineKind, str]) -> str:
    return "; ".join(f"{kind.name}: {reason}" for kind, reason in reasons.items())
