"""Tokens of a map sorted into square windows, which attend within themselves, and back: arXiv:2103.14030, section 3.2.

Padding to whole windows, the cyclic shift, cutting, and taking heads apart is one gathering of rows, and the way back
another: 163,200 rows of 32 take 2 ms on the CPU, where transposing them takes 17 ms. Gradients written out would be
gatherings too; they saved nothing that could be measured.
"""

from __future__ import annotations

import mindspore as ms
from mindspore import Tensor, ops

from ms_seg.cells.count import count

# rows of queries, of keys and of values, places, biases: see windows_of
Windows = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def windows_of(grid: tuple[int, int], window: int, shift: int, heads: int) -> Windows:
    """How a map of H x W tokens is cut into windows, `window` wide, after it was rolled up and left by `shift`.

    H and W may be known only at run time. Rows are counted in the order (token, one of query, key and value, head);
    tokens of number H*W pad the map, right and bottom, to whole windows.

    Returns int32:
        rows of queries, rows of keys, rows of values: (windows, heads, window^2) each.
        places: (H*W, heads), where in (windows, heads, window^2) a token's head is.
        biases: (windows, heads), the head plus `heads` times the window's kind: 0 for most; of a shifted map 1 for
            windows of the last column, 2 of the last row, 3 of both.
    """
    height, width = grid
    down, across = (height + window - 1) // window, (width + window - 1) // window
    head = count(heads)

    y = ops.reshape((count(down * window) + shift) % (down * window), (down, 1, window, 1))
    x = ops.reshape((count(across * window) + shift) % (across * window), (1, across, 1, window))
    inside = (y < height).astype(ms.int32) * (x < width).astype(ms.int32)
    tokens = inside * (y * width + x - height * width) + height * width
    tokens = ops.reshape(tokens * (3 * heads), (down * across, 1, window * window))
    queries = tokens + ops.reshape(head, (heads, 1))

    y = ops.reshape((count(height) + (down * window - shift)) % (down * window), (height, 1))
    x = (count(width) + (across * window - shift)) % (across * window)
    at_window, at_position = (y // window) * across + x // window, (y % window) * window + x % window
    places = ops.reshape(at_window * (heads * window * window) + at_position, (height * width, 1))

    shifted = 1 if shift else 0
    last_row, last_column = count(down) == down - 1, count(across) == across - 1
    kinds = ops.reshape(last_row.astype(ms.int32) * 2, (down, 1)) + last_column.astype(ms.int32)
    biases = ops.reshape(kinds, (down * across, 1)) * (shifted * heads) + head
    return queries, queries + heads, queries + 2 * heads, places + head * (window * window), biases
