"""Every command ends with an exit code, and with one sentence if it failed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


def exit_code(program: str, run: Callable[[], int | None], stopped: str = "stopped") -> int:
    """Run a command: what `run` returns (0 for None); 2 for bad input, with one sentence on stderr; 130 for Ctrl-C.

    program: the name before that sentence. stopped: the sentence after Ctrl-C.
    """
    os.environ.setdefault("GLOG_v", "3")  # MindSpore logs errors alone; it reads this when it is imported
    try:
        return run() or 0
    except (ValueError, OSError, RuntimeError) as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(stopped, file=sys.stderr)
        return 130
