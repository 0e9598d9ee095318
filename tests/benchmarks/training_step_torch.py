"""PyTorch's side of training_step.py, same protocol, models, losses and optimizers. Arguments: threads, device."""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
from timed_steps import answer
from torch import nn


class Medium(nn.Module):
    """ptb-medium: two LSTM layers of 650, dropout 0.5 on the non-recurrent connections."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.drop = nn.Embedding(10_000, 650), nn.Dropout(0.5)
        self.lstm, self.softmax = nn.LSTM(650, 650, 2, dropout=0.5), nn.Linear(650, 10_000)

    def forward(self, ids: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """Return logits `[T, N, V]`."""
        y, _ = self.lstm(self.drop(self.embedding(ids)), (state, state))
        return self.softmax(self.drop(y)).flatten(0, 1)


def lenet() -> nn.Module:
    """Return lenet-5."""
    features = (nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.MaxPool2d(2), nn.Flatten())
    return nn.Sequential(*features, nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10))


def training(name: str, device: str) -> Callable[[], object]:
    """Return one training step: batch to the device, forward, backward, clipping where the plan clips, optimizer."""
    torch.manual_seed(0)
    medium = name == "ptb-medium"
    model = (Medium() if medium else lenet()).to(device)
    ids = torch.randint(0, 10_000, (35, 20))
    inputs = (ids, torch.zeros(2, 20, 650)) if medium else (torch.rand(50, 1, 28, 28),)
    labels = ids.roll(-1, 0).flatten() if medium else torch.randint(0, 10, (50,))
    sgd, adam = torch.optim.SGD(model.parameters(), 1e-3), torch.optim.Adam(model.parameters(), 1e-3)
    optimizer = sgd if medium else adam

    def step() -> None:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(*(each.to(device) for each in inputs)), labels.to(device))
        loss.backward()
        if medium:
            nn.utils.clip_grad_norm_(model.parameters(), 5 / 35)
        optimizer.step()
        loss.item()  # as a training that tells its loss does: a GPU is waited for

    return step


def main() -> None:
    """Answer until the end of standard input."""
    torch.set_num_threads(int(sys.argv[1]))
    answer(lambda name: training(name, sys.argv[2]))


if __name__ == "__main__":
    main()
