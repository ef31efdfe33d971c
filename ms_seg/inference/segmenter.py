"""A model and pictures: the answers at the pictures' own sizes."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar, overload

import cv2
import numpy as np
from PIL import Image

from convert.reading.folder import ENDINGS
from ms_seg.answers import Answer, InstanceAnswer
from ms_seg.checkpoints.loading import load_model
from ms_seg.data.picture import Picture, name_of, pictures_in, read_picture
from ms_seg.data.preprocessing import fixed_size, padded_size
from ms_seg.deploy.loading import load_mindir
from ms_seg.hub import choose_model, find_address
from ms_seg.inference.execution import Mode, Precision
from ms_seg.inference.networks import Words, fitting_window, open_network
from ms_seg.inference.outputs import AnyAnswer, Input, Output
from ms_seg.inference.pipeline import Failure, Stages
from ms_seg.inference.views import View, label_views
from ms_seg.inference.windows import Progress
from ms_seg.postprocessing.logits import ClassMaps
from ms_seg.presets import Window
from ms_seg.systems import Model

Item = TypeVar("Item")
Result = TypeVar("Result")


class Segmenter:
    """Segments pictures, as the preset of the model says: resizing, normalisation and labels.

    One Segmenter serves several threads.

    Args:
        model: what `create_model` gives; or a checkpoint, a folder or a hub's name that says which model it is.
        mode: "graph" (compiled) or "pynative", see `execution.Runner`.
        window: show the network the input in such windows; None for what the preset says, which is at once of most. A
            network that takes images of one size alone is shown windows of that size, and no others.
        augment: average over several scales and mirror images of the picture, see `views`.
        vocab: of a model that takes words, its vocabulary, see `text.vocabulary.find_vocabulary`.
        task: "panoptic", "instance" or "semantic", one of the preset's `tasks`; None for the first of them.
        batch_size: how many of many pictures go through the network together, where their inputs are of one size.
        score_threshold: instances that score less are in an answer's lists, but not in its maps and drawings; None for
            `answers.segments.DISPLAY_THRESHOLD`.
        sizes: (height, width) of the inputs that the network is shown, and of no others, each compiled for itself, as
            devices of fixed sizes need it: an input is padded to the smallest that holds it. Padding changes an answer
            a little, for these networks look at all of their input: `padded` counts such pictures.

        precision: "float32" or "bfloat16", which changes answers a little, see `execution.Runner` and
            docs/performance.md.

    Raises ValueError where a model that takes words has no vocabulary, for a window that it cannot be shown, for a task
    that is not the model's or that windows and several views cannot answer, for a batch_size below 1, and for a
    score_threshold where no instances are asked for; and as Runner does.
    """

    def __init__(
        self,
        model: Model | str | os.PathLike[str],
        mode: Mode = "graph",
        window: Window | None = None,
        augment: bool = False,
        vocab: str | os.PathLike[str] | None = None,
        task: str | None = None,
        batch_size: int = 1,
        score_threshold: float | None = None,
        sizes: Sequence[tuple[int, int]] = (),
        precision: Precision = "float32",
    ):
        model = model if isinstance(model, Model) else _load(model)
        self.preset = model.preset
        self.window, self.augment, self.batch_size = fitting_window(model, window), augment, batch_size
        if task is None and self.preset.ask_task and len(self.preset.tasks) > 1:
            raise ValueError(
                f"what this {self.preset.system} was trained to answer, {' or '.join(self.preset.tasks)}, is not said "
                "beside its weights: pass the task (--task)"
            )
        self.task = task or self.preset.tasks[0]
        if self.task not in self.preset.tasks:
            raise ValueError(f"{self.preset.name} gives {', '.join(self.preset.tasks)} answers and no {task} ones")
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more: {batch_size} is not")
        if augment and self.task != "semantic":
            raise ValueError(f"several views answer semantic segmentation alone: {self.task} is asked for")
        if score_threshold is not None and self.task != "instance":
            raise ValueError(f"a score threshold is for instances: {self.preset.name} is asked for {self.task} answers")
        self.score_threshold, self.sizes, self.padded = score_threshold, tuple(sizes), 0
        if sizes:
            self._check_sizes()
        self.network = open_network(model, "fixed" if sizes and mode == "graph" else mode, vocab, precision)
        if self.window:
            self.network.check_window(self.window, self.task)

    def _check_sizes(self) -> None:
        """Raise ValueError for sizes of inputs that are of one size anyway, or that the model's inputs cannot have."""
        rule, name = self.preset.preprocessing, self.preset.name
        if self.window or self.augment:
            raise ValueError(f"sizes are for inputs seen at once: {name} sees {'views' if self.augment else 'windows'}")
        if (fixed := fixed_size(rule)) is not None:
            raise ValueError("inputs of {} are {}x{}, whatever the picture: leave the sizes out".format(name, *fixed))
        if odd := [size for size in self.sizes if any(side % rule.pad_multiple for side in size)]:
            multiple = f"sides of inputs of {name} must be multiples of {rule.pad_multiple}"
            raise ValueError("{}: {}x{} are not".format(multiple, *odd[0]))

    @classmethod
    def from_mindir(
        cls, path: str | os.PathLike[str], task: str | None = None, score_threshold: float | None = None
    ) -> Segmenter:
        """Segments pictures by a graph that `python -m ms_seg export` wrote, without building the network.

        task, score_threshold: as of a Segmenter. Raises ValueError where the file, or what lies beside it, is missing
        or is no such file, for a graph that gives label maps alone, of which nobody can say how sure they are, and for
        one that takes the vectors of words.
        """
        model = load_mindir(path)
        if model.described.output == "label_map":
            raise ValueError(
                f"{path} gives the class of each pixel of its input and no scores, which an answer has: export it "
                "without argmax"
            )
        if len(model.described.inputs) > 1:
            raise ValueError(
                f"{path} takes the vectors of words beside images, and holds nothing that makes them: export it with "
                "the words (--labels A,B,C)"
            )
        sizes = [model.described.size] if model.described.fit == "pad" else ()
        # The graph is compiled as a whole already: there is nothing around it to compile.
        return cls(model, "pynative", None, False, None, task, model.batch, score_threshold, sizes)

    @overload
    def __call__(
        self, picture: Picture, labels: Sequence[str] | None = None, progress: Progress | None = None
    ) -> AnyAnswer: ...
    @overload
    def __call__(
        self,
        picture: list[Any] | tuple[Any, ...],
        labels: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> list[AnyAnswer]: ...
    @overload
    def __call__(
        self, picture: Iterator[Any], labels: Sequence[str] | None = None, progress: Progress | None = None
    ) -> Iterator[AnyAnswer]: ...

    def __call__(
        self, picture: Any, labels: Sequence[str] | None = None, progress: Progress | None = None
    ) -> AnyAnswer | list[AnyAnswer] | Iterator[AnyAnswer]:
        """Segment a path, the bytes of a file or an open one, an RGB array (H, W, 3) uint8 or a Pillow image.

        A list of pictures gives a list of answers. A folder, a generator or anything else that gives one picture after
        the other gives an iterator: few pictures and answers are in memory at once.

        labels: the words that a model which takes words tells apart, their features computed once for each list. One
        word alone is told from everything else, which is called "others" and is class 0.
        progress: is told after each window of a picture, or of a view of it, how many are done, and of how many.

        Raises ValueError for a picture that cannot be read (see `read_picture`) or is too large for the model, for
        labels that are missing, empty, twice there, too long or not asked for, for a folder without pictures, and when
        the network's output is not finite; RuntimeError when MindSpore cannot run the network, or has run in a process
        that this one was forked from.
        """
        words, several = self.check_labels(labels), _several(picture)
        if several is None:
            (answer,) = self._look([self._input(read_picture(picture), name_of(picture))], words, progress)
            return answer()
        answers = self._answers(several, labels, progress)
        return list(answers) if isinstance(picture, (list, tuple)) else answers

    def _answers(
        self, pictures: Iterable[Any], labels: Sequence[str] | None, progress: Progress | None
    ) -> Iterator[AnyAnswer]:
        with closing(self.stream(pictures, _itself, lambda _, answer: answer, labels, progress)) as results:
            for _, result in results:
                if isinstance(result, (ValueError, RuntimeError)):
                    raise result
                yield result

    def stream(
        self,
        items: Iterable[Item],
        read: Callable[[Item], Picture],
        finish: Callable[[Item, AnyAnswer], Result],
        labels: Sequence[str] | None = None,
        progress: Progress | None = None,
        name: Callable[[Item], str | None] = name_of,
        finishers: int = 1,
    ) -> Generator[tuple[Item, Result | Failure]]:
        """Segment many pictures: while the network looks at some, the next are read and the last ones finished.

        Args:
            items: what stands for the pictures: their files, or indices.
            read: the picture of an item, as a call takes it.
            finish: takes an item and its answer, for example to save it.
            labels, progress: as of a call.
            name: an item's file, or what else sentences about it begin with.
            finishers: in how many threads `finish` runs; in one, it takes one item after the other. `read` has another.

        Returns: each item, in order, with what `finish` returned, or the ValueError or RuntimeError that reading,
            looking or finishing raised: the others go on. Other errors are raised. Few pictures are in memory at once.
        """
        words = self.check_labels(labels)
        stages: Stages[Item, Input, Callable[[], AnyAnswer], Result] = Stages(
            read=lambda item: self._read(item, read, name(item)),
            run=lambda inputs: self._look(inputs, words, progress),
            finish=lambda item, answer: _finish(item, answer, finish, name(item)),
            kind=lambda seen: seen.image.shape,
            pixels=lambda seen: seen.picture.shape[0] * seen.picture.shape[1],
            batch_size=self.batch_size,
            finishers=finishers,
        )
        return stages(items)

    def _read(self, item: Item, read: Callable[[Item], Picture], source: str | None) -> Input:
        with _of_this_picture(source):
            return self._input(read_picture(read(item)), source)

    def check_labels(self, labels: Sequence[str] | None) -> Words:
        """The words that a call with these labels tells apart; raises as it does where they will not do."""
        return self.network.check_labels(labels)

    def for_dataset(self, dataset: Any) -> tuple[Any, DatasetSegmenter]:
        """A dataset as the model is to be scored on it, and what answers its pictures in its classes.

        Raises ValueError where the model's classes are not the dataset's, or its names not what the model can take.
        """
        dataset, words, translate = self.network.for_dataset(dataset, self.task)
        return dataset, DatasetSegmenter(self, words, translate)

    def predict(self, picture: np.ndarray, labels: Sequence[str] | None = None) -> Output:
        """What the network says of a picture, RGB (H, W, 3) uint8, before it is brought to the picture's size.

        Raises as a call does.
        """
        (output,) = self.network([self._input(picture)], self.check_labels(labels), self.window)
        return output

    def _look(self, inputs: Sequence[Input], words: Words, progress: Progress | None) -> list[Callable[[], AnyAnswer]]:
        """What the network says of inputs of one size: what gives the answer to each, in any thread."""
        if self.augment:
            answers = [self._answer_by_views(item, words, progress) for item in inputs]
            return [partial(_same, answer) for answer in answers]
        with _naming(inputs[0].source):
            outputs = self.network(inputs, words, self.window, progress)
        return [partial(self._answer, *pair) for pair in zip(inputs, outputs, strict=True)]

    def _answer(self, seen: Input, output: Output) -> AnyAnswer:
        with _naming(seen.source):
            answer = output.answer(self.task)
        if self.score_threshold is not None and isinstance(answer, InstanceAnswer):
            return replace(answer, score_threshold=self.score_threshold)
        return answer

    def _answer_by_views(self, seen: Input, words: Words, progress: Progress | None) -> Answer:
        outputs: list[Output] = []

        def look(view: View) -> ClassMaps:
            view_of = Input.of(seen.picture, view.rule, None, view.mirrored)
            outputs[:] = self.network([view_of], words, self.window, progress)
            return outputs[0].logits()

        with _naming(seen.source):
            labels, scores = label_views(seen.geometry.picture, self.preset.preprocessing, look)
        return Answer(seen.picture, labels, outputs[0].label_set, scores, self.preset.name, seen.source)

    def _input(self, picture: np.ndarray, source: str | None = None) -> Input:
        rule = self.preset.preprocessing
        with _naming(source):
            seen = Input.of(picture, rule, source, sizes=self.sizes)
        self.padded += seen.geometry.padded != padded_size(seen.geometry.resized, rule)
        return seen


class DatasetSegmenter:
    """Segments the pictures of a dataset, in its classes."""

    def __init__(self, segmenter: Segmenter, words: Words, translate: Callable[[AnyAnswer], AnyAnswer]):
        self._segmenter, self._words, self._translate = segmenter, words, translate

    def __call__(self, picture: np.ndarray) -> AnyAnswer:
        """The answer to a picture, RGB (H, W, 3) uint8. Raises as `Segmenter` does."""
        return self._translate(self._segmenter(picture, self._words))

    def stream(
        self,
        items: Iterable[Item],
        read: Callable[[Item], np.ndarray],
        finish: Callable[[Item, AnyAnswer], Result],
        name: Callable[[Item], str],
    ) -> Generator[tuple[Item, Result | Failure]]:
        """As `Segmenter.stream`."""
        return self._segmenter.stream(
            items, read, lambda item, answer: finish(item, self._translate(answer)), self._words, name=name
        )


def _finish(
    item: Item, answer: Callable[[], AnyAnswer], finish: Callable[[Item, AnyAnswer], Result], source: str | None
) -> Result:
    with _of_this_picture(source):
        return finish(item, answer())


@contextmanager
def _of_this_picture(source: str | None) -> Iterator[None]:
    """Let a picture that is too much for the machine or for OpenCV be one that failed, which ends no batch."""
    try:
        yield
    except MemoryError:
        raise RuntimeError(f"{source or 'the picture'} takes more memory than there is") from None
    except cv2.error as error:
        raise RuntimeError(f"{source or 'the picture'}: {str(error).splitlines()[0]}") from None


def _same(answer: AnyAnswer) -> AnyAnswer:
    return answer


@contextmanager
def _naming(source: str | None) -> Iterator[None]:
    """Let a sentence about what went wrong begin with the picture."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        raise type(error)(f"{source or 'the picture'}: {error}") from error


def _load(model: str | os.PathLike[str]) -> Model:
    """The model of a checkpoint, a folder, or a name. Raises ValueError for what is none, or does not say which."""
    if os.path.exists(model):
        return load_model("auto", model)
    text = os.fspath(model)
    if os.path.splitext(text)[1] in ENDINGS and find_address(text) is None:
        raise ValueError(f"there is no file {text}")
    return load_model(*choose_model(text, None))


def _several(picture: Any) -> Iterable[Any] | None:
    """The pictures in what is passed as one, or None where it is one."""
    if isinstance(picture, (str, os.PathLike)):
        return pictures_in(picture) if os.path.isdir(picture) else None
    one = isinstance(picture, (bytes, bytearray, memoryview, np.ndarray, Image.Image)) or hasattr(picture, "read")
    return None if one or not isinstance(picture, Iterable) else picture


def _itself(picture: Any) -> Any:
    return picture
