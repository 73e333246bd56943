"""The data that ship with xpconv; ATTRIBUTION.md beside this file names their source and licence."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import numpy as np

HostArray = np.ndarray[Any, Any]


def load_digits() -> tuple[HostArray, HostArray]:
    """Read the UCI optical digits, ``-> (1797, 8, 8), (1797,)``.

    Returns
    -------
    images : numpy.ndarray
        uint8, values 0 (paper) to 16 (ink).
    labels : numpy.ndarray
        uint8, the digits 0 to 9.

    Notes
    -----
    E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998,
    doi:10.24432/C50P49, CC BY 4.0; the repository's test part, in its order.

    Examples
    --------
    >>> images, labels = load_digits()
    >>> images.shape, labels[:5].tolist()
    ((1797, 8, 8), [0, 1, 2, 3, 4])

    """
    with files("xpconv.data").joinpath("digits.npz").open("rb") as file, np.load(file, allow_pickle=False) as archive:
        return archive["images"], archive["labels"]
