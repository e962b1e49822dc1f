"""The data: 1,797 handwritten digits of 8 x 8 pixels, which ship inside scikit-learn.

`train.yaml` names the two functions; KladML calls them with the values of `data.args`.
"""

import numpy as np

from kladml.errors import DataError

VAL_FRACTION = 0.2


def train_digits(split_seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the images and labels to learn from, four fifths of all.

    Args:
        split_seed: Which images are kept back; the same seed always keeps the same ones.

    Returns:
        Images as float32 of shape (samples, 1, 8, 8) with values from 0 to 1, and labels as int64 of shape
        (samples,) from 0 to 9.
    """
    return _split(split_seed)[0]


def val_digits(split_seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the images and labels that are kept back to judge the model on; see `train_digits`."""
    return _split(split_seed)[1]


def _split(seed: int) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        problem = "the digits ship inside scikit-learn, which is not installed"
        raise DataError(problem, owner="data.py", next_step="pip install scikit-learn") from error
    digits = load_digits()
    # The pixels are counts from 0 to 16; networks learn best from numbers around 1. The 1 in the shape is the
    # one colour channel that a convolution expects.
    images = (digits.images / 16).astype(np.float32)[:, np.newaxis]
    labels = digits.target.astype(np.int64)
    # Stratified: every digit is as frequent in one part as in the other.
    train_x, val_x, train_y, val_y = train_test_split(
        images, labels, test_size=VAL_FRACTION, random_state=seed, stratify=labels
    )
    return (train_x, train_y), (val_x, val_y)
