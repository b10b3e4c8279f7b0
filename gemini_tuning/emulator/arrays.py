"""Array types, and a matrix product that is the same on any number of cores."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Floats", "Ints", "product", "row_product"]

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]

_ONE_THREAD = 1 << 19  # multiplications of one call of the BLAS library


def product(left: Floats, right: Floats) -> Floats:
    """`left @ right` in pieces of at most _ONE_THREAD multiplications each.

    A larger product would wake the threads of the BLAS library, and on a machine shared with others each call
    then waits until the scheduler has run all of them: 5 to 15 ms measured instead of 0.05. Pieces also make
    the result independent of the number of cores.
    """
    out = np.empty((left.shape[0], right.shape[1]), np.result_type(left, right))
    _product_into(left, right, out)
    return out


def _product_into(left: Floats, right: Floats, out: Floats) -> None:
    (n, k), m = left.shape, right.shape[1]
    if n * k * m <= _ONE_THREAD:
        np.matmul(left, right, out=out)
    elif n >= max(k, m):
        _product_into(left[: n // 2], right, out[: n // 2])
        _product_into(left[n // 2 :], right, out[n // 2 :])
    elif m >= k:
        _product_into(left, right[:, : m // 2], out[:, : m // 2])
        _product_into(left, right[:, m // 2 :], out[:, m // 2 :])
    else:
        _product_into(left[:, : k // 2], right[: k // 2], out)
        out += product(left[:, k // 2 :], right[k // 2 :])


def row_product(row: Floats, right: Floats) -> Floats:
    """`row @ right` for a vector, as two equal rows: BLAS wakes its threads sooner for vectors."""
    result: Floats = product(np.stack((row, row)), right)[0]
    return result
