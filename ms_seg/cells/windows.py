"""Tokens of a map sorted into square windows, which attend within themselves, and back: arXiv:2103.14030, section 3.2.

Padding to whole windows, the cyclic shift, cutting, and taking heads apart is one gathering of rows, and the way back
another: 163,200 rows of 32 take 2 ms on the CPU, where transposing them takes 17 ms.
"""

from __future__ import annotations

import mindspore as ms
from mindspore import Tensor, nn, ops

# rows of queries, of keys and of values, places, kinds: see windows_of
Windows = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def count(stop: int) -> Tensor:
    """0 to stop - 1, int32; of ops.arange the compiler takes 20 ms each time it sees one, of this one."""
    return ops.range(0, stop, 1).astype(ms.int32)


def windows_of(grid: tuple[int, int], window: int, shift: int, heads: int) -> Windows:
    """How a map of H x W tokens is cut into windows, `window` wide, after it was rolled up and left by `shift`.

    H and W may be known only at run time. Rows are counted in the order (token, one of query, key and value, head);
    tokens of number H*W pad the map, right and bottom, to whole windows.

    Returns int32:
        rows of queries, rows of keys, rows of values: (windows, heads, window^2) each.
        places: (H*W, heads), where in (windows, heads, window^2) a token's head is.
        kinds: (windows,), 0 for most; 1 for windows of the last column, 2 of the last row, 3 of both.
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

    last_row, last_column = count(down) == down - 1, count(across) == across - 1
    kinds = ops.reshape(last_row.astype(ms.int32) * 2, (down, 1)) + last_column.astype(ms.int32)
    places, kinds = places + head * (window * window), ops.reshape(kinds, (down * across,))
    return queries, queries + heads, queries + 2 * heads, places, kinds


class ToWindows(nn.Cell):
    """Rows (N, (L + 1) * 3 * heads, D) of L tokens and one that pads -> queries, keys and values, each
    (N, windows, heads, window^2, D); what to gather is as `windows_of` gives it.

    The gradient gathers as well: MindSpore's own scatters, which on the CPU takes ten times as long.
    """

    def construct(
        self, x: Tensor, queries: Tensor, keys: Tensor, values: Tensor, places: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        return ops.gather(x, queries, 1), ops.gather(x, keys, 1), ops.gather(x, values, 1)

    def bprop(
        self,
        x: Tensor,
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        places: Tensor,
        out: tuple[Tensor, ...],
        dout: tuple[Tensor, ...],
    ) -> tuple[Tensor, ...]:
        n, _, depth = x.shape
        length, heads = places.shape
        parts = ops.concat([ops.reshape(part, (n, queries.size, depth)) for part in dout], 1)
        there = ops.reshape(places, (length, 1, heads)) + ops.reshape(count(3) * queries.size, (3, 1))
        of_tokens = ops.gather(parts, ops.reshape(there, (length * 3 * heads,)), 1)
        padding = ops.expand_dims((queries >= length * 3 * heads).astype(x.dtype), -1)
        of_padding = ops.concat([(part * padding).sum((1, 3)) for part in dout], 1)
        return ops.concat((of_tokens, of_padding), 1), *[ops.zeros_like(t) for t in (queries, keys, values, places)]


class FromWindows(nn.Cell):
    """What attention gives, (N, windows, heads, window^2, D) -> (N, L, heads, D) without what padded the map."""

    def construct(self, x: Tensor, queries: Tensor, places: Tensor) -> Tensor:
        n, windows, heads, area, depth = x.shape
        return ops.gather(ops.reshape(x, (n, windows * heads * area, depth)), places, 1)

    def bprop(self, x: Tensor, queries: Tensor, places: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, ...]:
        n, length, heads, depth = dout.shape
        of_tokens = ops.reshape(dout, (n, length * heads, depth))
        of_padding = ops.zeros((n, heads, depth), dout.dtype)
        there = queries - queries // (3 * heads) * (2 * heads)  # rows without keys and values between them
        dx = ops.gather(ops.concat((of_tokens, of_padding), 1), there, 1)
        return dx, ops.zeros_like(queries), ops.zeros_like(places)
