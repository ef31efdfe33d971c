"""Training on words: every batch carries those of its own dataset, the text transformer stays, and a run resumes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ms_seg.data.samples import MixedSamples
from ms_seg.evaluation.semantic.confusion import ConfusionMatrix
from ms_seg.inference.segmenter import Segmenter
from ms_seg.label_sets import LabelSet
from ms_seg.presets.recipe import Recipe
from ms_seg.training import train as train_in
from ms_seg.training.loader import Loader
from ms_seg.training.step import Replicated, TrainStep
from ms_seg.training.tasks.words import with_words
from tests.training.words_and_colours import Flags, SmallLSeg, colours, letters, warmth

RECIPE = Recipe(
    steps=60, batch_size=4, accumulate=2, augmentation="lang_seg", crop_size=32, long_side=48, scale_min=1.0,
    scale_max=1.0, photometric=False, cat_max_ratio=1.0, optimizer="sgd", learning_rate=0.01, weight_decay=1e-4,
    warmup_steps=0, power=0.9, decay_every=4, validate_every=1000, keep_every=4, keep=100,
)  # fmt: skip
HALF = (127.5, 127.5, 127.5)


def train(model: SmallLSeg, run: Path, recipe: Recipe, vocab: Path, resume: bool = False) -> SmallLSeg:
    train_in(model, [colours(20), warmth(12)], colours(6, seed=1), recipe, run, vocab=vocab, resume=resume)
    return model


def lines(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def vocab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return letters(tmp_path_factory.mktemp("vocab"))


@pytest.fixture(scope="module")
def whole(vocab: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, SmallLSeg]]:
    """A run of two datasets that nobody interrupted."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    yield run, train(SmallLSeg(), run, RECIPE, vocab)


def test_a_small_network_learns_the_words_of_both_datasets(whole, vocab):
    run, model = whole
    assert lines(run)[-1]["mIoU"] > 0.9
    _, answer = Segmenter(model, vocab=vocab).for_dataset(warmth(1))
    flags = warmth(4, seed=2)
    truth = np.stack([flags.label_map(index) for index in range(4)])
    found = np.stack([answer(flags.picture(index)).label_map for index in range(4)])
    assert (found == truth)[truth != 255].mean() > 0.9


def test_a_run_that_was_stopped_goes_on_to_the_same_numbers(whole, vocab, tmp_path, monkeypatch):
    """Even if it begins with another text transformer: the words are read by the checkpoint's."""
    take = TrainStep.__call__

    def stop(self: TrainStep, step: int, batch: tuple) -> float:
        if step == 7:
            raise KeyboardInterrupt
        return take(self, step, batch)

    with monkeypatch.context() as stopped, pytest.raises(KeyboardInterrupt):
        stopped.setattr(TrainStep, "__call__", stop)
        train(SmallLSeg(), tmp_path, RECIPE, vocab)
    train(SmallLSeg(seed=5), tmp_path, RECIPE, vocab, resume=True)
    run, _ = whole
    assert [line["loss"] for line in lines(tmp_path)[:-1]] == [line["loss"] for line in lines(run)[:-1]]
    for name in ("model.ckpt", "optimizer.ckpt"):
        last = f"checkpoints/{RECIPE.steps:08}/{name}"
        assert (tmp_path / last).read_bytes() == (run / last).read_bytes(), name


def test_the_text_transformer_stays_as_it_is_and_everything_else_moves(whole):
    _, model = whole
    start = {parameter.name: parameter.asnumpy() for parameter in SmallLSeg().get_parameters()}
    for parameter in model.get_parameters():
        stays = np.array_equal(parameter.asnumpy(), start[parameter.name])
        assert stays == parameter.name.startswith("text."), parameter.name


def test_a_text_transformer_that_learns_too_is_read_anew_at_every_validation(vocab, tmp_path):
    recipe = replace(RECIPE, text_multiplier=1.0, steps=40, validate_every=20)
    model = train(SmallLSeg(), tmp_path, recipe, vocab)
    start = {parameter.name: parameter.asnumpy() for parameter in SmallLSeg().get_parameters()}
    assert all(not np.array_equal(p.asnumpy(), start[p.name]) for p in model.text.trainable_params())
    flags, matrix = colours(6, seed=1), ConfusionMatrix(3)
    _, answer = Segmenter(model, vocab=vocab).for_dataset(flags)
    for index in range(len(flags)):
        matrix.update(answer(flags.picture(index)).label_map, flags.label_map(index))
    first, last = (line["mIoU"] for line in lines(tmp_path) if "mIoU" in line)
    assert last == pytest.approx(matrix.miou, abs=1e-6) and last != first


def test_a_batch_carries_the_words_of_the_dataset_that_it_is_from():
    datasets = [colours(8), warmth(16)]
    words = [np.full((len(dataset.label_set), 8), number, np.float32) for number, dataset in enumerate(datasets)]
    samples = MixedSamples(datasets, RECIPE, HALF, HALF)
    batches = with_words(Loader(samples, 4), samples, words)(3, 20)
    found = [(images.shape, int(labels[labels != 255].max()), of_step) for images, labels, of_step in batches]
    assert {shape for shape, _, _ in found} == {(4, 3, 32, 32)}
    assert all(isinstance(words, Replicated) and highest < len(words.array) for _, highest, words in found)
    assert [words.array[0, 0] for _, _, words in found] == [samples.dataset_of(step) for step in range(3, 20)]
    assert {len(words.array) for _, _, words in found} == {2, 3}


def test_a_name_that_stands_twice_is_answered_by_its_first_class(whole, vocab):
    names = LabelSet(("red", "blue", "red", "green"), np.zeros((4, 3), np.uint8))
    flags = colours(1)
    flags.label_set = names
    _, segment = Segmenter(whole[1], vocab=vocab).for_dataset(flags)
    answer = segment(flags.picture(0))
    assert set(np.unique(answer.label_map)) <= {0, 1, 3}
    assert answer.label_set is names


def test_a_dataset_of_one_class_and_crops_that_the_model_cannot_take_are_refused(vocab: Path, tmp_path: Path):
    alone = Flags({"red": [(220, 40, 40)]}, 4)
    with pytest.raises(ValueError, match="a dataset must have two classes or more: one has 'red' alone"):
        train_in(SmallLSeg(), [colours(4), alone], colours(4), RECIPE, tmp_path, vocab=vocab)
    sizes = ({"crop_size": 40}, "crop_size of toy_words must be a multiple of 32: 40 is not"), (
        {"batch_size": 2}, "crops of 32 leave batch norm one value of each picture"
    )  # fmt: skip
    for numbers, sentence in sizes:
        recipe = replace(RECIPE, **numbers)
        with pytest.raises(ValueError, match=sentence):
            train_in(SmallLSeg(), [colours(4)], colours(4), recipe, tmp_path, vocab=vocab)
