"""The public data sets of the reference models, as functions of batches for `--data dtc.models.datasets:NAME`.

A function here takes keyword arguments of its choice among `epoch`, `seed`, `batch_size` and `split` ("train" or
"evaluate") and yields dicts of arrays named like the inputs of the model, the labels under "labels". The digits come
with scikit-learn; all others are read from the folder that the environment variable DTC_DATA names. A module is one
data set.
"""

from __future__ import annotations

from dtc.models.datasets.batches import Batches, Split
from dtc.models.datasets.folder import data_file
from dtc.models.datasets.handwriting import mnist, mnist_test
from dtc.models.datasets.penn_treebank import ptb, ptb_20, ptb_30, ptb_letters, ptb_letters_test, ptb_test, ptb_valid
from dtc.models.datasets.photos import cifar10, cifar10_photos, cifar10_photos_test, cifar10_plain, cifar10_test
from dtc.models.datasets.sequences import spoken_sequences, spoken_sequences_test
from dtc.models.datasets.small_digits import (
    digit_column_tags,
    digit_column_tags_test,
    digit_columns,
    digit_columns_test,
    digits,
    digits_test,
)
from dtc.models.datasets.speech import spoken_digits, spoken_digits_test, spoken_frames, spoken_frames_test

__all__ = [
    "Batches",
    "Split",
    "cifar10",
    "cifar10_photos",
    "cifar10_photos_test",
    "cifar10_plain",
    "cifar10_test",
    "data_file",
    "digit_column_tags",
    "digit_column_tags_test",
    "digit_columns",
    "digit_columns_test",
    "digits",
    "digits_test",
    "mnist",
    "mnist_test",
    "ptb",
    "ptb_20",
    "ptb_30",
    "ptb_letters",
    "ptb_letters_test",
    "ptb_test",
    "ptb_valid",
    "spoken_digits",
    "spoken_digits_test",
    "spoken_frames",
    "spoken_frames_test",
    "spoken_sequences",
    "spoken_sequences_test",
]
