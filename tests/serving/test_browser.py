"""The page in a real browser: what a person does, and what the canvas shows then."""

from __future__ import annotations

import base64
import io
import json
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from ms_seg.serving.limits import Limits
from tests.serving.browser import browser
from tests.serving.serving import BLUE, GREEN, RED, encoded, halves, segment, served, toys

LEFT, RIGHT = (0.25, 0.5), (0.75, 0.5)  # of the canvas's width and height


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    with served(
        toys(tmp_path_factory.mktemp("toys")),
        Limits(upload=1 << 20),
        words=["red", "blue"],
        note="A note <b>on</b> top.",
    ) as port:
        yield port


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def chromium(downloads):
    with browser(downloads) as driver:
        yield driver


@pytest.fixture
def page(chromium, port):
    chromium.get(f"http://127.0.0.1:{port}/")
    page = Page(chromium)
    page.wait_for(" s, ")
    yield page
    errors = [entry["message"] for entry in chromium.get_log("browser") if entry["level"] == "SEVERE"]
    assert not [error for error in errors if "status of 400" not in error], "the browser complains"


class Page:
    """What a person sees and does."""

    def __init__(self, driver):
        self.driver = driver

    def find(self, name):
        return self.driver.find_element(By.ID, name)

    @property
    def status(self) -> str:
        return self.find("status").text

    def wait_for(self, text: str) -> None:
        WebDriverWait(self.driver, 60, 0.05).until(lambda _: text in self.status, f"{text!r} is not said")

    def drop(self, content: bytes, name: str = "street.png") -> None:
        """Drop a file on the page, as the system's file manager does, and wait until something is said of it."""
        self.driver.execute_script(
            """
            document.getElementById("status").textContent = "";
            const bytes = Uint8Array.from(atob(arguments[0]), (character) => character.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], arguments[1], { type: "image/png" }));
            for (const kind of ["dragenter", "dragover", "drop"])
                document.getElementById("stage").dispatchEvent(
                    new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
            """,
            base64.b64encode(content).decode(),
            name,
        )

    def choose(self, name: str, value: str) -> None:
        self.driver.execute_script('document.getElementById("status").textContent = ""')
        Select(self.find(name)).select_by_value(value)

    def write_words(self, words: str) -> None:
        self.driver.execute_script('document.getElementById("status").textContent = ""')
        field = self.find("words")
        field.clear()
        field.send_keys(words, Keys.ENTER)

    def slide(self, name: str, value: int) -> None:
        self.driver.execute_script(
            """
            const slider = document.getElementById(arguments[0]);
            slider.value = arguments[1];
            slider.dispatchEvent(new Event("input", { bubbles: true }));
            """,
            name,
            value,
        )

    def pixel(self, place: tuple[float, float]) -> tuple[int, ...]:
        """The canvas's colour at a place, as shares of its width and height."""
        return tuple(
            self.driver.execute_script(
                """
                const view = document.getElementById("view");
                const [x, y] = [Math.floor(arguments[0] * view.width), Math.floor(arguments[1] * view.height)];
                return [...view.getContext("2d").getImageData(x, y, 1, 1).data].slice(0, 3);
                """,
                *place,
            )
        )

    def point_at(self, place: tuple[float, float]) -> str:
        """Move the pointer there; what stands beside it then."""
        view = self.find("view")
        x, y = (
            (share - 0.5) * side for share, side in zip(place, (view.size["width"], view.size["height"]), strict=True)
        )
        ActionChains(self.driver, duration=0).move_to_element_with_offset(view, round(x), round(y)).perform()
        return self.find("tip").text

    def tap(self, element, place: tuple[float, float]) -> None:
        """Touch an element with a finger, and lift it."""
        left, top, width, height = self.driver.execute_script(
            "const box = arguments[0].getBoundingClientRect(); return [box.left, box.top, box.width, box.height];",
            element,
        )
        finger = {"x": left + place[0] * width, "y": top + place[1] * height}
        for kind, fingers in (("touchStart", [finger]), ("touchEnd", [])):
            self.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})

    @property
    def legend(self) -> dict[str, str]:
        """The classes, with their shares."""
        lines = self.driver.find_elements(By.CSS_SELECTOR, "#legend li")
        return {
            line.find_element(By.CLASS_NAME, "name").text: line.find_element(By.CLASS_NAME, "share").text
            for line in lines
        }

    def switch(self, category: str) -> None:
        for line in self.driver.find_elements(By.CSS_SELECTOR, "#legend li"):
            if line.find_element(By.CLASS_NAME, "name").text == category:
                line.find_element(By.TAG_NAME, "input").click()
                return
        raise AssertionError(f"{category} is not in the legend")


def near(colour, other) -> bool:
    return max(abs(a - b) for a, b in zip(colour, other, strict=True)) <= 3


def mixed(colour: str, below: tuple[int, int, int], opacity: float) -> tuple[float, ...]:
    return tuple(
        opacity * part + (1 - opacity) * other for part, other in zip(bytes.fromhex(colour[1:]), below, strict=True)
    )


def saved(downloads: Path, name: str) -> bytes:
    deadline = time.monotonic() + 20
    while not (downloads / name).is_file():
        assert time.monotonic() < deadline, f"{name} was not downloaded: {list(downloads.iterdir())}"
        time.sleep(0.05)
    content = (downloads / name).read_bytes()
    (downloads / name).unlink()
    return content


def test_it_begins_with_a_drawn_picture_and_a_note_that_is_text(page):
    assert "256×192" in page.status
    assert page.find("note").text == "A note <b>on</b> top."
    assert [option.text for option in Select(page.find("model")).options] == ["toy", "toy_words", "toy_queries"]


def test_a_dropped_picture_is_shown_under_the_colours_of_its_classes(page, port):
    picture = encoded(halves(RED, BLUE))
    page.drop(picture)
    page.wait_for("2 classes in")
    assert page.status.endswith("64×48") and list(page.legend) in (["class 0", "class 2"], ["class 2", "class 0"])
    red, blue = segment(port, picture)[1]["segments"]
    assert near(page.pixel(LEFT), mixed(red["colour"], RED, 0.5))
    assert near(page.pixel(RIGHT), mixed(blue["colour"], BLUE, 0.5))
    page.slide("opacity", 0)
    assert near(page.pixel(LEFT), RED) and near(page.pixel(RIGHT), BLUE)
    page.slide("opacity", 100)
    assert near(page.pixel(LEFT), mixed(red["colour"], RED, 1))


def test_the_legend_switches_classes_off_and_on(page, port):
    picture = encoded(halves(RED, BLUE))
    page.drop(picture)
    page.wait_for("2 classes in")
    coloured = page.pixel(RIGHT)
    assert page.legend == {"class 0": "50.0 %", "class 2": "50.0 %"}
    page.switch("class 2")
    assert near(page.pixel(RIGHT), BLUE) and not near(page.pixel(LEFT), RED)
    page.switch("class 2")
    assert page.pixel(RIGHT) == coloured
    page.find("none").click()
    assert near(page.pixel(LEFT), RED) and near(page.pixel(RIGHT), BLUE)
    page.find("all").click()
    assert page.pixel(RIGHT) == coloured


def test_the_segment_under_the_pointer_is_named_with_its_score(page, port):
    picture = encoded(halves(RED, BLUE))
    page.drop(picture)
    page.wait_for("2 classes in")
    blue = segment(port, picture)[1]["segments"][1]
    before = page.pixel(RIGHT)
    assert page.point_at(RIGHT) == f"class 2 {blue['score']:.2f} · 50.0 %"
    assert page.pixel(RIGHT) != before  # it is highlighted
    assert page.point_at(LEFT).startswith("class 0 ")
    assert page.pixel(RIGHT) == before


def test_words_are_changed_and_the_picture_is_looked_at_again(page):
    page.choose("model", "toy_words")
    page.drop(encoded(halves(RED, BLUE)))
    page.wait_for("2 classes in")
    assert set(page.legend) == {"red", "blue"}
    before = page.pixel(LEFT), page.pixel(RIGHT)
    page.write_words("green, blue")
    page.wait_for("2 classes in")
    assert set(page.legend) == {"green", "blue"}
    page.write_words("blue, red")
    page.wait_for("2 classes in")
    assert set(page.legend) == {"red", "blue"}
    assert not near(page.pixel(LEFT), before[0]) and not near(page.pixel(RIGHT), before[1])  # the first word's colour


def test_words_are_text_whatever_they_look_like(page):
    page.choose("model", "toy_words")
    page.drop(encoded(halves(RED, BLUE)))
    page.wait_for("2 classes in")
    page.write_words('red <img src=x onerror="document.title=1">, blue <script>document.title=1</script>')
    page.wait_for("2 classes in")
    assert set(page.legend) == {'red <img src=x onerror="document.title=1">', "blue <script>document.title=1</script>"}
    assert page.point_at(RIGHT).startswith("blue <script>document.title=1</script> ")
    assert page.driver.title == "ms_seg" and not page.driver.find_elements(By.CSS_SELECTOR, "img")


def test_words_that_will_not_do_are_said_to(page):
    page.choose("model", "toy_words")
    page.wait_for(" s, ")
    page.write_words("red, red")
    page.wait_for("names the class 'red' twice")
    assert "bad" in page.find("status").get_attribute("class") and not page.legend
    page.write_words(" , ")
    page.wait_for("Write the words to tell apart")
    assert "bad" in page.find("status").get_attribute("class") and not page.legend
    page.write_words("red,, blue,")
    page.wait_for(" s, ")
    assert set(page.legend) <= {"red", "blue"}


def test_a_finger_that_taps_a_segment_has_it_named_until_it_taps_elsewhere(page):
    page.drop(encoded(halves(RED, BLUE)))
    page.wait_for("2 classes in")
    page.tap(page.find("view"), RIGHT)
    assert page.find("tip").text.startswith("class 2 ")
    page.tap(page.find("view"), LEFT)
    assert page.find("tip").text.startswith("class 0 ")
    page.tap(page.find("status"), (0.5, 0.5))
    assert not page.find("tip").is_displayed()


def test_instances_and_segments_of_a_panoptic_answer_are_views_of_one_picture(page):
    page.choose("model", "toy_queries")
    page.drop(encoded(halves(RED, GREEN)))
    page.wait_for("2 segments of 2 classes")
    assert page.legend == {"red": "50.0 %", "green": "50.0 %"}
    panoptic = page.pixel(LEFT)
    page.choose("task", "instance")
    page.wait_for("2 segments of 2 classes")
    assert page.pixel(LEFT) == panoptic
    page.slide("score", 100)
    assert not page.legend and near(page.pixel(LEFT), RED)
    page.slide("score", 0)
    assert set(page.legend) == {"red", "green"}
    page.choose("task", "semantic")
    page.wait_for("2 classes in")


def test_the_map_in_the_browser_is_the_label_map_pixel_by_pixel(page, port):
    """A noisy picture, whose run lengths are of every kind."""
    noise = np.random.default_rng(0).integers(0, 2, (37, 53, 1)).repeat(8, 0).repeat(8, 1)
    pixels = np.where(noise, RED, BLUE).astype(np.uint8)
    status, answer = segment(port, encoded(Image.fromarray(pixels)), "label_png=1")
    labels = np.array(Image.open(io.BytesIO(base64.b64decode(answer["label_png"]))))
    places = page.driver.execute_async_script(
        """
        const [answer, done] = arguments;
        import("/masks.js").then(({ segmentMap }) => done([...segmentMap(answer, () => true)]));
        """,
        answer,
    )
    classes = np.array([-1, *(one["category_id"] for one in answer["segments"])])
    assert np.array_equal(classes[np.array(places)].reshape(labels.shape), labels)
    assert len(set(labels.ravel().tolist())) == 2


def test_what_is_shown_can_be_downloaded(page, port, downloads):
    picture = encoded(halves(RED, BLUE))
    page.drop(picture, "my.street.png")
    page.wait_for("2 classes in")
    page.slide("opacity", 100)
    page.switch("class 2")
    shown = page.pixel(LEFT)
    for button in ("save-overlay", "save-labels", "save-json"):
        page.find(button).click()
    overlay = Image.open(io.BytesIO(saved(downloads, "my.street.overlay.png"))).convert("RGB")
    width, height = overlay.size
    assert overlay.getpixel((width // 4, height // 2)) == shown
    assert near(overlay.getpixel((width * 3 // 4, height // 2)), BLUE)
    labels = np.array(Image.open(io.BytesIO(saved(downloads, "my.street.labels.png"))))
    assert np.array_equal(labels, np.where(np.arange(64) < 32, 0, 2)[None].repeat(48, 0))
    content = json.loads(saved(downloads, "my.street.segments.json"))
    expected = segment(port, picture)[1]
    assert content["segments"] == expected["segments"] and "label_png" not in content


@pytest.mark.parametrize(
    ("content", "name", "sentence"),
    [
        (b"no picture", "<b>notes</b>.txt", "<b>notes</b>.txt is not a picture that this browser can show"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a.svg", "a.svg is not a picture that this browser can show"),
        (bytes((1 << 20) + 1), "large.png", "large.png is too large: at most 1 MiB are read"),
    ],
    ids=["text", "svg", "large"],
)
def test_what_is_no_picture_is_said_to_be_none_and_the_last_one_stays(page, content, name, sentence):
    before = page.pixel(LEFT)
    page.drop(content, name)
    page.wait_for(sentence)
    assert page.pixel(LEFT) == before


def test_a_picture_is_chosen_as_a_file_and_the_example_comes_back(page, tmp_path):
    (tmp_path / "street.jpg").write_bytes(encoded(halves(GREEN, BLUE, (80, 40)), "JPEG"))
    page.find("file").send_keys(str(tmp_path / "street.jpg"))
    page.wait_for("80×40")
    page.find("example").click()
    page.wait_for("256×192")


@pytest.mark.parametrize("size", [(1, 20000), (20000, 1), (1, 1), (3000, 2500)])
def test_pictures_of_any_shape_are_shown(page, size):
    page.drop(encoded(Image.new("RGB", size, RED)))
    page.wait_for(f"{size[0]}×{size[1]}")
    assert page.legend == {"class 0": "100.0 %"}
    assert not near(page.pixel((0.5, 0.5)), RED)
    page.slide("opacity", 0)
    assert near(page.pixel((0.5, 0.5)), RED)


def test_a_photograph_is_shown_upright(page):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter to the right
    page.drop(encoded(halves(RED, BLUE), "JPEG", exif=exif))
    page.wait_for("48×64")
    page.slide("opacity", 0)
    assert page.pixel((0.5, 0.25))[0] > 150 and page.pixel((0.5, 0.75))[2] > 150


def test_a_server_that_is_gone_is_said_to_be(chromium, tmp_path):
    with served({"toy": toys(tmp_path)["toy"]}) as port:
        chromium.get(f"http://127.0.0.1:{port}/")
        page = Page(chromium)
        page.wait_for("classes in")
    page.find("example").click()
    page.wait_for("The server cannot be reached")
    assert page.legend  # of the last picture
    page.drop(encoded(halves(RED, BLUE)))
    page.wait_for("The server cannot be reached")
    assert near(page.pixel(LEFT), RED) and not page.legend
    chromium.get_log("browser")
