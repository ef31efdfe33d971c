"""What a request asks: a picture, one of the models, and how it is to be answered."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from ms_seg.presets import TASKS
from ms_seg.serving.limits import Limits, Refused

_KEYS = ("model", "labels", "task", "score_threshold", "label_png")


@dataclass(frozen=True)
class Question:
    """picture: a file's bytes. model: its name, None for the first one. labels: words, of a model that takes words.
    task, score_threshold: as of `Segmenter`. label_png: give the file of `BaseAnswer.label_image` too."""

    picture: bytes
    model: str | None = None
    labels: tuple[str, ...] | None = None
    task: str | None = None
    score_threshold: float | None = None
    label_png: bool = False


def read_question(picture: bytes, parameters: Iterable[tuple[str, str]], limits: Limits) -> Question:
    """The question of a body and the parameters of an address, each at most once.

    Raises Refused (400) for an unknown parameter, one that stands twice, values that it cannot have, and too many or
    too long words.
    """
    given: dict[str, str] = {}
    for key, value in parameters:
        if key not in _KEYS:
            raise Refused(400, f"there is no parameter {_shown(key)}: there are {', '.join(_KEYS)}")
        if key in given:
            raise Refused(400, f"the parameter {key} is given twice")
        given[key] = value
    if not picture:
        raise Refused(400, "the request has no body: send the bytes of a picture's file")
    task = given.get("task")
    if task is not None and task not in TASKS:
        raise Refused(400, f"task must be one of {', '.join(TASKS)}: {_shown(task)} is not")
    return Question(
        picture,
        given.get("model"),
        _words(given["labels"], limits) if "labels" in given else None,
        task,
        _share(given["score_threshold"]) if "score_threshold" in given else None,
        _flag(given.get("label_png", "0")),
    )


def _words(text: str, limits: Limits) -> tuple[str, ...]:
    words = tuple(text.split(","))
    if len(words) > limits.words:
        raise Refused(400, f"labels must be at most {limits.words} words: there are {len(words)}")
    if longest := max(map(len, words)) > limits.word and max(map(len, words)):
        raise Refused(400, f"a word must have at most {limits.word} characters: one has {longest}")
    return words


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise Refused(400, f"score_threshold must be a number from 0 to 1: {_shown(text)} is not")
    return share


def _flag(text: str) -> bool:
    if text not in ("0", "1"):
        raise Refused(400, f"label_png must be 0 or 1: {_shown(text)} is not")
    return text == "1"


def _shown(text: str) -> str:
    """What a stranger wrote, as part of a sentence: not all of it where it is long."""
    return repr(text if len(text) <= 40 else text[:39] + "…")
