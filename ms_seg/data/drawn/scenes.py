"""The drawn world: coloured, patterned shapes over textured ground, with every label known exactly.

Each seed is a scene. Semantic labels (`label_map`), panoptic segments (`instance_map`, with the ground as stuff) and
phrases ("red circle", "striped square", from `instances`) all come from the same drawing. Colour, pattern, size and
rotation are drawn independently of the class, so that a shape can be known by its form alone.

Pixels are computed with integers, or with float64 that is rounded once at the end: so the last bits, which differ
between processors and builds of libraries, do not show, and a seed gives the same scene everywhere. Pictures are
(3, H, W) until they are photographed, since NumPy takes three times as long over a last axis of length 3.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from ms_seg.label_sets import read_labels

SHAPES_LABELS = read_labels("shapes")

COLOURS = {  # RGB before jitter, light and noise
    "red": (200, 40, 40),
    "orange": (235, 130, 30),
    "yellow": (235, 215, 55),
    "green": (50, 155, 65),
    "blue": (45, 85, 200),
    "purple": (130, 60, 170),
    "pink": (235, 140, 180),
    "white": (235, 235, 230),
    "black": (40, 40, 45),
}

MIN_SIDE = 32  # pixels, of a picture
_RADIUS = (0.1, 0.26)  # of a shape, as a share of the picture's shorter side
_MIN_RADIUS = 7.0  # pixels; below it a star and a circle look alike
_MIN_VISIBLE = 0.7  # share of a shape's pixels that the shapes above it leave visible
_TILT = np.pi / 6  # a shape's rotation to either side
_HALF = 0.5 - 1e-9  # a pixel that a shape half covers belongs to it, whatever the last bits of the half are
_SUBROWS = 4  # scan lines to a row of pixels


@dataclass(frozen=True)
class Instance:
    """One shape of a scene. `box` is COCO's (x, y, width, height) around the visible pixels."""

    id: int
    label: str
    colour: str
    pattern: str
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class Scene:
    """A picture and its truth.

    picture: (H, W, 3) uint8 RGB. label_map: (H, W) uint8, an index into `SHAPES_LABELS.names`.
    instance_map: (H, W) int32, the id of the visible shape, or 0 for ground. instances: from the bottom to the top.
    """

    picture: np.ndarray
    label_map: np.ndarray
    instance_map: np.ndarray
    instances: tuple[Instance, ...]


def draw_scene(seed: int, size: tuple[int, int] = (160, 160)) -> Scene:
    """The scene of a seed (>= 0) at `size` (height, width). Raises ValueError for a side under MIN_SIDE."""
    if min(size) < MIN_SIDE:
        raise ValueError(f"size is {size}: a scene needs at least {MIN_SIDE} pixels on each side")
    rng = np.random.default_rng(seed)
    picture, label_map = _draw_ground(rng, size)
    instance_map = np.zeros(size, np.int32)
    light = rng.uniform(0, 2 * np.pi)  # the direction it travels in: shadows and the gradient agree
    words: list[tuple[str, str, str]] = []  # label, colour, pattern of each shape
    areas = np.zeros(0, np.int64)
    visible = np.zeros(0, np.int64)
    for _ in range(int(rng.integers(3, 10) * max(size) / min(size))):
        label, colour, pattern = (str(rng.choice(names)) for names in (THINGS, tuple(COLOURS), PATTERNS))
        shape = _place(rng, label, pattern, light, size)
        covered = shape.coverage >= _HALF
        ids = instance_map[shape.window]
        remaining = visible - np.bincount(ids[covered], minlength=len(words) + 1)[1:]
        if np.any(remaining < _MIN_VISIBLE * areas):
            continue
        _paint(rng, picture[:, *shape.window], shape, colour)
        words.append((label, colour, pattern))
        areas = np.append(areas, covered.sum())
        visible = np.append(remaining, covered.sum())
        ids[covered] = len(words)
        label_map[shape.window][covered] = SHAPES_LABELS.names.index(label)
    instances = tuple(
        Instance(index, *of_shape, box=_box_of(instance_map == index)) for index, of_shape in enumerate(words, 1)
    )
    return Scene(_photograph(rng, picture, light), label_map, instance_map, instances)


def _box_of(mask: np.ndarray) -> tuple[int, int, int, int]:
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return x, y, width, height


# Outlines: closed contours about the unit disc as complex numbers x + iy, y downwards, clockwise.
# A second contour, the other way round, is a hole.


def _polar(*radii: float, corners: int) -> np.ndarray:
    """A contour of corners at equal angles from the top, whose distances from the centre take turns."""
    return np.resize(radii, corners) * np.exp(2j * np.pi * np.arange(corners) / corners) * -1j


def _cross() -> np.ndarray:
    corner = np.array([0.3 - 0.95j, 0.3 - 0.3j, 0.95 - 0.3j])
    return np.concatenate([corner * 1j**quarter for quarter in range(4)])


_OUTLINES: dict[str, list[np.ndarray]] = {
    "circle": [_polar(0.92, corners=72)],
    "square": [_polar(1.1, corners=4) * np.exp(0.25j * np.pi)],
    "triangle": [_polar(1.15, corners=3)],
    "star": [_polar(1.15, 0.48, corners=10)],
    "ring": [_polar(0.98, corners=72), _polar(0.52, corners=72)[::-1]],
    "cross": [_cross()],
}

# Where it is positive, the second tone shows; u and v run along the shape's own axes.
_PATTERNS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "plain": lambda u, v: np.full(u.shape, -1.0),
    "striped": lambda u, v: np.sin(2 * np.pi * u) - 0.25,
    "dotted": lambda u, v: np.cos(2 * np.pi * u) + np.cos(2 * np.pi * v) - 0.6,
    "chequered": lambda u, v: 1.5 * np.sin(np.pi * u) * np.sin(np.pi * v),
}
PATTERNS = tuple(_PATTERNS)


@dataclass(frozen=True)
class _Placed:
    """A shape at its place. window: the part of the picture that it touches; everything else refers to it.

    contours: (P, 2), x and y. coverage, shadow, rim and second_tone: (h, w) float64 shares 0..1. The last three are
    made when asked for: many shapes are not painted, because they would hide another.
    """

    window: tuple[slice, slice]
    contours: list[np.ndarray]
    coverage: np.ndarray
    shadow_offset: np.ndarray  # x, y
    pattern: str
    axes: tuple[np.ndarray, np.ndarray]  # u and v at each pixel

    @property
    def shadow(self) -> np.ndarray:
        shadow = _fill([contour + self.shadow_offset for contour in self.contours], self.coverage.shape)
        return cv2.GaussianBlur(shadow, (0, 0), 0.6 + 0.5 * np.hypot(*self.shadow_offset))

    @property
    def rim(self) -> np.ndarray:
        return 1 - abs(2 * cv2.GaussianBlur(self.coverage, (0, 0), 0.8) - 1)

    @property
    def second_tone(self) -> np.ndarray:
        return np.clip(0.5 + 2 * _PATTERNS[self.pattern](*self.axes), 0, 1)


def _place(rng: np.random.Generator, label: str, pattern: str, light: float, size: tuple[int, int]) -> _Placed:
    low, high = np.maximum(np.multiply(_RADIUS, min(size)), (_MIN_RADIUS, _MIN_RADIUS + 3))
    radius = np.exp(rng.uniform(np.log(low), np.log(high)))
    centre = rng.uniform(0.5 * radius, np.array(size[::-1]) - 0.5 * radius)  # x, y
    angle = rng.uniform(-_TILT, _TILT)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    axes = radius * rng.uniform(0.85, 1.15, (2, 1)) * turn  # (u, v) @ axes + centre = (x, y)
    fall = rng.uniform(0.05, 0.2) * radius  # how far the shadow lies from the shape

    reach = 1.9 * radius + 3  # the furthest corner, the longest shadow and its blur
    x0, y0 = np.maximum(centre - reach, 0).astype(int)
    x1, y1 = np.minimum(centre + reach, size[::-1]).astype(int)
    x, y = np.arange(x0, x1) + 0.5 - centre[0], np.arange(y0, y1)[:, None] + 0.5 - centre[1]
    contours = [np.stack([o.real, o.imag], axis=1) @ axes + centre - (x0, y0) for o in _OUTLINES[label]]
    to_uv = np.linalg.inv(axes) * rng.uniform(1.6, 2.4)  # times how fine the pattern is
    return _Placed(
        window=(slice(y0, y1), slice(x0, x1)),
        contours=contours,
        coverage=_fill(contours, (y1 - y0, x1 - x0)),
        shadow_offset=fall * np.array([np.cos(light), np.sin(light)]),
        pattern=pattern,
        axes=tuple(x * to_uv[0, i] + y * to_uv[1, i] + rng.uniform(0, 1) for i in (0, 1)),
    )


def _fill(contours: list[np.ndarray], size: tuple[int, ...]) -> np.ndarray:
    """The share (0..1) of each pixel inside contours (P, 2): exact along x, with _SUBROWS scan lines along y.

    cv2.fillPoly will not do: its sub-pixel rounding differs between versions, and a seed must keep its scene.
    """
    height, width = size
    y = (np.arange(height * _SUBROWS) + 0.5) / _SUBROWS
    start = np.concatenate(contours)
    end = np.concatenate([np.roll(contour, -1, axis=0) for contour in contours])
    edges = end - start
    edge, row = np.nonzero((start[:, 1:] <= y) != (end[:, 1:] <= y))  # an edge that crosses a scan line
    x = start[edge, 0] + (y[row] - start[edge, 1]) * edges[edge, 0] / edges[edge, 1]
    x = np.clip(x, 0, width)
    pixel = np.floor(x).astype(int)
    inwards = -np.sign(edges[edge, 1]) / _SUBROWS  # clockwise: the inside lies right of an edge that goes up
    place = row // _SUBROWS * (width + 2) + pixel
    # What the share changes by, from one pixel of a row to the next.
    steps = np.bincount(
        np.concatenate([place, place + 1]),
        np.concatenate([inwards * (pixel + 1 - x), inwards * (x - pixel)]),
        height * (width + 2),
    )
    return np.clip(steps.reshape(height, width + 2).cumsum(axis=1)[:, :width], 0, 1)


def _paint(rng: np.random.Generator, picture: np.ndarray, shape: _Placed, colour: str) -> None:
    """Paint a shape and its shadow over its window of the picture (3, h, w) float64, 0..255, in place."""
    picture *= 1 - rng.uniform(0.2, 0.5) * shape.shadow
    first = np.clip(np.multiply(COLOURS[colour], rng.uniform(0.8, 1.1)) + rng.normal(0, 8, 3), 0, 255)
    second = 0.55 * first + 0.45 * (255 if first.mean() < 128 else 0)
    surface = _tinted(second - first, shape.second_tone) + first[:, None, None]
    surface *= 1 - rng.uniform(0, 0.5) * shape.rim
    picture += shape.coverage * (surface - picture)


def _tinted(colour: np.ndarray, tone: np.ndarray) -> np.ndarray:
    """A colour times `tone` (h, w): (3, h, w)."""
    return np.multiply.outer(colour, tone)


# Ground: each texture is (3, H, W) float64, about 0..255.


def _smooth_noise(rng: np.random.Generator, size: tuple[int, int], cell: float) -> np.ndarray:
    """Normal noise whose features are about `cell` pixels wide: (H, W)."""
    coarse = rng.normal(0, 1, (int(size[0] / cell) + 3, int(size[1] / cell) + 3))
    return cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)


def _waves(rng: np.random.Generator, size: tuple[int, int], period: float, bend: float) -> np.ndarray:
    """Sine waves `period` pixels long in a random direction, bent by slow noise: (H, W) in -1..1."""
    y, x = np.arange(size[0])[:, None], np.arange(size[1])
    angle, phase = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
    along = (x * np.cos(angle) + y * np.sin(angle)) / period
    return np.sin(2 * np.pi * along + phase + bend * _smooth_noise(rng, size, 3 * period))


def _grass(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    blades = cv2.blur(rng.normal(0, 1, size), (1, int(rng.integers(5, 10))))
    tone = 1 + 0.5 * blades + 0.1 * _smooth_noise(rng, size, 20)
    return _tinted(rng.uniform((70, 115, 35), (125, 155, 75)), tone)


def _sand(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    ripples = _waves(rng, size, rng.uniform(9, 18), 1.5)
    tone = 1 + 0.08 * rng.normal(0, 1, size) + 0.07 * ripples + 0.06 * _smooth_noise(rng, size, 25)
    return _tinted(rng.uniform((175, 135, 85), (225, 195, 150)), tone)


def _water(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    period = rng.uniform(12, 22)
    swell = _waves(rng, size, period, 2.5) + 0.7 * _waves(rng, size, 0.6 * period, 2.5)
    tone = 1 + 0.14 * swell + 0.08 * _smooth_noise(rng, size, 30)
    glints = 90 * np.clip(swell - 0.9, 0, 1)
    return _tinted(rng.uniform((25, 85, 115), (80, 140, 190)), tone) + glints


_GROUNDS: dict[str, Callable[[np.random.Generator, tuple[int, int]], np.ndarray]] = {
    "grass": _grass,
    "sand": _sand,
    "water": _water,
}
THINGS, STUFF = tuple(_OUTLINES), tuple(_GROUNDS)


def _draw_ground(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """One to three textures along winding borders: picture (3, H, W) float64 and label map (H, W) uint8."""
    kinds = rng.permutation(STUFF)[: rng.integers(1, len(STUFF) + 1)]
    heights = np.stack([_smooth_noise(rng, size, 0.45 * min(size)) for _ in kinds])  # the highest is seen
    share = np.exp(0.5 * min(size) * (heights - heights.max(axis=0)))  # soft over about a pixel at a border
    share /= share.sum(axis=0)
    picture = sum(part * _GROUNDS[kind](rng, size) for part, kind in zip(share, kinds, strict=True))
    classes = np.array([SHAPES_LABELS.names.index(kind) for kind in kinds], np.uint8)
    return picture, classes[heights.argmax(axis=0)]


def _photograph(rng: np.random.Generator, picture: np.ndarray, light: float) -> np.ndarray:
    """As a cheap camera sees it: light gradient, contrast, brightness, tint, blur, noise; (H, W, 3) uint8."""
    y, x = (np.linspace(-1, 1, side) for side in picture.shape[1:])
    picture = picture * (1 - rng.uniform(0, 0.25) * (x * np.cos(light) + y[:, None] * np.sin(light)))
    picture = 128 + rng.uniform(0.75, 1.2) * (picture - 128) + rng.uniform(-25, 25) + rng.normal(0, 5, (3, 1, 1))
    picture = np.ascontiguousarray(picture.transpose(1, 2, 0))
    blur = rng.uniform(0, 1.1)
    if blur > 0.3:  # below that OpenCV's kernel is a single pixel
        picture = cv2.GaussianBlur(picture, (0, 0), blur)
    picture = picture + rng.uniform(1, 9) * rng.normal(0, 1, picture.shape)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)
