"""Conversion tables become rows, or are refused with the line that is not well-formed."""

from __future__ import annotations

import numpy as np
import pytest

from convert.layouts.operations import POINTWISE, TRANSPOSED, UNFOLDED
from convert.layouts.row import Row
from convert.layouts.table import Table, read_table


def names(rows: tuple[Row, ...]) -> list[tuple[str, ...]]:
    """The names of each row, with their -> between theirs and ours."""
    return [(*row.theirs, "->", *row.ours) for row in rows]


def table(*lines: str) -> Table:
    return read_table("\n".join(["kind  ours  a  b", *lines]))


@pytest.mark.parametrize(
    ("line", "rows"),
    [
        ("affine  x  u  -", ["u.weight -> x.weight", "u.bias -> x.bias"]),
        ("weight  x  u  -", ["u.weight -> x.weight"]),
        ("norm  x  u  -", ["u.weight -> x.gamma", "u.bias -> x.beta"]),
        ("parameter  x  u.weight  -", ["u.weight -> x"]),
        ("packed  qkv  {q,k,v}_p  -", [f"q_p.{e} k_p.{e} v_p.{e} -> qkv.{e}" for e in ("weight", "bias")]),
        ("packed  {q,kv}  in_proj_  -", [f"in_proj_{e} -> q.{e} kv.{e}" for e in ("weight", "bias")]),
        ("packed  {q,k}  {u,w}  -", [f"{a}.{e} -> {b}.{e}" for e in ("weight", "bias") for a, b in ("uq", "wk")]),
        ("columns  {x,y}.weight  u  -", ["u -> x.weight y.weight"]),
        (
            "batchnorm  x  u (frozen)  -",
            ["u.weight -> x.gamma", "u.bias -> x.beta", "u.running_mean -> x.moving_mean",
             "u.running_var -> x.moving_variance"],
        ),
    ],
    ids=lambda value: value.split("  ")[0] if isinstance(value, str) else "",
)  # fmt: skip
def test_the_kind_says_which_tensors_a_layer_has(line: str, rows: list[str]):
    read = table(line)
    assert names(read.rows("a")) == [tuple(row.split()) for row in rows]
    assert read.rows("b") == ()


def test_a_batch_norm_counts_its_batches_unless_it_is_frozen():
    read = table("batchnorm  x  u  u (frozen)")
    *others, count = read.rows("a")
    assert tuple(others) == read.rows("b") and len(others) == 4
    assert (count.theirs, count.ours, count.restored_beside) == (("u.num_batches_tracked",), (), "x.gamma")


@pytest.mark.parametrize(
    ("line", "operations"),
    [
        ("affine  x  u (linear)  u", [POINTWISE, None]),
        ("norm  x  u (unfolded)  u", [UNFOLDED, UNFOLDED]),
        ("parameter  x  u (transposed)  u", [TRANSPOSED]),
    ],
)
def test_a_word_in_parentheses_concerns_one_layout(line: str, operations: list):
    read = table(line)
    assert [row.operation for row in read.rows("a")] == operations
    assert not any(row.operation for row in read.rows("b"))


def test_packed_layers_are_stacked_in_their_proportions():
    read = table("packed 1:2  {q,kv}  in_proj_  -", "packed  kv  -  {k,v}")
    (rows,) = [row for row in read.rows("a") if row.theirs == ("in_proj_weight",)]
    query, rest = rows.operation.forward([np.arange(6)])
    assert (query.tolist(), rest.tolist()) == ([0, 1], [2, 3, 4, 5])
    (stacked, *_) = (row.operation.forward([np.array([1]), np.array([2])]) for row in read.rows("b"))
    assert stacked[0].tolist() == [1, 2]


def test_columns_are_taken_from_left_to_right():
    (row,) = table("columns  {x,y}  u  -").rows("a")
    left, right = row.operation.forward([np.array([[1, 2], [3, 4]])])
    assert (left.tolist(), right.tolist()) == ([[1], [3]], [[2], [4]])


def test_a_section_has_prefixes_until_the_next():
    first = ["under ours  backbone.{i}.", "under a  layers.{i}.", "weight  x  u  w{i+1}"]
    read = table(*first, "under ours  top.", "weight  x  u  -")
    assert names(read.rows("a")) == [
        ("layers.{i}.u.weight", "->", "backbone.{i}.x.weight"),
        ("u.weight", "->", "top.x.weight"),
    ]
    assert names(read.rows("b")) == [("w{i+1}.weight", "->", "backbone.{i}.x.weight")]


def test_several_prefixes_are_several_places():
    read = table("under ours  s.0.  s.{i+1}.", "under a  layer1.4.  layer{i+2}.", "weight  x  u  -")
    assert names(read.rows("a")) == [
        ("layer1.4.u.weight", "->", "s.0.x.weight"),
        ("layer{i+2}.u.weight", "->", "s.{i+1}.x.weight"),
    ]


def test_a_whole_layout_can_stand_under_another_name():
    read = table("affine  x  u  -", "dropped  -  head.{name}  -", "because it is not needed")
    assert [row.theirs for row in read.rows("a", under="backbone.")] == [
        ("backbone.u.weight",), ("backbone.u.bias",), ("backbone.head.{name}",)
    ]  # fmt: skip


def test_dropped_lines_share_the_reason_that_follows():
    read = table("weight  x  u  w", "dropped  -  head  -", "dropped  -  -  classifier", "because it is not needed")
    assert [read.rows(column)[-1] for column in "ab"] == [
        Row(("head",), reason="it is not needed"),
        Row(("classifier",), reason="it is not needed"),
    ]


def test_our_own_names_are_those_of_every_line_once():
    read = table("affine  q  u  -", "packed 1:2  {q,kv}  -  in_proj_", "batchnorm  n  -  -")
    assert [row.ours for row in read.own] == [row.theirs for row in read.own]
    leaves = ["n.gamma", "n.beta", "n.moving_mean", "n.moving_variance"]
    assert [name for row in read.own for name in row.ours] == ["q.weight", "q.bias", "kv.weight", "kv.bias", *leaves]


@pytest.mark.parametrize(
    ("lines", "line", "sentence"),
    [
        (["affine  x  u"], 2, "there must be 4 cells: 3 are"),
        (["affine  x u  w"], 2, "there must be 4 cells: 3 are"),
        (["", "# a comment", "linear  x  u  w"], 4, "the kind must be one of affine, .*: it is 'linear'"),
        (["affine 1:2  x  u  w"], 2, "the kind must be"),
        (["affine  x  u (sparse)  w"], 2, "the word in parentheses must be one of .*: it is sparse"),
        (["affine  x  u (frozen)  w"], 2, "the word in parentheses"),
        (["affine  x  u w  w"], 2, "a name must have no spaces"),
        (["affine  x  u-w  w"], 2, "a name must be of letters"),
        (["affine  x.  u  w"], 2, "a name must be of letters"),
        (["affine  -  u  w"], 2, "a name must be of letters"),
        (["affine  x.{i}  u.{j}  -"], 2, r"u.\{j\} must have the placeholders of x.\{i\}"),
        (["affine  x.{i}  u.{i}.{i}  -"], 2, "must have the placeholders"),
        (["affine  {q,k}  {q,k}  -"], 2, "several layers in one line must be of the kind packed"),
        (["packed  {q,k,v}  {q,kv}  -"], 2, "one layer must become 3, or 3 one: 2 would become 3"),
        (["packed 1:2  {q,k,v}  u  -"], 2, "one layer must become 2, or 2 one: 1 would become 3"),
        (["affine  x  u  -", "affine  y  u  -"], 3, "a must not have u.weight twice"),
        (["under c  u."], 2, "after under must come a column"),
        (["under a  u.", "under a  w."], 3, "each once"),
        (["under a  u"], 2, "a prefix that ends in . or _"),
        (["under ours  x.  y.", "under a  u.", "affine  x  u  -"], 4, "equally many prefixes"),
        (["dropped  -  u  -", "affine  x  u  w"], 3, "must be followed by: because"),
        (["dropped  x  u  -"], 2, "ours must be -"),
        (["because it is so"], 2, "a reason must follow a line of dropped tensors"),
    ],
)
def test_a_malformed_line_is_named(lines: list[str], line: int, sentence: str):
    with pytest.raises(ValueError, match=f"(?s)line {line} of a conversion table, '.*': .*{sentence}"):
        table(*lines)


@pytest.mark.parametrize("header", ["ours  kind  a", "kind  ours", "kind  ours  a  a", "kind  a  ours"])
def test_a_table_must_begin_with_its_columns(header: str):
    with pytest.raises(ValueError, match="line 1 of a conversion table, .*: the first line must be"):
        read_table(f"{header}\naffine  x  u")


@pytest.mark.parametrize("last", ["", "under a  u.", "dropped  -  u  -"])
def test_a_table_must_not_break_off(last: str):
    with pytest.raises(ValueError, match="must not break off"):
        table(last)
