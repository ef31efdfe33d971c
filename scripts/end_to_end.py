"""From pictures' files to answers' files: `segment` with a folder, beside the network alone.

`performance_page.py` measures; this file alone times the network: python scripts/end_to_end.py NAME PICTURE RUNS
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts"), str(ROOT / "tests" / "parity")]

FEW, MANY, SIZE = 4, 44, (512, 683)


def measure_end_to_end(name: str, runs: int = 20) -> dict:
    """Seconds for a picture, on the clock and of the processor: of the command with MANY pictures less one with FEW,
    whose start and compilation are the same, and of the network alone on one of them. ratio: of the two."""
    from photographs import save_photographs
    from processes import run_python

    with TemporaryDirectory() as scratch:
        pictures, checkpoint = save_photographs(Path(scratch, "pictures"), MANY, SIZE), Path(scratch, "weights.pth")
        run_python(["scripts/first_answer.py", "draw", name, str(checkpoint)])
        command = ["-m", "ms_seg", "segment", "--model", name, "--checkpoint", str(checkpoint), "--quiet"]
        command += ["--output", str(Path(scratch, "answers"))]
        few, many = (run_python([*command, *map(str, pictures[:number])]) for number in (FEW, MANY))
        alone = json.loads(run_python([__file__, name, str(pictures[0]), str(runs)]).output.splitlines()[-1])
    seconds = (many.seconds - few.seconds) / (MANY - FEW)
    return {
        "pictures": MANY - FEW,
        "size": "x".join(map(str, SIZE)),
        "seconds": round(seconds, 4),
        "cpu_seconds": round((many.cpu_seconds - few.cpu_seconds) / (MANY - FEW), 4),
        "network_seconds": round(alone["seconds"], 4),
        "network_cpu_seconds": round(alone["cpu_seconds"], 4),
        "ratio": round(seconds / alone["seconds"], 3),
        "peak_mb": many.peak_mb,
    }


def _network(name: str, picture: str, runs: int) -> dict:
    import numpy as np
    from PIL import Image

    import ms_seg
    from ms_seg.data.preprocessing import network_input
    from ms_seg.inference.execution import Runner, to_numpy

    model = ms_seg.create_model(name)
    inputs, _ = network_input(np.asarray(Image.open(picture)), model.preset.preprocessing)
    network, times = Runner(model), []
    for _ in range(runs + 2):
        begun, cpu = time.perf_counter(), time.process_time()
        to_numpy(network(inputs)[0])
        times.append((time.perf_counter() - begun, time.process_time() - cpu))
    seconds, cpu_seconds = zip(*times[2:], strict=True)
    return {"seconds": statistics.median(seconds), "cpu_seconds": statistics.median(cpu_seconds)}


if __name__ == "__main__":
    print(json.dumps(_network(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
