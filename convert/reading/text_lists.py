"""Lists of texts under numbers, as split lists of datasets are pickled: read without running the pickle."""

from __future__ import annotations

import os

from convert.reading.entry import CheckpointError, shown
from convert.reading.pickle_machine import PickleMachine
from convert.reading.source import open_source


def read_text_lists(path: str | os.PathLike[str]) -> dict[int, list[str]]:
    """The lists of a pickled `dict[int, list[str]]`, such as the pictures of each class.

    Raises:
        CheckpointError: the file is missing, cut off, damaged, or holds anything else; one sentence says which. Numbers
            go from 0 to 65535, and a text has at most 4096 bytes.
    """
    source = open_source(path)

    def refuse_global(module: str, name: str) -> object:
        raise source.error(
            "", f"names {shown(f'{module}.{name}')}: a list of texts needs no class or function, refused."
        )

    def refuse_reference(_: object) -> object:
        raise source.error("", "refers to objects outside of itself: refused.")

    def error(problem: str) -> CheckpointError:
        return source.error("", problem)

    try:
        lists = PickleMachine(source.view, refuse_global, refuse_reference, error).load()
        if not isinstance(lists, dict) or not all(map(_is_number, lists)) or not all(map(_is_texts, lists.values())):
            raise source.error("", "holds something other than lists of texts under numbers.")
        return lists
    finally:
        source.file.close()


def _is_number(key: object) -> bool:
    return type(key) is int


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)
