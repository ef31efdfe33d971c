"""Videos as their frames."""

import subprocess
import sys

import cv2
import numpy as np
import pytest

from ms_seg.data.video import EndOfVideo, Video, is_video
from tests.drawn_video import HEIGHT, SIDE, WIDTH, frame, turned, write_video


@pytest.mark.parametrize("name", ["street.mp4", "street.avi", "street.mkv"])
def test_its_frames_are_those_that_were_encoded(tmp_path, name):
    with Video(write_video(tmp_path / name, 12)) as video:
        assert (video.size, video.fps, video.frames) == ((HEIGHT, WIDTH), 10.0, 12)
        for number in range(12):
            assert np.abs(video.read(number).astype(int) - frame(number)).mean() < 6
        with pytest.raises(EndOfVideo):
            video.read(12)


def test_frames_can_be_passed_over(tmp_path):
    with Video(write_video(tmp_path / "street.mp4", 12)) as video:
        for number in (0, 5, 10):
            read = video.read(number)
            red = np.flatnonzero(read[16 + SIDE // 2, :, 0] > 120)
            assert abs(int(red[0]) - 2 * number) <= 1


def test_a_turned_video_is_read_as_it_is_shown(tmp_path):
    upright = Video(write_video(tmp_path / "a.mp4", 2)).read(0)
    with Video(turned(tmp_path / "a.mp4")) as video:
        assert video.size == (WIDTH, HEIGHT)
        assert np.array_equal(video.read(0), np.rot90(upright, -1))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty, damaged, or not a video"),
        (b"\x00\x00\x00\x18ftypmp42" + bytes(200), "is empty, damaged, or not a video"),
        (b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n", "is empty, damaged, or not a video"),
        (None, "there is no video"),
    ],
)
def test_what_is_no_video_is_refused_in_one_sentence_and_nothing_else_is_said(tmp_path, content, sentence):
    path = tmp_path / "street.mp4"
    if content is not None:
        path.write_bytes(content)
    code = f"from ms_seg.data.video import Video\ntry: Video({str(path)!r})\nexcept ValueError as error: print(error)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert sentence in result.stdout and str(path) in result.stdout
    assert not result.stderr


def test_a_cut_video_without_its_index_is_refused(tmp_path):
    path = write_video(tmp_path / "street.mp4", 12)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(ValueError, match="is empty, damaged, or not a video"):
        Video(path)


def test_frames_are_of_one_size_where_it_changes_within_the_video(tmp_path):
    """Two JPEG streams behind each other, as joined files hold them."""
    pictures = [np.full(size, 90, np.uint8) for size in [(48, 64, 3)] * 2 + [(32, 32, 3)] * 2]
    (tmp_path / "joined.avi").write_bytes(b"".join(cv2.imencode(".jpg", one)[1].tobytes() for one in pictures))
    with Video(tmp_path / "joined.avi") as video:
        assert video.size == (48, 64) and video.frames == 4
        assert {video.read(number).shape for number in range(4)} == {(48, 64, 3)}


def test_a_video_is_known_by_its_ending(tmp_path):
    assert is_video("a.MP4") and is_video("b.webm") and not is_video("c.gif") and not is_video("mp4")
    (tmp_path / "frames.mp4").mkdir()
    assert not is_video(tmp_path / "frames.mp4")
