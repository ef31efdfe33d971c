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
ROUNDS = 3


def measure_end_to_end(name: str, batch_size: int = 1, runs: int = 20) -> dict:
    """Seconds for a picture, on the clock and of the processor: of the command with MANY pictures less one with FEW,
    whose start and compilation are the same, and of the network alone on one of them. ratio: of the two. Medians of
    ROUNDS, in which all three take turns.

    batch_size: of the command; the network alone looks at one picture.
    """
    from photographs import save_photographs
    from processes import run_python

    with TemporaryDirectory() as scratch:
        pictures, checkpoint = save_photographs(Path(scratch, "pictures"), MANY, SIZE), Path(scratch, "weights.pth")
        run_python(["scripts/first_answer.py", "draw", name, str(checkpoint)])
        command = ["-m", "ms_seg", "segment", "--model", name, "--checkpoint", str(checkpoint), "--quiet"]
        command += ["--batch-size", str(batch_size), "--output", str(Path(scratch, "answers"))]
        folders, networks = [], []
        for _ in range(ROUNDS):
            few, many = (run_python([*command, *map(str, pictures[:number])]) for number in (FEW, MANY))
            folders.append([many.seconds - few.seconds, many.cpu_seconds - few.cpu_seconds, many.peak_mb])
            alone = json.loads(run_python([__file__, name, str(pictures[0]), str(runs)]).output.splitlines()[-1])
            networks.append([alone["seconds"], alone["cpu_seconds"]])
    seconds, cpu_seconds, peak_mb = map(statistics.median, zip(*folders, strict=True))
    network_seconds, network_cpu_seconds = map(statistics.median, zip(*networks, strict=True))
    number = MANY - FEW
    return {
        "model": name,
        "batch_size": batch_size,
        "pictures": number,
        "size": "x".join(map(str, SIZE)),
        "seconds": round(seconds / number, 4),
        "cpu_seconds": round(cpu_seconds / number, 4),
        "network_seconds": round(network_seconds, 4),
        "network_cpu_seconds": round(network_cpu_seconds, 4),
        "ratio": round(seconds / number / network_seconds, 3),
        "peak_mb": peak_mb,
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
