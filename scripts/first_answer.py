"""From the command to the first picture's answer, ours and PyTorch's, and what that time is made of.

`performance_page.py` measures; this file alone runs one side in its own process:
python scripts/first_answer.py {ours,theirs} NAME CHECKPOINT PICTURE FOLDER
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts"), str(ROOT / "tests" / "parity")]

WORDS = ["sky", "tree", "road", "person", "house"]  # for networks that take words
SIZE = (512, 683)  # of the picture


class Stopwatch:
    """parts: of each part, [seconds, seconds of the processor]."""

    def __init__(self) -> None:
        self.parts: dict[str, list[float]] = {}

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        begun, cpu = time.perf_counter(), time.process_time()
        yield
        self.parts[part] = [round(time.perf_counter() - begun, 3), round(time.process_time() - cpu, 3)]


def measure_first_answer(name: str) -> dict:
    """The row of a model: usage of the command and of PyTorch's process, the parts of both, and the C operators.

    Weights are drawn, and saved as a PyTorch file, which both sides read. Files are in the system's cache: they were
    just written.
    """
    from photographs import save_photographs
    from processes import run_python

    with TemporaryDirectory() as scratch:
        checkpoint = Path(scratch, "weights.pth")
        run_python([__file__, "draw", name, str(checkpoint)])
        (picture,) = save_photographs(Path(scratch), 1, SIZE)
        files = [name, str(checkpoint), str(picture), str(Path(scratch, "answers"))]
        command = ["-m", "ms_seg", "segment", files[2], "--model", name, "--checkpoint", files[1], "--quiet"]
        command += ["--output", files[3], *_options(name)]
        run_python(command)  # the operators in C are compiled, and Python's files too
        ours, theirs = run_python(command), run_python([__file__, "theirs", *files])
        empty = {"XDG_CACHE_HOME": str(Path(scratch, "cache"))}
        compiling = run_python([__file__, "operators", *files], empty)
        return {
            "ours": {**ours.figures, "parts": _last_line(run_python([__file__, "ours", *files]).output)},
            "PyTorch": {**theirs.figures, "parts": _last_line(theirs.output)},
            "operators": _last_line(compiling.output),
        }


def _last_line(output: str) -> dict:
    return json.loads(output.strip().splitlines()[-1])


def _options(name: str) -> list[str]:
    import clip_original

    from ms_seg.presets import find_preset

    if find_preset(name).output != "words":
        return []
    return ["--labels", ",".join(WORDS), "--vocab", str(clip_original.vocabulary_file())]


def _draw(name: str, checkpoint: str) -> None:
    import references

    from ms_seg.presets import find_preset

    references.save_checkpoint(references.build_reference(find_preset(name)), Path(checkpoint))


def _ours(name: str, checkpoint: str, picture: str, folder: str, mode: str = "") -> dict:
    """What `segment` does, in parts. The network looks twice: what the first time takes more is to prepare it.

    mode: "graph" or "pynative", to compare; `segment`'s own by default."""
    watch = Stopwatch()
    with watch("imports"):
        import ms_seg
        from ms_seg.commands import segment  # noqa: F401
        from ms_seg.commands.device import mode_of_segment, set_up_device

        set_up_device("CPU")
        from ms_seg.checkpoints.loading import outline
        from ms_seg.inference import segmenter as _  # noqa: F401
        from ms_seg.presets import find_preset
    with watch("cells"):
        outline(find_preset(name))
    with watch("model"):
        model = ms_seg.create_model(name, checkpoint)
    words = _options(name)
    mode = mode or mode_of_segment(model.preset.window is None, "CPU")
    network = ms_seg.Segmenter(model, mode, vocab=words[3] if words else None)
    for part in ("first", "second"):
        with watch(part):
            answer = network(picture, WORDS if words else None)
    with watch("saving"):
        answer.save(folder)
    return watch.parts


def _theirs(name: str, checkpoint: str, picture: str, folder: str) -> dict:
    """PyTorch's process: the reference with the same weights, the same input, the class of each pixel as a PNG."""
    watch = Stopwatch()
    with watch("imports"):
        import numpy as np
        import references
        import torch
        from PIL import Image

        from ms_seg.data.preprocessing import network_input
        from ms_seg.presets import find_preset

        preset = find_preset(name)
    with watch("cells"):
        model = references.construct_reference(preset).eval()
    with watch("model"):
        model.load_state_dict(torch.load(checkpoint, weights_only=True, mmap=True))
    image = np.asarray(Image.open(picture).convert("RGB"))
    inputs, geometry = network_input(image, preset.preprocessing)
    if preset.output == "words":
        import drawn

        given = (inputs, drawn.tokens(len(WORDS), preset.arguments["vocabulary"], seed=0))
    else:
        given = (inputs,)
    with watch("first"), torch.no_grad():
        if preset.output == "queries":
            import mask2former_reference

            classes, masks = mask2former_reference.all_layers(model, torch.from_numpy(inputs))[-1]
            logits = torch.einsum("nqc,nqhw->nchw", classes.softmax(-1)[..., :-1], masks.sigmoid())
        else:
            logits = torch.from_numpy(references.forward(model, *given))
        logits = torch.nn.functional.interpolate(logits, geometry.padded, mode="bilinear")
        logits = logits[..., : geometry.resized[0], : geometry.resized[1]]
        labels = torch.nn.functional.interpolate(logits, geometry.picture, mode="bilinear").argmax(1)[0]
    with watch("saving"):
        Path(folder).mkdir(exist_ok=True)
        Image.fromarray(labels.numpy().astype(np.uint8)).save(Path(folder, "theirs.png"))
    return watch.parts


def _operators(*_files: str) -> dict:
    """Compiling the operators in C, as the first command on a machine does once."""
    from ms_seg.cells import native
    from ms_seg.postprocessing import native as after

    watch = Stopwatch()
    with watch("operators"):
        native.available(), after.available()
    return watch.parts


if __name__ == "__main__":
    sides = {"ours": _ours, "theirs": _theirs, "operators": _operators, "draw": _draw}
    print(json.dumps(sides[sys.argv[1]](*sys.argv[2:])))
