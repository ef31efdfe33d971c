"""Questions answered by the models that are served: one after the other, in a thread of its own."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from ms_seg.answers import Answer, BaseAnswer, InstanceAnswer, SegmentsAnswer
from ms_seg.answers.drawing.colours import class_colours
from ms_seg.answers.png import encode_png
from ms_seg.data.picture import read_upload
from ms_seg.inference import Segmenter
from ms_seg.inference.outputs import Output
from ms_seg.serving.limits import Limits, Refused
from ms_seg.serving.question import Question

_NAME = "the picture"  # in sentences: what it is called on another machine is not the server's business
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServedModel:
    """segmenter: a model. tasks: those that it can be asked for, the one that it answers unasked first."""

    segmenter: Segmenter

    @property
    def tasks(self) -> tuple[str, ...]:
        if self.segmenter.window:
            return (self.segmenter.task,)
        others = (task for task in self.segmenter.preset.tasks if task != self.segmenter.task)
        return (self.segmenter.task, *others)

    @property
    def takes_words(self) -> bool:
        return self.segmenter.preset.output == "words"


class Answering:
    """Answers questions in JSON. Not for several threads at once.

    models: by the names that questions call them by, at least one. What the network said of the latest picture is
    remembered, so that another task of it costs no second run.
    """

    def __init__(self, models: Mapping[str, Segmenter], limits: Limits):
        self.models = {name: ServedModel(segmenter) for name, segmenter in models.items()}
        self._limits = limits
        self._latest: tuple[tuple[Any, ...], Output] | None = None

    def __call__(self, question: Question) -> bytes:
        """The answer, see docs/serve.md. Raises Refused with what is wrong with the question."""
        begun = time.monotonic()
        name, model = self._find(question.model)
        task = question.task or model.tasks[0]
        if task not in model.tasks:
            raise Refused(400, f"{name} gives {', '.join(model.tasks)} answers and no {task} ones")
        if question.score_threshold is not None and task != "instance":
            raise Refused(400, f"a score_threshold is for instances: {name} is asked for {task} answers")
        try:
            answer = self._look(name, model.segmenter, question).answer(task)
            if question.score_threshold is not None and isinstance(answer, InstanceAnswer):
                answer = replace(answer, score_threshold=question.score_threshold)
            content = {"model": name, "task": task, **about(answer)}
            if question.label_png:
                content["label_png"] = base64.b64encode(encode_png(answer.label_image())).decode()
        except ValueError as error:
            raise Refused(400, str(error)) from error
        except (MemoryError, cv2.error) as error:
            raise Refused(413, f"{_NAME} takes more memory than there is") from error
        except RuntimeError as error:
            _log.warning("%s", error)
            raise Refused(500, str(error)) from error
        content["seconds"] = round(time.monotonic() - begun, 3)
        return json.dumps(content, ensure_ascii=False).encode("utf-8", "backslashreplace")

    def _find(self, name: str | None) -> tuple[str, ServedModel]:
        if name is None:
            return next(iter(self.models.items()))
        if name not in self.models:
            raise Refused(404, f"there is no such model here: there are {', '.join(self.models)}")
        return name, self.models[name]

    def _look(self, name: str, segmenter: Segmenter, question: Question) -> Output:
        """What the network says of a picture."""
        words = segmenter.check_labels(question.labels)
        key = (name, words, hashlib.sha256(question.picture).digest())
        if self._latest is not None and self._latest[0] == key:
            return self._latest[1]
        self._latest = None  # two at once are not needed
        picture = read_upload(question.picture, _NAME, self._limits.pixels)
        output = segmenter.predict(picture, words)
        self._latest = key, output
        return output


def about(answer: BaseAnswer) -> dict[str, Any]:
    """What a file of segments says, and the colour of each segment."""
    height, width = answer.picture.shape[:2]
    segments = [
        {**segment, "colour": "#{:02x}{:02x}{:02x}".format(*colour)}
        for segment, colour in zip(answer.segments, _colours(answer).tolist(), strict=True)
    ]
    content: dict[str, Any] = {"width": width, "height": height, "segments": segments}
    if isinstance(answer, InstanceAnswer):
        content["score_threshold"] = answer.score_threshold
    return content


def _colours(answer: BaseAnswer) -> np.ndarray:
    """RGB (K, 3) uint8."""
    if isinstance(answer, SegmentsAnswer):
        ids = np.array(answer.ids, np.int64)
        return np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=1).astype(np.uint8)
    assert isinstance(answer, Answer)
    return class_colours(answer.label_set)[answer.classes]
