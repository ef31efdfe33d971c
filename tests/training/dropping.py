"""The command line, but for the drawn world's model: it drops paths and channels here as the larger models do, and has
as few blocks as there are stages."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ms_seg.__main__ import main  # noqa: E402
from ms_seg.presets import PRESETS  # noqa: E402

NAME = "segformer_tiny_shapes"
DROPPING = PRESETS[NAME].override(depths=(1, 1, 1, 1), drop_path_rate=0.1, dropout_rate=0.1)

if __name__ == "__main__":
    PRESETS[NAME] = DROPPING
    sys.exit(main())
