"""The drawn world: the same everywhere, consistent in its labels, and not to be solved by colour."""

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

import ms_seg.data
from ms_seg.data.drawn.scenes import COLOURS, PATTERNS, SHAPES_LABELS, STUFF, THINGS, Scene, draw_scene

ASSETS = Path(ms_seg.data.__file__).parents[1] / "assets"
NAMES = SHAPES_LABELS.names


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [draw_scene(seed, (96, 96)) for seed in range(100)]


def test_the_same_seed_gives_the_same_scene():
    first, second = draw_scene(5), draw_scene(5)
    np.testing.assert_array_equal(first.picture, second.picture)
    np.testing.assert_array_equal(first.label_map, second.label_map)
    np.testing.assert_array_equal(first.instance_map, second.instance_map)
    assert first.instances == second.instances


def test_a_seed_keeps_its_scene_on_every_machine():
    digest = hashlib.sha256()
    for seed in range(8):
        scene = draw_scene(seed, (96, 128))
        for pixels in (scene.picture, scene.label_map, scene.instance_map.astype("<i4")):
            digest.update(pixels.tobytes())
    assert digest.hexdigest()[:16] == "8dda3f204d400c10"


def test_different_seeds_give_different_scenes(scenes):
    assert len({scene.picture.tobytes() for scene in scenes}) == len(scenes)
    assert len({scene.label_map.tobytes() for scene in scenes}) == len(scenes)


def test_the_label_list_names_what_is_drawn_in_colours_that_differ():
    assert NAMES == THINGS + STUFF
    assert len({tuple(colour) for colour in SHAPES_LABELS.palette}) == len(NAMES)


@pytest.mark.parametrize("size", [(32, 32), (64, 200), (161, 97)])
def test_size_and_types_are_as_promised(size):
    scene = draw_scene(3, size)
    assert scene.picture.shape == (*size, 3) and scene.picture.dtype == np.uint8
    assert scene.label_map.shape == size and scene.label_map.dtype == np.uint8
    assert scene.instance_map.shape == size and scene.instance_map.dtype == np.int32


def test_a_picture_too_small_to_hold_a_shape_is_refused_with_a_sentence():
    with pytest.raises(ValueError, match=r"size is \(16, 160\).*at least 32 pixels"):
        draw_scene(0, (16, 160))


def test_every_class_colour_and_pattern_occurs_and_nothing_else(scenes):
    assert {NAMES[index] for scene in scenes for index in np.unique(scene.label_map)} == set(NAMES)
    instances = [instance for scene in scenes for instance in scene.instances]
    assert {instance.label for instance in instances} == set(THINGS)
    assert {instance.colour for instance in instances} == set(COLOURS)
    assert {instance.pattern for instance in instances} == set(PATTERNS)


def test_the_label_map_agrees_with_the_instances(scenes):
    stuff = [NAMES.index(name) for name in STUFF]
    for scene in scenes:
        assert np.isin(scene.label_map[scene.instance_map == 0], stuff).all()
        assert [instance.id for instance in scene.instances] == list(range(1, len(scene.instances) + 1))
        assert scene.instance_map.max() == len(scene.instances)
        for instance in scene.instances:
            assert (scene.label_map[scene.instance_map == instance.id] == NAMES.index(instance.label)).all()


def test_a_box_is_the_tightest_around_the_visible_pixels(scenes):
    for scene in scenes[:20]:
        for instance in scene.instances:
            rows, columns = np.nonzero(scene.instance_map == instance.id)
            x, y, width, height = instance.box
            assert (x, y) == (columns.min(), rows.min())
            assert (x + width, y + height) == (columns.max() + 1, rows.max() + 1)


def test_shapes_hide_one_another_but_none_is_left_as_a_sliver(scenes):
    sizes = [(scene.instance_map == instance.id).sum() for scene in scenes for instance in scene.instances]
    assert min(sizes) > 30  # pixels
    # a shape drawn on open ground has ground all around its box; many have not
    touching = 0
    for scene in scenes:
        for instance in scene.instances:
            ring = cv2.dilate((scene.instance_map == instance.id).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
            touching += bool(np.setdiff1d(scene.instance_map[ring], [0, instance.id]).size)
    assert 0.2 < touching / len(sizes) < 0.9


def test_masks_follow_the_picture_to_the_pixel():
    """Across a mask's border the picture changes far more than a few pixels to either side of it."""
    steps = {-4: [], 0: [], 4: []}
    for seed in range(10):
        scene = draw_scene(seed)
        inside = (scene.instance_map > 0).astype(np.uint8)
        grey = cv2.cvtColor(scene.picture, cv2.COLOR_RGB2GRAY).astype(np.float64)
        slope = np.hypot(cv2.Sobel(grey, cv2.CV_64F, 1, 0), cv2.Sobel(grey, cv2.CV_64F, 0, 1))
        for offset, found in steps.items():
            kernel = np.ones((2 * abs(offset) + 1,) * 2, np.uint8)
            moved = cv2.dilate(inside, kernel) if offset > 0 else cv2.erode(inside, kernel)
            found.append(slope[cv2.morphologyEx(moved, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0].mean())
    assert np.mean(steps[0]) > 1.4 * max(np.mean(steps[-4]), np.mean(steps[4]))


def test_light_noise_and_contrast_vary(scenes):
    brightness = [scene.picture.mean() for scene in scenes]
    contrast = [scene.picture.std() for scene in scenes]
    assert np.std(brightness) > 10 and np.std(contrast) > 5


def test_a_shape_cannot_be_told_from_its_mean_colour(scenes):
    def mean_colours(part: list[Scene]) -> tuple[np.ndarray, np.ndarray]:
        found = [
            (scene.picture[scene.instance_map == instance.id].mean(axis=0), THINGS.index(instance.label))
            for scene in part
            for instance in scene.instances
        ]
        return np.array([colour for colour, _ in found]), np.array([label for _, label in found])

    colours, labels = mean_colours(scenes[:50])
    centres = np.stack([colours[labels == label].mean(axis=0) for label in range(len(THINGS))])
    colours, labels = mean_colours(scenes[50:])
    guesses = np.linalg.norm(colours[:, None] - centres, axis=-1).argmin(axis=1)
    assert (guesses == labels).mean() < 0.25  # one in eight is chance


def test_the_pictures_of_the_demo_are_scenes_that_were_held_out():
    record = json.loads((ASSETS / "segformer_tiny_shapes.json").read_text())
    trained_on = range(record["training_pictures"])
    assert record["held_out"]["first_seed"] not in trained_on
    for number, example in enumerate(record["examples"], 1):
        assert example["seed"] not in trained_on
        scene = draw_scene(example["seed"], tuple(example["size"]))
        picture = cv2.imread(str(ASSETS / f"shapes_{number}.png"))[..., ::-1]
        truth = cv2.imread(str(ASSETS / f"shapes_{number}.truth.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(picture, scene.picture)
        np.testing.assert_array_equal(truth, scene.label_map)
