"""The losses, of scores and what `dtc.training.targets` makes of the labels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dtc.ctc import BLANK, check_scores, steps_needed
from dtc.errors import DataError
from dtc.labels import PADDING
from dtc.training.targets import LABELS, TAUGHT, TAUGHT_WEIGHT, TOTAL, WEIGHT, Kind


def loss_of(kind: Kind, scores: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
    """Return the loss, a scalar.

    Cross-entropy is the sum over the labels that are not -1, by the number of those that count; ctc the negative
    log-likelihood of all sequences, by the number of their labels; the others are sums of weighted numbers. Of a part
    of a batch it is that part's summand of the loss of the whole.

    Raises:
        DataError: Scores and labels do not fit each other.
    """
    labels = targets[LABELS]
    if kind == "ctc":
        return _sequences(scores, labels) / targets[TOTAL]
    if kind == "cross-entropy":
        # Scores [N, C, H, W] with labels [N, H, W] go in as they are; others have the classes last.
        logits = scores if labels.dim() > 2 else scores.reshape(-1, scores.shape[-1])
        _check(logits.shape[0] == labels.shape[0], scores, labels)
        return F.cross_entropy(logits.float(), labels, ignore_index=PADDING, reduction="sum") / targets[TOTAL]
    flat = scores.reshape(-1).float()
    _check(flat.shape == labels.shape, scores, labels)
    if kind == "bce":
        each = F.binary_cross_entropy_with_logits(flat, labels, reduction="none")
    else:
        each = (flat - labels).square()
    return torch.dot(each, targets[WEIGHT])


def distance_of(scores: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
    """Return the weighted squared distance of scores from the original's.

    Raises:
        DataError: The original's are not as many.
    """
    flat, taught = scores.reshape(-1).float(), targets[TAUGHT]
    _check(flat.shape == taught.shape, scores, taught)
    return torch.dot((flat - taught).square(), targets[TAUGHT_WEIGHT])


def _sequences(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the sum of what sequences lose: scores `[T, N, C]`, labels `[N, L]` as `dtc.ctc` has them."""
    wanted = labels.cpu().numpy()
    check_scores(scores.shape, wanted)
    needed = int(steps_needed(wanted).max(initial=0))
    if needed > len(scores):
        raise DataError(f"the labels of a sequence need {needed} steps, and the output has {len(scores)}")
    # In host memory, wherever the model is: a GPU adds the gradient up in any order, and the scores are few.
    log_probabilities = F.log_softmax(scores.float(), dim=-1).cpu()
    steps = torch.full((len(wanted),), len(scores), dtype=torch.int64)
    told = torch.from_numpy((wanted != PADDING).sum(axis=1))
    sequences = torch.from_numpy(np.maximum(wanted, BLANK))
    return F.ctc_loss(log_probabilities, sequences, steps, told, blank=BLANK, reduction="sum").to(scores.device)


def _check(fits: bool, scores: Tensor, labels: Tensor) -> None:
    if not fits:
        raise DataError(
            f"the output of shape {list(scores.shape)} and {labels.numel()} labels do not fit each other; "
            "choose the output that the labels are of"
        )
