"""Unpack and verify COCO-Stuff 164k: python scripts/prepare_coco_stuff.py DOWNLOADS [--output datasets]

DOWNLOADS holds train2017.zip and val2017.zip (http://images.cocodataset.org/zips, 19 GB) and
stuffthingmaps_trainval2017.zip (http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset, 0.7 GB).
DIR/coco_stuff164k appears when it is whole; a run that was stopped is continued by the same command.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from convert.exit_code import exit_code  # noqa: E402
from ms_seg.data.archives import Part, Split, prepare  # noqa: E402

DATASET = "coco_stuff164k"
LABELS = "stuffthingmaps_trainval2017.zip"
COUNTS = {"train2017": 118_287, "val2017": 5000}


def main() -> int:
    return exit_code("prepare_coco_stuff", partial(run, _parser().parse_args()), "stopped: the same command continues")


def run(options: argparse.Namespace) -> None:
    """Unpack, verify, and say what there is."""
    print(prepare(splits(), options.archives, options.output / DATASET))


def splits() -> list[Split]:
    """Where the published archives hold pictures and label maps."""
    return [
        Split(
            Part(f"{split}.zip", split, f"images/{split}", ".jpg", count),
            Part(LABELS, split, f"annotations/{split}", ".png", count),
        )
        for split, count in COUNTS.items()
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archives", nargs="+", type=Path, help="the three archives, or the folder that they lie in")
    parser.add_argument("--output", type=Path, default=Path("datasets"), metavar="DIR", help="default: %(default)s")
    return parser


if __name__ == "__main__":
    sys.exit(main())
