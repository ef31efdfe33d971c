"""The drawn world by phrases: what each pixel is called, and what training never sees."""

from __future__ import annotations

import numpy as np
import pytest

from ms_seg.data.drawn.phrases import Phrases, is_unseen, unseen_phrases
from ms_seg.data.drawn.scenes import COLOURS, PATTERNS, SHAPES_LABELS, STUFF, THINGS, draw_scene

KINDS = {"colour": tuple(COLOURS), "pattern": PATTERNS}


@pytest.mark.parametrize("kind", KINDS)
def test_a_shape_is_called_by_its_word_and_its_form_and_ground_by_its_name(kind: str):
    phrases = Phrases(kind, seen_only=False)
    names = phrases.label_set.names
    for seed in range(5):
        scene = draw_scene(seed)
        label_map = phrases.label_map(scene)
        assert label_map.shape == scene.label_map.shape and label_map.dtype == np.uint8
        for instance in scene.instances:
            shown = {names[index] for index in np.unique(label_map[scene.instance_map == instance.id])}
            assert shown == {f"{getattr(instance, kind)} {instance.label}"}
        ground = scene.instance_map == 0
        assert [names[index] for index in label_map[ground]] == [
            SHAPES_LABELS.names[index] for index in scene.label_map[ground]
        ]


@pytest.mark.parametrize("kind", KINDS)
def test_training_ignores_the_shapes_whose_pair_of_words_it_must_not_see(kind: str):
    seen, every = Phrases(kind, seen_only=True), Phrases(kind, seen_only=False)
    assert set(every.label_set.names) - set(seen.label_set.names) == set(unseen_phrases(kind))
    ignored = 0
    for seed in range(8):
        scene = draw_scene(seed)
        ours, all_of_them = seen.label_map(scene), every.label_map(scene)
        for index in np.unique(all_of_them):
            name, pixels = every.label_set.names[index], all_of_them == index
            if name in unseen_phrases(kind):
                assert np.all(ours[pixels] == 255)
                ignored += 1
            else:
                assert np.all(ours[pixels] == seen.label_set.names.index(name))
    assert ignored


@pytest.mark.parametrize(("kind", "count"), [("colour", 11), ("pattern", 6)])
def test_every_word_and_every_shape_is_seen_in_other_pairs(kind: str, count: int):
    assert len(unseen_phrases(kind)) == count
    for word in KINDS[kind]:
        assert 3 <= sum(not is_unseen(word, shape) for shape in THINGS) <= 5
    for shape in THINGS:
        assert any(is_unseen(word, shape) for word in KINDS[kind])
        assert sum(not is_unseen(word, shape) for word in KINDS[kind]) >= 2
    assert not set(STUFF) & set(unseen_phrases(kind))


def test_what_is_no_phrase_is_refused():
    with pytest.raises(ValueError, match="'red' and 'grass' are no phrase"):
        is_unseen("red", "grass")
