"""A picture under the colours of its classes, with a legend that says how much of it each class covers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ms_seg.label_sets import LabelSet, numbered_labels

NO_CLASS_COLOUR = (128, 128, 128)
NO_CLASS_NAME = "no class"
IGNORED_COLOUR, IGNORED_NAME = (0, 0, 0), "ignored"

_OPACITY = 0.5  # of the colours over the picture
_BORDER_COLOUR = (255, 255, 255)
_PAPER, _INK, _PALE_INK = (255, 255, 255), (28, 28, 30), (110, 110, 115)
_LEAST_LONG_SIDE = 448  # pixels; smaller pictures are magnified, by a whole number
_LEAST_PANEL, _MOST_PANEL = 320, 640  # pixels, the long side of a panel of a comparison
_TITLE_HEIGHT, _PANEL_MARGIN = 32, 4  # pixels
TITLES = ("picture", "truth", "prediction")  # of such panels
_LONGEST_NAME = 32  # characters
_LEAST_DISTANCE = 24.0  # in CIE Lab: colours nearer than this look alike, half transparent


def draw_overlay(picture: np.ndarray, label_map: np.ndarray, label_set: LabelSet) -> Image.Image:
    """The overlay of a semantic label map, thin borders between classes, and a legend, the largest class first.

    Args:
        picture: RGB (H, W, 3) uint8.
        label_map: (H, W) int; a class beyond the label set is drawn grey and called "no class".
        label_set: names and colours. Of two present classes with colours that look alike the smaller one gets another.

    The legend stands below, or at the right of an upright picture. The picture keeps its size, unless it is so small
    that nothing could be seen.
    """
    picture, label_map = magnified(picture, label_map)
    shown = np.minimum(label_map, len(label_set))  # what has no name is one class beyond the last
    areas = np.bincount(shown.ravel(), minlength=len(label_set) + 1)
    classes = sorted(np.flatnonzero(areas).tolist(), key=lambda index: -areas[index])
    table = class_colours(classes, label_set)
    overlay = Image.fromarray(blend(picture, shown, table))
    entries = [
        Entry(class_name(index, label_set), share_text(areas[index] / shown.size), table[index]) for index in classes
    ]
    return with_legend(overlay, entries)


def draw_comparison(
    picture: np.ndarray, truth: np.ndarray, prediction: np.ndarray, label_set: LabelSet, ignored: int = 255
) -> Image.Image:
    """The picture, the truth over it and the prediction over it side by side, in the same colours, with one legend.

    Args:
        picture: RGB (H, W, 3) uint8.
        truth, prediction: (H, W) int; drawn as `draw_overlay` does, pixels whose truth is `ignored` in black on both.

    The legend gives each class's share of the truth and of the prediction, the largest class of either first. The
    panels are the picture's size, but 320 to 640 pixels on the long side.
    """
    picture, size = panel_of(picture)
    void = truth == ignored
    nameless = len(label_set)
    maps = [np.where(void, nameless + 1, np.minimum(labels, nameless)) for labels in (truth, prediction)]
    areas = np.stack([np.bincount(shown.ravel(), minlength=nameless + 2) for shown in maps])
    classes = sorted(np.flatnonzero(areas.any(axis=0)).tolist(), key=lambda index: -areas[:, index].max())
    table = np.vstack(
        (class_colours([index for index in classes if index <= nameless], label_set), np.uint8([IGNORED_COLOUR]))
    )
    small = [cv2.resize(shown.astype(np.uint16), size, interpolation=cv2.INTER_NEAREST) for shown in maps]
    panels = [picture, *(blend(picture, shown, table) for shown in small)]
    overlays = joined([titled(*panel) for panel in zip(panels, TITLES, strict=True)], axis=1)
    shares = areas / truth.size
    entries = [
        Entry(
            IGNORED_NAME if index > nameless else class_name(index, label_set),
            " / ".join(share_text(share) if share else "none" for share in shares[:, index]),
            table[index],
        )
        for index in classes
    ]
    return with_legend(overlays, entries)


def panel_of(picture: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """A picture as large as a panel of a comparison, and that size (width, height)."""
    height, width = picture.shape[:2]
    scale = np.clip(max(height, width), _LEAST_PANEL, _MOST_PANEL) / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR), size


def titled(panel: np.ndarray | Image.Image, title: str) -> Image.Image:
    """A panel under its title, with a margin."""
    panel = Image.fromarray(panel) if isinstance(panel, np.ndarray) else panel
    canvas = Image.new("RGB", (panel.width + 2 * _PANEL_MARGIN, panel.height + _TITLE_HEIGHT), _PAPER)
    canvas.paste(panel, (_PANEL_MARGIN, _TITLE_HEIGHT))
    font = ImageFont.load_default(_TITLE_HEIGHT // 2)
    ImageDraw.Draw(canvas).text((_PANEL_MARGIN, _TITLE_HEIGHT // 2), title, _INK, font, anchor="lm")
    return canvas


def joined(panels: Sequence[Image.Image], axis: int) -> Image.Image:
    """Panels one below the other (axis 0), or side by side (axis 1)."""
    sizes = np.array([(panel.height, panel.width) for panel in panels])
    corners = np.zeros_like(sizes)
    corners[1:, axis] = sizes[:-1, axis].cumsum()
    height, width = (corners + sizes).max(axis=0).tolist()
    canvas = Image.new("RGB", (width, height), _PAPER)
    for panel, (top, left) in zip(panels, corners.tolist(), strict=True):
        canvas.paste(panel, (left, top))
    return canvas


def magnified(picture: np.ndarray, index_map: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A picture and a map of it, by a whole number as large as it takes to see something."""
    magnification = math.ceil(_LEAST_LONG_SIDE / max(index_map.shape))
    if magnification <= 1:
        return picture, index_map
    height, width = (side * magnification for side in index_map.shape)
    picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
    return picture, index_map.repeat(magnification, axis=0).repeat(magnification, axis=1)


def class_name(index: int, label_set: LabelSet) -> str:
    name = label_set.names[index] if index < len(label_set) else NO_CLASS_NAME
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


def share_text(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else "<0.1%"


def class_colours(classes: list[int], label_set: LabelSet) -> np.ndarray:
    """An RGB table (C + 1, 3) uint8 for the present classes, given from the largest to the smallest.

    A colour that looks like one in use makes way: for a darker or lighter shade, or else a spare colour.
    """
    table = np.vstack((label_set.palette, np.array([NO_CLASS_COLOUR], np.uint8)))
    spare = list(numbered_labels(48).palette)
    used = [table[-1]] if len(label_set) in classes else []
    for index in classes:
        if index == len(label_set):
            continue
        colour = table[index].astype(float)
        candidates = [table[index], np.uint8(colour * 0.55), np.uint8(255 - (255 - colour) * 0.45), *spare]
        distances = [min((_distance(candidate, other) for other in used), default=np.inf) for candidate in candidates]
        far = [number for number, distance in enumerate(distances) if distance >= _LEAST_DISTANCE]
        table[index] = candidates[far[0] if far else int(np.argmax(distances))]
        used.append(table[index])
    return table


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    lab = cv2.cvtColor(np.float32([[one, other]]) / 255, cv2.COLOR_RGB2Lab)[0]
    return float(np.linalg.norm(lab[0] - lab[1]))


def blend(picture: np.ndarray, classes: np.ndarray, table: np.ndarray, clear: int | None = None) -> np.ndarray:
    """Colour each pixel by its class and draw the borders; all at the size of the drawing.

    clear: the class that leaves the picture as it is.
    """
    blended = cv2.addWeighted(picture, 1 - _OPACITY, table[classes], _OPACITY, 0)
    if clear is not None:
        blended = np.where((classes == clear)[..., None], picture, blended)
    border = np.zeros(classes.shape, np.uint8)
    border[:, 1:] |= classes[:, 1:] != classes[:, :-1]
    border[1:] |= classes[1:] != classes[:-1]
    thickness = round(math.sqrt(classes.size) / 700)
    if thickness > 1:
        border = cv2.dilate(border, np.ones((thickness, thickness), np.uint8))
    blended[border > 0] = _BORDER_COLOUR
    return blended


@dataclass(frozen=True)
class Entry:
    """A line of a legend."""

    name: str
    share: str
    colour: np.ndarray


def with_legend(overlay: Image.Image, entries: list[Entry]) -> Image.Image:
    """The overlay, and below or, of an upright one, at its right the legend."""
    font_size = max(14, round(math.sqrt(overlay.width * overlay.height) / 42))
    font = ImageFont.load_default(font_size)
    swatch, gap, line = font_size, font_size // 2, round(font_size * 1.6)
    name_width = math.ceil(max(font.getlength(entry.name) for entry in entries))
    share_width = math.ceil(max(font.getlength(entry.share) for entry in entries))
    column = swatch + gap + name_width + 2 * gap + share_width + 3 * gap
    margin = font_size
    upright = overlay.height > overlay.width
    if upright:
        columns = math.ceil(len(entries) / max(1, (overlay.height - 2 * margin) // line))
    else:
        columns = min(len(entries), max(1, (overlay.width - 2 * margin) // column))
    rows = math.ceil(len(entries) / columns)
    legend_size = (columns * column - 3 * gap + 2 * margin, rows * line + 2 * margin)
    if upright:
        size, corner = (overlay.width + legend_size[0], max(overlay.height, legend_size[1])), (overlay.width, 0)
    else:
        size, corner = (max(overlay.width, legend_size[0]), overlay.height + legend_size[1]), (0, overlay.height)
    canvas = Image.new("RGB", size, _PAPER)
    canvas.paste(overlay, (0, 0))
    draw = ImageDraw.Draw(canvas)
    for number, entry in enumerate(entries):
        x = corner[0] + margin + number // rows * column
        y = corner[1] + margin + number % rows * line
        middle = y + line // 2
        box = (x, middle - swatch // 2, x + swatch, middle - swatch // 2 + swatch)
        draw.rounded_rectangle(box, radius=swatch // 5, fill=tuple(entry.colour.tolist()), outline=_PALE_INK)
        text_x = x + swatch + gap
        draw.text((text_x, middle), entry.name, _INK, font, anchor="lm")
        draw.text((text_x + name_width + 2 * gap + share_width, middle), entry.share, _PALE_INK, font, anchor="rm")
    return canvas
