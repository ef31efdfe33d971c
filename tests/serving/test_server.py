"""The door for programs, asked as a program does: over a socket."""

import base64
import io
import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from ms_seg.serving.app import EXAMPLE
from tests.serving.serving import BLUE, GREEN, PICTURE, RED, ask, encoded, halves, resident, segment, served
from tests.toy_model import StrongestChannel


def png(width: int, height: int, data: bytes = b"", before: bytes = b"") -> bytes:
    """A PNG file that says it has this size, whatever its data are."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    text = chunk(b"zTXt", b"a\0\0" + before) if before else b""
    return b"\x89PNG\r\n\x1a\n" + header + text + chunk(b"IDAT", data) + chunk(b"IEND", b"")


class TestAnswers:
    def test_a_picture_is_answered_with_its_segments(self, port):
        status, answer = segment(port, PICTURE)
        assert status == 200
        assert (answer["model"], answer["task"], answer["width"], answer["height"]) == ("toy", "semantic", 64, 48)
        assert [segment["category_id"] for segment in answer["segments"]] == [0, 2]
        red, blue = answer["segments"]
        assert (red["area"], red["bbox"], blue["bbox"]) == (32 * 48, [0, 0, 32, 48], [32, 0, 32, 48])
        mask = coco.decode({**blue["segmentation"], "counts": blue["segmentation"]["counts"].encode()})
        assert np.array_equal(mask, np.arange(64)[None].repeat(48, 0) >= 32)
        assert 0.9 < red["score"] <= 1 and answer["seconds"] >= 0 and red["colour"] != blue["colour"]
        assert "label_png" not in answer

    def test_the_label_map_comes_with_it_where_it_is_asked_for(self, port):
        _, answer = segment(port, PICTURE, "label_png=1")
        labels = np.array(Image.open(io.BytesIO(base64.b64decode(answer["label_png"]))))
        assert np.array_equal(labels, np.where(np.arange(64) < 32, 0, 2)[None].repeat(48, 0))

    def test_words_are_those_of_the_request(self, port):
        for labels, found in (("red,blue", ["red", "blue"]), (" red , g ", ["red", "g"]), ("blue", ["blue", "others"])):
            status, answer = segment(port, PICTURE, f"model=toy_words&labels={labels.replace(' ', '%20')}")
            assert status == 200
            assert {segment["category"] for segment in answer["segments"]} <= set(found)
            assert found[0] in [segment["category"] for segment in answer["segments"]]

    def test_words_are_text_whatever_they_look_like(self, port):
        status, answer = segment(port, PICTURE, "model=toy_words&labels=r%3Cscript%3Ealert(1)%3C/script%3E,b")
        assert status == 200
        assert answer["segments"][0]["category"] == "r<script>alert(1)</script>"

    def test_every_task_of_a_model_can_be_asked_for_and_costs_no_second_run(self, port, models, monkeypatch):
        network = models["toy_queries"].network
        runs = []
        monkeypatch.setattr(
            models["toy_queries"], "network", lambda *args: runs.append(args) or network(*args), raising=True
        )
        monkeypatch.setattr(models["toy_queries"].network, "check_labels", network.check_labels, raising=False)
        picture = encoded(halves(RED, GREEN))
        for task in ("panoptic", "instance", "semantic"):
            status, answer = segment(port, picture, f"model=toy_queries&task={task}")
            assert (status, answer["task"]) == (200, task)
            assert {segment["category"] for segment in answer["segments"]} >= {"red", "green"}
        assert len(runs) == 1

    def test_ids_and_colours_of_things_are_the_same(self, port):
        _, answer = segment(port, encoded(halves(RED, GREEN)), "model=toy_queries&task=panoptic")
        for one in answer["segments"]:
            red, green, blue = bytes.fromhex(one["colour"][1:])
            assert one["id"] == red + 256 * green + 65536 * blue and one["isthing"]

    def test_the_score_threshold_of_instances_is_the_requests(self, port):
        query = "model=toy_queries&task=instance&score_threshold=1&label_png=1"
        _, answer = segment(port, encoded(halves(RED, GREEN)), query)
        assert answer["score_threshold"] == 1 and len(answer["segments"]) >= 2
        assert not np.array(Image.open(io.BytesIO(base64.b64decode(answer["label_png"])))).any()

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM"])
    def test_formats(self, port, kind):
        status, answer = segment(port, encoded(halves(RED, BLUE), kind))
        assert status == 200 and {one["category_id"] for one in answer["segments"]} == {0, 2}

    def test_a_turned_photograph_is_upright(self, port):
        exif = Image.Exif()
        exif[0x0112] = 6
        _, answer = segment(port, encoded(halves(RED, BLUE), "JPEG", exif=exif))
        assert (answer["width"], answer["height"]) == (48, 64)

    @pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1)])
    def test_extreme_shapes_are_answered(self, port, size):
        status, answer = segment(port, encoded(Image.new("RGB", size, RED)))
        assert status == 200 and answer["segments"][0]["area"] == size[0] * size[1]


class TestBeginning:
    def test_the_page_is_told_what_there_is(self, port):
        status, headers, body = ask(port, "/models")
        said = json.loads(body)
        assert status == 200 and headers["content-type"] == "application/json"
        assert said["models"] == [
            {"name": "toy", "tasks": ["semantic"], "words": False},
            {"name": "toy_words", "tasks": ["semantic"], "words": True},
            {"name": "toy_queries", "tasks": ["panoptic", "instance", "semantic"], "words": False},
        ]
        assert said["words"] == ["r", "b"] and said["note"] == "a note"

    def test_it_begins_with_a_picture_of_the_drawn_world(self, port):
        assert ask(port, "/example.png")[2] == EXAMPLE.read_bytes()

    @pytest.mark.parametrize("path", ["/", "/page.js", "/page.css", "/masks.js", "/models", "/example.png", "/nothing"])
    def test_every_answer_says_what_a_browser_may_do_with_it(self, port, path):
        _, headers, _ = ask(port, path)
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers

    def test_the_page_loads_nothing_from_elsewhere(self, port):
        for path in ("/", "/page.js", "/page.css", "/masks.js"):
            text = ask(port, path)[2].decode().replace("http://www.w3.org/2000/svg", "")
            assert "http:" not in text and "https:" not in text and "innerHTML" not in text


class TestRefusals:
    @pytest.mark.parametrize(
        ("body", "sentence"),
        [
            (b"", "the request has no body"),
            (b"hello", "is not a picture of a known format"),
            (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "is not a picture of a known format"),
            (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not a picture of a known format"),
            (PICTURE[:100], "is cut off or damaged"),
            (encoded(halves(RED, BLUE), "JPEG")[:300], "is cut off or damaged"),
            (png(60_000, 60_000, zlib.compress(bytes(1000))), "is too large: at most 25 million pixels"),
            (png(5001, 5000), "is too large: 5001x5000, and at most 25 million pixels"),
            (png(8, 8, before=zlib.compress(bytes(100_000_000), 9)), "is cut off or damaged"),
        ],
        ids=["nothing", "text", "svg", "eps", "cut png", "cut jpeg", "bomb", "large", "bomb of text"],
    )
    def test_what_is_no_picture_gets_a_sentence(self, port, body, sentence):
        status, answer = segment(port, body)
        assert status == 400 and sentence in answer["error"] and "\n" not in answer["error"]
        assert segment(port, PICTURE)[0] == 200

    def test_data_that_unpack_to_far_more_than_the_picture_cost_no_memory(self, port):
        segment(port, PICTURE)
        before = resident()
        segment(port, png(8, 8, zlib.compress(bytes(200_000_000), 9)))
        assert resident() - before < 50

    @pytest.mark.parametrize(
        ("query", "status", "sentence"),
        [
            ("model=nosuch", 404, "there is no such model here: there are toy, toy_words, toy_queries"),
            ("model=../../etc/passwd", 404, "there is no such model here"),
            ("task=all", 400, "task must be one of panoptic, instance, semantic"),
            ("task=panoptic", 400, "toy gives semantic answers and no panoptic ones"),
            ("labels=a,b", 400, "has classes of its own"),
            ("model=toy_words", 400, "takes words"),
            ("model=toy_words&labels=", 400, "has no name for class 0"),
            ("model=toy_words&labels=a,,b", 400, "has no name for class 1"),
            ("model=toy_words&labels=a,a", 400, "names the class 'a' twice"),
            ("model=toy_words&labels=a%00,b", 400, "has control characters"),
            ("model=toy_words&labels=" + ",".join(map(str, range(101))), 400, "at most 100 words: there are 101"),
            ("model=toy_words&labels=" + "x" * 201, 400, "at most 200 characters: one has 201"),
            ("score_threshold=0.5", 400, "a score_threshold is for instances"),
            ("model=toy_queries&task=instance&score_threshold=nan", 400, "must be a number from 0 to 1"),
            ("label_png=yes", 400, "label_png must be 0 or 1"),
            ("output=/etc/passwd", 400, "there is no parameter 'output'"),
            ("task=semantic&task=semantic", 400, "the parameter task is given twice"),
            ("a" * 5000 + "=1", 400, "there is no parameter"),
        ],
    )
    def test_a_question_that_cannot_be_answered_gets_a_sentence(self, port, query, status, sentence):
        said, answer = segment(port, PICTURE, query)
        assert said == status and sentence in answer["error"] and len(answer["error"]) < 250

    @pytest.mark.parametrize(
        "path",
        ["/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/page/../app.py", "/app.py", "/segment/x"],
    )
    def test_a_request_names_no_file(self, port, path):
        assert ask(port, path)[0] == 404

    def test_forms_are_told_how_it_is_done(self, port):
        status, answer = segment(port, PICTURE, headers={"content-type": "multipart/form-data; boundary=x"})
        assert status == 415 and "--data-binary" in answer["error"]

    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "TRACE"])
    def test_other_methods_are_refused(self, port, method):
        assert ask(port, "/segment", method=method)[0] == 405

    def test_an_upload_that_is_too_large_gets_its_answer_and_is_not_kept(self, port):
        before = resident()
        for body in (bytes(100 << 20), (bytes(1 << 20) for _ in range(100))):  # with its length, and in chunks
            status, answer = segment(port, body)
            assert status == 413 and answer["error"] == "the file is too large: at most 32 MiB are read"
            del body
        assert resident() - before < 80

    def test_a_network_that_fails_is_said_to_and_the_next_request_is_answered(self, port, monkeypatch):
        def construct(self, images):
            raise TypeError("For 'AvgPool', something\nand pages more")

        with monkeypatch.context() as patched:
            patched.setattr(StrongestChannel, "construct", construct)
            status, answer = segment(port, encoded(halves(GREEN, BLUE)))
        assert status == 500 and answer["error"].startswith("toy could not be run on an input of 48x64")
        assert "\n" not in answer["error"]
        assert segment(port, encoded(halves(GREEN, BLUE)))[0] == 200


class TestGuard:
    @pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:80", "[::1]:7860", "192.168.0.7"])
    def test_it_goes_by_its_addresses(self, port, host):
        assert ask(port, "/models", headers={"Host": host})[0] == 200

    @pytest.mark.parametrize(
        "host", ["evil.example", "127.0.0.1.evil.example", "", "localhost:80@evil.example", "localhost.", "[::1"]
    )
    def test_another_name_is_refused_as_one_that_was_let_point_here(self, port, host):
        status, headers, body = ask(port, "/models", headers={"Host": host})
        assert status == 421 and b"goes by its address" in body and "content-security-policy" in headers

    def test_a_name_that_it_is_given_is_its_own(self, models):
        with served(models, names=["segment.example"]) as port:
            assert ask(port, "/models", headers={"Host": "Segment.example:80"})[0] == 200

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({"Origin": "http://evil.example"}, 403),
            ({"Origin": "null"}, 403),
            ({"Sec-Fetch-Site": "cross-site"}, 403),
            ({"Sec-Fetch-Site": "same-site"}, 403),
            ({"Sec-Fetch-Site": "same-origin"}, 200),
            ({}, 200),
        ],
    )
    def test_pages_of_other_sites_do_not_make_it_work(self, port, headers, status):
        assert segment(port, PICTURE, headers=headers)[0] == status

    def test_its_own_page_does(self, port):
        assert segment(port, PICTURE, headers={"Origin": f"http://127.0.0.1:{port}"})[0] == 200
