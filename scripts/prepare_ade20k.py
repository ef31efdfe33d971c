"""Unpack and verify ADE20K: python scripts/prepare_ade20k.py ADEChallengeData2016.zip [--output datasets]

The archive: http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip (0.9 GB). DIR/ADEChallengeData2016
appears when it is whole; a run that was stopped is continued by the same command.
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

DATASET = "ADEChallengeData2016"
COUNTS = {"training": 20_210, "validation": 2000}


def main() -> int:
    return exit_code("prepare_ade20k", partial(run, _parser().parse_args()), "stopped: the same command continues")


def run(options: argparse.Namespace) -> None:
    """Unpack, verify, and say what there is."""
    print(prepare(splits(), options.archive, options.output / DATASET))


def splits() -> list[Split]:
    """Where the published archive holds pictures and label maps."""
    return [Split(_part("images", ".jpg", split), _part("annotations", ".png", split)) for split in COUNTS]


def _part(kind: str, ending: str, split: str) -> Part:
    return Part(f"{DATASET}.zip", f"{kind}/{split}", f"{kind}/{split}", ending, COUNTS[split])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", nargs="+", type=Path, help=f"{DATASET}.zip, or the folder that it lies in")
    parser.add_argument("--output", type=Path, default=Path("datasets"), metavar="DIR", help="default: %(default)s")
    return parser


if __name__ == "__main__":
    sys.exit(main())
