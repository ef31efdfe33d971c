"""One model in several threads, after a fork, and for several pictures at once."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest

import ms_seg
from ms_seg.presets import ASSETS, find_preset
from tests.inference.test_segmenter import flag
from tests.toy_model import StrongestChannel

ROOT = Path(__file__).resolve().parents[2]


def run(code: str) -> subprocess.CompletedProcess:
    """A process of its own: one that is forked, or whose threads crash, must not take the tests along."""
    code = "import numpy as np, ms_seg\nfrom ms_seg.presets import ASSETS\n" + textwrap.dedent(code)
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("mode", ["graph", "pynative"])
def test_one_segmenter_serves_several_threads(mode: str):
    done = run(f"""
        from concurrent.futures import ThreadPoolExecutor
        model = ms_seg.create_model("segformer_tiny_shapes", ASSETS / "segformer_tiny_shapes.pth")
        segmenter = ms_seg.Segmenter(model, "{mode}")
        rng = np.random.default_rng(0)
        pictures = [rng.integers(0, 256, (48 + 8 * (i % 3), 64, 3), np.uint8) for i in range(12)]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(segmenter, pictures))
        alone = map(segmenter, pictures)
        print(all(np.array_equal(one.label_map, other.label_map) for one, other in zip(together, alone)))
    """)
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr


def test_two_models_run_in_two_threads():
    segmenters = [ms_seg.Segmenter(StrongestChannel()) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda segmenter: segmenter(flag()).label_map, segmenters))
    assert np.array_equal(*answers)


@pytest.mark.parametrize("before", [False, True])
def test_on_a_cpu_operators_one_by_one_run_in_the_thread_that_calls_and_the_setting_is_given_back(
    before: bool, monkeypatch: pytest.MonkeyPatch
):
    seen, setting = [], ms.get_context("pynative_synchronize")
    model, construct = StrongestChannel(), StrongestChannel.construct

    def watched(cell: StrongestChannel, images: ms.Tensor) -> ms.Tensor:
        seen.append(ms.get_context("pynative_synchronize"))
        return construct(cell, images)

    monkeypatch.setattr(StrongestChannel, "construct", watched)
    ms.set_context(pynative_synchronize=before)
    try:
        ms_seg.Segmenter(model, "pynative")(flag())
        assert set(seen) == {True} and ms.get_context("pynative_synchronize") is before
    finally:
        ms.set_context(pynative_synchronize=setting)


def test_a_process_forked_after_mindspore_ran_says_so():
    done = run("""
        import os
        model = ms_seg.create_model("segformer_tiny_shapes", ASSETS / "segformer_tiny_shapes.pth")
        segmenter = ms_seg.Segmenter(model, "pynative")
        picture = np.zeros((32, 32, 3), np.uint8)
        segmenter(picture)
        child = os.fork()
        if not child:
            try:
                segmenter(picture)
            except RuntimeError as error:
                print(error, flush=True)
                os._exit(3)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """)
    assert (
        "was forked from process" in done.stdout
        and 'make the model after the fork, or start processes with "spawn"' in (done.stdout)
    )
    assert done.stdout.splitlines()[-1] == "3", done.stderr


class TestSeveralPictures:
    def pictures(self) -> list[np.ndarray]:
        return [flag(), flag(40, 64), flag()[::-1].copy(), flag()]

    @pytest.mark.parametrize("batch_size", [1, 3])
    def test_a_list_of_pictures_has_a_list_of_the_same_answers(self, batch_size: int):
        segmenter = ms_seg.Segmenter(StrongestChannel(), batch_size=batch_size)
        answers = segmenter(self.pictures())
        for answer, picture in zip(answers, self.pictures(), strict=True):
            assert np.array_equal(answer.label_map, segmenter(picture).label_map)
            assert np.array_equal(answer.picture, picture)

    def test_pictures_of_one_size_go_through_the_network_together(self):
        seen = []

        class Watched(StrongestChannel):
            def construct(self, images):
                seen.append(images.shape[0])
                return super().construct(images)

        ms_seg.Segmenter(Watched(), "pynative", batch_size=2)(self.pictures())
        assert seen == [1, 1, 2]

    @pytest.mark.parametrize("name", ["lseg_tiny_shapes", "mask2former_tiny_shapes"])
    def test_every_kind_of_network_takes_a_batch(self, name: str):
        labels = ["red circle", "grass", "sand"] if name.startswith("lseg") else None
        segmenter = ms_seg.Segmenter(ms_seg.create_model(name, find_preset(name).embedded), "pynative", batch_size=2)
        pictures = [ASSETS / "shapes_1.png", ASSETS / "shapes_2.png"]
        together = segmenter(pictures, labels)
        for answer, picture in zip(together, pictures, strict=True):
            assert answer.source == str(picture)
            assert np.mean(answer.label_map != segmenter(picture, labels).label_map) < 1e-3

    def test_no_pictures_have_no_answers(self):
        assert ms_seg.Segmenter(StrongestChannel())([]) == []

    def test_a_batch_of_none_is_refused(self):
        with pytest.raises(ValueError, match="batch_size must be 1 or more: 0 is not"):
            ms_seg.Segmenter(StrongestChannel(), batch_size=0)
