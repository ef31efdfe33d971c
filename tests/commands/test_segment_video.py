"""`segment` of videos: what a person types, and what comes back."""

import json
import os
import signal

import cv2
import numpy as np
import pytest
from PIL import Image

import ms_seg
from ms_seg.__main__ import main
from ms_seg.answers import video as saving
from ms_seg.data.video import EndOfVideo, Video
from tests.drawn_video import HEIGHT, SIDE, WIDTH, frame, read_video, write_video
from tests.toy_model import ColourQueries, StrongestChannel

RED, BLUE = 0, 2  # the toy's classes


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    monkeypatch.setattr(ms_seg, "create_model", lambda *_, **__: StrongestChannel())


@pytest.fixture
def street(tmp_path):
    return write_video(tmp_path / "street.mp4", 12)


def run(*arguments: object) -> int:
    return main(["segment", *map(str, arguments), "--checkpoint", "x.pth", "--mode", "pynative"])


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_video_gets_an_overlay_of_all_its_frames(street, tmp_path, capsys):
    assert run(street, "--output", tmp_path / "out", "--opacity", 0) == 0
    assert names(tmp_path / "out") == ["street.overlay.mp4"]
    frames = read_video(tmp_path / "out" / "street.overlay.mp4")
    assert len(frames) == 12
    for number, overlay in enumerate(frames):
        expected = cv2.resize(frame(number), overlay.shape[1::-1])
        assert np.abs(overlay.astype(int) - expected).mean() < 16  # names and borders are drawn over it
        red = np.flatnonzero(overlay[overlay.shape[0] * 3 // 8, :, 0] > 150) * WIDTH / overlay.shape[1]
        assert abs(np.median(red) - (2 * number + SIDE / 2)) < 4
    said = capsys.readouterr()
    assert "12 frames, " in said.err and " a second" in said.err and "segmenting street.mp4: 100%" in said.err
    assert "frames/s" in said.err
    assert said.out.startswith("1 of 1 videos segmented by toy into")


def test_every_frame_gets_its_label_map_where_it_is_asked_for(street, tmp_path):
    assert run(street, "--output", tmp_path, "--save-label-maps") == 0
    folder = tmp_path / "street.labels"
    assert names(folder) == [*(f"{number:06}.png" for number in range(12)), "segments.jsonl"]
    for number in (0, 11):
        label_map = np.array(Image.open(folder / f"{number:06}.png"))
        assert label_map.shape == (HEIGHT, WIDTH)
        assert label_map[24, 2 * number + SIDE // 2] == RED and label_map[4, 4] == BLUE
    lines = [json.loads(line) for line in (folder / "segments.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == list(range(12))
    assert lines[11]["seconds"] == 1.1
    assert [segment["category_id"] for segment in lines[0]["segments"]] == [BLUE, RED]


def test_only_every_nth_frame_is_looked_at_and_the_overlay_lasts_as_long(street, tmp_path):
    assert run(street, "--output", tmp_path, "--every", 4, "--save-label-maps") == 0
    assert names(tmp_path / "street.labels") == ["000000.png", "000004.png", "000008.png", "segments.jsonl"]
    overlay = cv2.VideoCapture(str(tmp_path / "street.overlay.mp4"))
    assert (overlay.get(cv2.CAP_PROP_FRAME_COUNT), overlay.get(cv2.CAP_PROP_FPS)) == (3, 2.5)


def test_frames_of_a_batch_are_saved_in_their_order(street, tmp_path):
    assert run(street, "--output", tmp_path, "--batch-size", 5, "--save-label-maps") == 0
    maps = [np.array(Image.open(tmp_path / "street.labels" / f"{number:06}.png")) for number in range(12)]
    assert [int(np.flatnonzero(label_map[24] == RED).mean()) for label_map in maps] == [
        pytest.approx(2 * number + SIDE / 2, abs=2) for number in range(12)
    ]


@pytest.mark.parametrize("every", ["0", "-1", "1.5", "all"])
def test_every_is_a_whole_number(street, every, capsys):
    with pytest.raises(SystemExit):
        run(street, "--every", every)
    assert "it must be a whole number from 1 on" in capsys.readouterr().err


def test_a_thing_keeps_its_colour_from_frame_to_frame(street, tmp_path, monkeypatch):
    monkeypatch.setattr(ms_seg, "create_model", lambda *_, **__: ColourQueries())
    assert run(street, "--output", tmp_path, "--save-label-maps", "--task", "instance") == 0
    maps = [np.array(Image.open(tmp_path / "street.labels" / f"{number:06}.png")) for number in range(12)]
    colours = {tuple(label_map[24, 2 * number + SIDE // 2].tolist()) for number, label_map in enumerate(maps)}
    assert len(colours) == 1 and colours != {(0, 0, 0)}


def test_odd_sides_lose_no_pixel(tmp_path):
    """451 x 301: what is drawn is not magnified, and MPEG-4 has even sides."""
    street = tmp_path / "street.avi"
    writer = cv2.VideoWriter(str(street), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"FFV1"), 10.0, (452, 302))
    writer.write(np.full((302, 452, 3), (200, 20, 20), np.uint8))
    writer.release()
    (source,) = read_video(street)
    with saving.SavedVideo(tmp_path, "odd", 10.0, 0.1) as video:
        video._write(source[:301, :451])
        video.frames = 1
        video.keep()
    assert read_video(tmp_path / "odd.overlay.mp4")[0].shape == (302, 452, 3)


def test_pictures_and_videos_go_together_and_do_not_overwrite_each_other(street, tmp_path, capsys):
    Image.fromarray(frame(0)).save(tmp_path / "street.png")
    output = tmp_path / "out"
    assert run(tmp_path / "street.png", street, "--output", output) == 0
    assert names(output) == [
        "street-2.overlay.mp4",
        "street.labels.png",
        "street.overlay.png",
        "street.segments.json",
    ]
    assert "2 of 2 files segmented" in capsys.readouterr().out
    assert run(tmp_path / "street.png", street, "--output", output, "--skip-existing") == 0
    assert "0 of 0 files segmented by toy into" in (said := capsys.readouterr().out) and "2 were there" in said


@pytest.mark.parametrize("content", [b"", b"no video at all"])
def test_a_broken_video_is_one_sentence_and_the_others_go_on(street, tmp_path, content, capsys):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(content)
    assert run(broken, street, "--output", tmp_path / "out", "--quiet") == 1
    said = capsys.readouterr()
    assert said.err.splitlines() == [f"{broken} is empty, damaged, or not a video that OpenCV's FFmpeg reads"]
    assert names(tmp_path / "out") == ["street.overlay.mp4"]
    assert run(broken, "--output", tmp_path / "out") == 2


def test_a_video_of_a_codec_that_cannot_be_decoded_is_one_sentence(street, tmp_path, capsys, monkeypatch):
    """As AV1, which OpenCV's FFmpeg opens, and has no decoder for."""

    def read(self, number):
        raise EndOfVideo("there is none")

    monkeypatch.setattr(Video, "read", read)
    assert run(street, "--output", tmp_path / "out", "--quiet") == 2
    sentence = f"{street} has no frame that OpenCV's FFmpeg can decode, of the codec 'FMP4'"
    assert capsys.readouterr().err == f"{sentence}\n"
    assert list((tmp_path / "out").iterdir()) == []


def test_a_video_that_ends_too_early_is_said_to_and_what_is_there_is_kept(tmp_path, capsys):
    street = write_video(tmp_path / "street.avi", 40)
    street.write_bytes(street.read_bytes()[: street.stat().st_size // 2])
    assert run(street, "--output", tmp_path / "out") == 1
    kept = len(read_video(tmp_path / "out" / "street.overlay.mp4"))
    assert 5 < kept < 40
    assert f"street.avi says that it has 40 frames: it ends after {kept}" in capsys.readouterr().err


def test_an_interrupt_leaves_nothing_half_written(street, tmp_path, capsys, monkeypatch):
    looked = []

    def construct(self, images):
        looked.append(images)
        if len(looked) == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return self.pool(images)

    monkeypatch.setattr(StrongestChannel, "construct", construct)
    output = tmp_path / "out"
    assert run(street, "--output", output, "--save-label-maps") == 130
    assert 5 <= len(looked) <= 6
    assert list(output.iterdir()) == []
    assert capsys.readouterr().err.splitlines()[-1] == f"stopped: of {street} nothing is kept"


def test_what_was_there_stays_until_the_new_one_is_whole(street, tmp_path, monkeypatch):
    assert run(street, "--output", tmp_path, "--save-label-maps") == 0
    assert run(street, "--output", tmp_path, "--save-label-maps", "--every", 6) == 0
    assert names(tmp_path / "street.labels") == ["000000.png", "000006.png", "segments.jsonl"]
    monkeypatch.setattr(saving, "encode_png", lambda image: (_ for _ in ()).throw(OSError(28, "No space left")))
    assert run(street, "--output", tmp_path, "--save-label-maps") == 2
    assert names(tmp_path / "street.labels") == ["000000.png", "000006.png", "segments.jsonl"]
    assert names(tmp_path) == ["street.labels", "street.mp4", "street.overlay.mp4"]


def test_a_video_that_the_encoder_did_not_write_whole_is_not_kept(street, tmp_path, capsys, monkeypatch):
    """FFmpeg's encoder in OpenCV says nothing of a full disk."""
    release = saving.SavedVideo._release

    def cut(self):
        release(self)
        draft = self._draft / "overlay.mp4"
        draft.write_bytes(draft.read_bytes()[:-300])

    monkeypatch.setattr(saving.SavedVideo, "_release", cut)
    assert run(street, "--output", tmp_path / "out") == 2
    assert "could not be written: it holds 0 of 12 frames" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


def test_few_frames_are_in_memory_at_once(tmp_path, monkeypatch):
    """Reading runs ahead of saving by a few frames, however long the video is."""
    read, ahead = [], []
    monkeypatch.setattr(Video, "read", (lambda real: lambda self, n: read.append(n) or real(self, n))(Video.read))
    call = saving.SavedVideo.__call__
    monkeypatch.setattr(
        saving.SavedVideo, "__call__", lambda s, n, a: ahead.append(len(read) - s.frames) or call(s, n, a)
    )
    assert run(write_video(tmp_path / "long.mp4", 60), "--output", tmp_path / "out") == 0
    assert len(ahead) == 60 and max(ahead) <= 6


def test_embeddings_of_a_video_are_refused(street, tmp_path, capsys):
    assert run(street, "--output", tmp_path / "out", "--save-embeddings") == 2
    assert "embeddings" in capsys.readouterr().err
