"""How time and memory grow with pixels, classes, words, pictures and instances.

`performance_page.py` measures; this file alone measures one point in its own process:
python scripts/scale.py {pixels,classes,words,pictures,instances} NUMBER
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

if TYPE_CHECKING:
    from ms_seg.inference import Segmenter
    from ms_seg.label_sets import LabelSet

Figures = dict[str, float]  # seconds, cpu_seconds

SIZE = (512, 683)
POINTS = {  # what grows -> how far
    "pixels": (250_000, 1_000_000, 4_000_000, 16_000_000, 64_000_000),
    "classes": (19, 50, 150, 400, 1000),
    "words": (2, 10, 50, 200, 1000),
    "pictures": (10, 100, 1000, 10_000),
    "instances": (10, 100, 1000, 4000),
}


def measure_point(what: str, number: int) -> dict:
    """seconds and cpu_seconds of the work, and peak_mb of its process, which imports MindSpore where it is needed."""
    from processes import run_python

    usage = run_python([__file__, what, str(number)])
    return {**json.loads(usage.output.splitlines()[-1]), "peak_mb": usage.peak_mb}


def _pixels(number: int) -> Figures:
    """`segment`'s work on one picture, the reading and the saving included, by the embedded SegFormer."""
    from photographs import save_photographs

    side = round(number**0.5)
    with TemporaryDirectory() as scratch:
        (picture,) = save_photographs(Path(scratch), 1, (side, side))
        segmenter = _embedded("segformer_tiny_shapes")
        segmenter(picture)
        return _seconds(lambda: segmenter(picture).save(scratch))


def _classes(number: int) -> Figures:
    """From drawn logits of that many classes at a quarter of 512x683 to the answer's files."""
    import numpy as np
    from photographs import photograph

    from ms_seg.answers import Answer
    from ms_seg.data.preprocessing import Geometry
    from ms_seg.postprocessing.logits import Logits, label_pixels

    generator = np.random.default_rng(0)
    values = generator.standard_normal((number, SIZE[0] // 4, SIZE[1] // 4), np.float32)
    maps, picture = Logits(values, Geometry(SIZE, SIZE, SIZE), via_input=True), photograph(SIZE, 0)
    labels = _label_set(number)

    def answer(folder: str) -> None:
        label_map, scores = label_pixels(maps)
        Answer(picture, label_map, labels, scores, "drawn").save(folder)

    with TemporaryDirectory() as scratch:
        return _seconds(lambda: answer(scratch))


def _words(number: int) -> Figures:
    """One picture by the embedded LSeg, told apart by that many words, their features included; graphs of as many
    words are compiled before."""
    from photographs import photograph

    segmenter, picture = _embedded("lseg_tiny_shapes"), photograph((192, 256), 0)
    segmenter(picture, [f"warm {index}" for index in range(number)])
    with TemporaryDirectory() as scratch:
        return _seconds(lambda: segmenter(picture, [f"word {index}" for index in range(number)]).save(scratch))


def _pictures(number: int) -> Figures:
    """`segment` with a folder of that many pictures of 64x64, by the embedded SegFormer; the start included."""
    from photographs import save_photographs

    from ms_seg.__main__ import main

    model = ["--model", "segformer_tiny_shapes", "--checkpoint", "ms_seg/assets/segformer_tiny_shapes.pth", "--quiet"]
    with TemporaryDirectory() as scratch:
        first, *_ = save_photographs(Path(scratch, "pictures"), 1, (64, 64))
        for index in range(1, number):
            os.link(first, first.with_name(f"{index:05d}.jpg"))
        command = ["segment", str(first.parent), *model, "--output", str(Path(scratch, "answers"))]
        return _seconds(lambda: main(command))


def _instances(number: int) -> Figures:
    """The files of an instance answer of that many squares on 1024x1024, which overlap."""
    import numpy as np
    from photographs import photograph

    from ms_seg.answers import InstanceAnswer
    from ms_seg.postprocessing.instance import Instances

    generator, side = np.random.default_rng(0), 1024
    bits = np.zeros((number, side, side // 8), np.uint8)
    for mask in bits:
        top, left = generator.integers(0, (side - 64, side // 8 - 8))
        mask[top : top + 64, left : left + 8] = 255
    scores = np.sort(generator.uniform(0.5, 1, number))[::-1]
    areas = np.full(number, 64 * 64)
    instances = Instances(np.arange(number) % 80, scores, areas, (side, side), bits, np.arange(number))
    answer = InstanceAnswer(photograph((side, side), 0), _label_set(80), "drawn", instances=instances)
    with TemporaryDirectory() as scratch:
        return _seconds(lambda: answer.save(scratch))


def _embedded(name: str) -> Segmenter:
    import ms_seg
    from ms_seg.presets import find_preset

    return ms_seg.Segmenter(ms_seg.create_model(name, find_preset(name).embedded))


def _label_set(number: int) -> LabelSet:
    import numpy as np

    from ms_seg.label_sets import LabelSet

    palette = np.random.default_rng(1).integers(0, 256, (number, 3)).astype(np.uint8)
    return LabelSet(tuple(f"class {index}" for index in range(number)), palette)


def _seconds(work: Callable[[], object]) -> Figures:
    begun, cpu = time.perf_counter(), time.process_time()
    work()
    return {
        "seconds": round(time.perf_counter() - begun, 3),
        "cpu_seconds": round(time.process_time() - cpu, 3),
    }


WORK = {"pixels": _pixels, "classes": _classes, "words": _words, "pictures": _pictures, "instances": _instances}

if __name__ == "__main__":
    os.environ.setdefault("GLOG_v", "3")
    print(json.dumps(WORK[sys.argv[1]](int(sys.argv[2]))))
