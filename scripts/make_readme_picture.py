"""Draw docs/answers.png, the picture of the README: a scene of the drawn world and what the three embedded models say.

python scripts/make_readme_picture.py [--output docs/answers.png]

The scene is one that no training has seen. Among its words is "red circle": in training LSeg saw red shapes and
circles, and no red circle.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import ms_seg  # noqa: E402
from convert.atomic import whole_file  # noqa: E402
from ms_seg.data.drawn.world import DrawnWorld  # noqa: E402
from ms_seg.presets import find_preset  # noqa: E402

SCENE, SIZE = 39, (160, 256)  # of the validation split; height and width in pixels
WORDS = ("red circle", "blue ring", "grass", "pink cross", "water", "sand", "pink ring", "black triangle")
ANSWERS = (  # title, model, words
    ("SegFormer: a class for each pixel", "segformer_tiny_shapes", None),
    ("LSeg: by words, any you like", "lseg_tiny_shapes", WORDS),
    ("Mask2Former: things and stuff", "mask2former_tiny_shapes", None),
)
MAGNIFICATION = 2  # of the picture, as the answers' drawings have it
MARGIN, TITLE_HEIGHT, FONT_SIZE = 8, 34, 18
PAPER, INK = (255, 255, 255), (28, 28, 30)
COLOURS = 64  # of the file: a palette takes a sixth of the bytes


def main() -> None:
    """Segment the scene three times, and write the four panels."""
    options = _parser().parse_args()
    picture = DrawnWorld("validation", size=SIZE).picture(SCENE)
    height, width = SIZE
    shown = Image.fromarray(picture).resize((width * MAGNIFICATION, height * MAGNIFICATION), Image.Resampling.BILINEAR)
    panels = [("A picture", shown)]
    for title, name, words in ANSWERS:
        segmenter = ms_seg.Segmenter(ms_seg.create_model(name, find_preset(name).embedded))
        panels.append((title, segmenter(picture, labels=words).draw()))
    with whole_file(options.output) as draft:
        in_a_grid(panels, columns=2).quantize(COLOURS, kmeans=5).save(draft, "PNG", optimize=True)
    print(f"{options.output}: {options.output.stat().st_size / 1000:.0f} kB")


def in_a_grid(panels: Sequence[tuple[str, Image.Image]], columns: int) -> Image.Image:
    """Panels of one width row by row, each under its title."""
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    heights = [TITLE_HEIGHT + max(panel.height for _, panel in row) for row in rows]
    column = panels[0][1].width + 2 * MARGIN
    canvas = Image.new("RGB", (columns * column, sum(heights)), PAPER)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(FONT_SIZE)
    for number, row in enumerate(rows):
        top = sum(heights[:number])
        for place, (title, panel) in enumerate(row):
            left = place * column + MARGIN
            draw.text((left, top + TITLE_HEIGHT // 2), title, INK, font, anchor="lm")
            canvas.paste(panel, (left, top + TITLE_HEIGHT))
    return canvas


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=ROOT / "docs/answers.png", metavar="FILE")
    return parser


if __name__ == "__main__":
    main()
