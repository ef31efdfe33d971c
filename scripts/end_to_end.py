"""From pictures' files to answers' files: `segment` and `evaluate` with a folder, beside the network alone.

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

FEW, SIZE = 4, (512, 683)
ROUNDS = 3


def measure_end_to_end(name: str, batch_size: int, command: str, number: int) -> dict:
    """Seconds for a picture, on the clock and of the processor: of the command with `number` pictures more than FEW,
    less one with FEW, whose start, compilation and report are the same, and of the network alone on one of them.
    ratio: of the two. Medians of ROUNDS, in which all three take turns.

    batch_size: of the command; the network alone looks at one picture. command: segment, or evaluate.
    """
    from photographs import save_photographs
    from processes import run_python

    with TemporaryDirectory() as scratch:
        checkpoint, picture = Path(scratch, "weights.pth"), save_photographs(Path(scratch), 1, SIZE)[0]
        run_python(["scripts/first_answer.py", "draw", name, str(checkpoint)])
        start = ["-m", "ms_seg", command, "--model", name, "--checkpoint", str(checkpoint)]
        start += ["--batch-size", str(batch_size), "--output", str(Path(scratch, "answers"))]
        commands = [[*start, *_input(command, Path(scratch, str(many)), many)] for many in (FEW, FEW + number)]
        folders, networks = [], []
        for _ in range(ROUNDS):
            few, many = map(run_python, commands)
            folders.append([many.seconds - few.seconds, many.cpu_seconds - few.cpu_seconds, many.peak_mb])
            alone = json.loads(run_python([__file__, name, str(picture), "20"]).output.splitlines()[-1])
            networks.append([alone["seconds"], alone["cpu_seconds"]])
    seconds, cpu_seconds, peak_mb = map(statistics.median, zip(*folders, strict=True))
    network_seconds, network_cpu_seconds = map(statistics.median, zip(*networks, strict=True))
    return {
        "model": name,
        "command": command,
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


def _input(command: str, folder: Path, number: int) -> list[str]:
    """The command's arguments for so many photographs, which are drawn into the folder."""
    from photographs import save_photographs, save_split

    if command == "evaluate":
        return ["--dataset", "ade20k", "--data", str(save_split(folder, number, SIZE))]
    save_photographs(folder, number, SIZE)
    return ["--quiet", str(folder)]


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
