"""Things keep their colours from frame to frame."""

import numpy as np

from ms_seg.answers import PanopticAnswer
from ms_seg.answers.tracking import PATIENCE, Tracks
from ms_seg.label_sets import LabelSet
from ms_seg.postprocessing.panoptic import Panoptic, PanopticSegment

LABELS = LabelSet(("car", "dog", "road"), np.uint8([[200, 30, 30], [30, 200, 30], [60, 60, 60]]), (True, True, False))
CAR, DOG, ROAD = 0, 1, 2
HEIGHT, WIDTH = 30, 60


def answer(*segments):
    """Squares of 10 pixels (class, left), all on a road; of equal areas, the first is the first in the answer."""
    segment_map = np.ones((HEIGHT, WIDTH), np.int32)
    for number, (_, left) in enumerate(segments, start=2):
        segment_map[10:20, left : left + 10] = number
    found = [PanopticSegment(ROAD, 0.9), *(PanopticSegment(label, 0.8) for label, _ in segments)]
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    return PanopticAnswer(picture, LABELS, "model", panoptic=Panoptic(segment_map, tuple(found)))


def colours_at(coloured, *columns):
    image = np.asarray(coloured.label_image())
    return [tuple(image[15, column].tolist()) for column in columns]


def test_a_thing_that_moves_keeps_its_colour_whatever_its_place_in_the_answer():
    tracks = Tracks()
    first, second = colours_at(tracks(answer((CAR, 0), (CAR, 30))), 5, 35)
    assert first != second
    assert colours_at(tracks(answer((CAR, 34), (CAR, 4))), 9, 39) == [first, second]
    assert colours_at(tracks(answer((CAR, 38))), 43) == [second]


def test_ids_and_drawings_go_with_the_colours():
    tracks = Tracks()
    tracks(answer((CAR, 0), (CAR, 30)))
    moved = tracks(answer((CAR, 34), (CAR, 4)))
    (red, green, blue), _ = colours_at(moved, 39, 9)
    cars = [segment for segment in moved.segments if segment["category"] == "car"]
    assert cars[0]["bbox"][0] == 34 and cars[0]["id"] == red + 256 * green + 65536 * blue
    drawn = np.asarray(moved.draw(1.0, legend=False))
    scale = drawn.shape[1] // WIDTH
    assert tuple(drawn[12 * scale, 36 * scale]) == (red, green, blue)


def test_things_of_two_classes_are_never_one():
    tracks = Tracks()
    (car,) = colours_at(tracks(answer((CAR, 0))), 5)
    (dog,) = colours_at(tracks(answer((DOG, 0))), 5)
    assert (car, dog) == ((200, 30, 30), (30, 200, 30))


def test_a_thing_that_is_missed_for_a_while_has_its_colour_when_it_is_there_again():
    tracks = Tracks()
    _, second = colours_at(tracks(answer((CAR, 0), (CAR, 30))), 5, 35)
    for _ in range(PATIENCE):
        tracks(answer((CAR, 0), (DOG, 30)))
    assert colours_at(tracks(answer((CAR, 0), (CAR, 30))), 35) == [second]


def test_a_new_thing_gets_the_colour_of_none_that_is_there():
    tracks = Tracks()
    before = colours_at(tracks(answer((CAR, 0), (CAR, 15), (CAR, 30))), 5, 20, 35)
    after = colours_at(tracks(answer((CAR, 0), (CAR, 45), (CAR, 30))), 5, 50, 35)
    assert after[0] == before[0] and after[2] == before[2] and after[1] not in before


def test_colours_become_free_once_a_thing_is_long_gone():
    tracks = Tracks()
    (first,) = colours_at(tracks(answer((CAR, 0))), 5)
    for _ in range(PATIENCE + 1):
        tracks(answer())
    assert colours_at(tracks(answer((CAR, 45))), 50) == [first]


def test_of_two_that_overlap_one_the_better_is_taken():
    tracks = Tracks()
    one, other = colours_at(tracks(answer((CAR, 0), (CAR, 12))), 5, 17)
    assert colours_at(tracks(answer((CAR, 10), (CAR, 40))), 15)[0] == other != one


def test_stuff_has_the_colour_of_its_class():
    tracks = Tracks()
    for left in (0, 20, 40):
        assert colours_at(tracks(answer((CAR, left))), 58) == [(60, 60, 60)]
