"""How every command ends: with an exit code, and one sentence where it could not be done."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


def exit_code(program: str, run: Callable[[], int | None], stopped: str = "stopped") -> int:
    """What `run` returns, which for None is 0; 2 for bad input, whose sentence goes to stderr; 130 for Ctrl-C.

    program: whose sentence it is. stopped: what Ctrl-C is answered.
    """
    os.environ.setdefault("GLOG_v", "3")  # of MindSpore's own log, errors alone; set before it is imported
    try:
        return run() or 0
    except (ValueError, OSError, RuntimeError) as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(stopped, file=sys.stderr)
        return 130
