"""PASCAL-5i, COCO-20i and FSS-1000: in each picture, one named thing is to be found.

Folders, split lists, classes and the order of the pictures are those of HSNet (arXiv:2104.01538, fewshot_data in
lang-seg). lang-seg takes over its test without the support pictures: words stand in for them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from convert.reading.text_lists import read_text_lists
from ms_seg.data.numbering import IGNORED, read_values
from ms_seg.data.picture import read_picture

BENCHMARKS = ("pascal", "coco", "fss")
FOLDS = 4
EPISODES = 1000  # pictures in a test on pascal or coco, however many there are

# lang-seg's label_files/fewshot_*.txt: the words that its models were trained with, run together as there.
PASCAL_NAMES = tuple(
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person pottedplant sheep "
    "sofa train tvmonitor".split()
)
COCO_NAMES = tuple(
    "person bicycle car motorbike aeroplane bus train truck boat trafficlight firehydrant stopsign parkingmeter bench "
    "bird cat dog horse sheep cow elephant bear zebra giraffe backpack umbrella handbag tie suitcase frisbee skis "
    "snowboard sportsball kite baseballbat baseballglove skateboard surfboard tennisracket bottle wineglass cup fork "
    "knife spoon bowl banana apple sandwich orange broccoli carrot hotdog pizza donut cake chair sofa pottedplant bed "
    "diningtable toilet tvmonitor laptop mouse remote keyboard cellphone microwave oven toaster sink refrigerator book "
    "clock vase scissors teddybear hairdrier toothbrush".split()
)

_LISTS = {"pascal": "pascal/val/fold{}.txt", "coco": "coco/val/fold{}.pkl", "fss": "fss/test.txt"}
_PASCAL_LINE = re.compile(r"(\d{4}_\d{6})__(\d\d)")
_COCO_NAME = re.compile(r"((?:train|val)2014/COCO_(?:train|val)2014_\d{12})\.jpg")
_FSS_CLASS = re.compile(r"[^./\\\0][^/\\\0]*")
_INK = 128  # the least grey of a pixel in an FSS-1000 mask that belongs to the thing


@dataclass(frozen=True)
class Query:
    """A picture, the file of its mask, and which of the fold's classes (an index) is to be found."""

    picture: Path
    mask: Path
    label: int


@dataclass(frozen=True)
class FewShotFold:
    """The pictures that a fold is tested on, in the published order; a picture may occur several times.

    names: of the fold's classes. read_mask: (file, class) -> the truth. same_size: masks have their pictures' size.
    """

    names: tuple[str, ...]
    queries: tuple[Query, ...]
    read_mask: Callable[[Path, int], np.ndarray]
    same_size: bool = True

    def __len__(self) -> int:
        return len(self.queries)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """A picture as stored, RGB (H, W, 3) uint8, and its truth.

        The truth is (H, W) uint8: 1 for the thing, 0 elsewhere, 255 where nothing is scored. A few masks of FSS-1000
        are larger than their pictures.

        Raises ValueError, naming the file, if it is missing or damaged, has another size, or holds an unknown class.
        """
        query = self.queries[index]
        picture = read_picture(query.picture, upright=False)
        truth = self.read_mask(query.mask, query.label)
        if self.same_size and truth.shape != picture.shape[:2]:
            sizes = ["{1}x{0}".format(*array.shape) for array in (truth, picture)]
            raise ValueError(f"{query.mask} is {sizes[0]}, but its picture {query.picture} is {sizes[1]}")
        return picture, truth


def open_few_shot(
    benchmark: str,
    folder: str | os.PathLike[str],
    fold: int = 0,
    splits: str | os.PathLike[str] | None = None,
    shots: int = 0,
) -> FewShotFold:
    """The pictures that a fold is tested on.

    Args:
        benchmark: one of BENCHMARKS.
        folder: holds VOC2012/JPEGImages and VOC2012/SegmentationClassAug; or COCO2014/val2014 and
            COCO2014/annotations/val2014; or FSS-1000/CLASS/1.jpg, 1.png ...
        fold: 0 to 3; FSS-1000 has one test for all folds.
        splits: the published split lists, see `find_splits`.
        shots: how many support pictures the original would draw for each. None is read, but drawing them changes which
            pictures of COCO-20i are tested, and with one, FSS-1000 sets aside picture 1 of each class.

    Raises ValueError, in a sentence that names the file or folder, for anything missing or not as published.
    """
    if benchmark not in BENCHMARKS:
        raise ValueError(f"there is no benchmark {benchmark!r}: choose from {', '.join(BENCHMARKS)}")
    if not 0 <= fold < FOLDS:
        raise ValueError(f"there is no fold {fold}: choose 0 to {FOLDS - 1}")
    if shots < 0:
        raise ValueError(f"{shots} support pictures cannot be drawn: choose 0 or more")
    root = Path(folder)
    if not root.is_dir():
        raise ValueError(f"there is no folder {root}")
    listed = find_splits(root, splits) / _LISTS[benchmark].format(fold)
    if benchmark == "pascal":
        opened = _open_pascal(root / "VOC2012", listed, fold)
    elif benchmark == "coco":
        opened = _open_coco(root / "COCO2014", listed, fold, shots)
    else:
        opened = _open_fss(root / "FSS-1000", listed, shots)
    for file in sorted({file for query in opened.queries for file in (query.picture, query.mask)}):
        if not file.is_file():
            raise ValueError(f"there is no file {file}, which {listed} asks for")
    return opened


def find_splits(folder: Path, splits: str | os.PathLike[str] | None = None) -> Path:
    """The folder that holds pascal, coco and fss: the given one, else `splits` in the datasets' folder, else where
    lang-seg has it, beside its Datasets_HSN or below the working directory. Raises ValueError if there is none.
    """
    places = [Path("fewshot_data/data/splits"), folder / "splits", folder.parent / "data" / "splits"]
    for place in [Path(splits)] if splits is not None else places:
        if place.is_dir():
            return place
    if splits is not None:
        raise ValueError(f"there is no folder {splits}")
    raise ValueError(
        f"the split lists are neither in {' nor in '.join(map(str, places))}: "
        f"pass fewshot_data/data/splits of github.com/isl-org/lang-seg as --splits"
    )


def _open_pascal(root: Path, listed: Path, fold: int) -> FewShotFold:
    """PASCAL VOC 2012 with the masks of SBD: five consecutive classes, the listed pictures again and again."""
    count = len(PASCAL_NAMES) // FOLDS
    numbers = range(fold * count + 1, (fold + 1) * count + 1)  # of masks and lists; 0 is the background
    queries = []
    for line, text in enumerate(_read_lines(listed), 1):
        found = _PASCAL_LINE.fullmatch(text)
        if not found or int(found[2]) not in numbers:
            wanted = f"YEAR_NUMBER__CLASS with a class from {numbers[0]:02} to {numbers[-1]:02}"
            raise ValueError(f"line {line} of {listed} is {text[:80]!r}, not {wanted}")
        picture, mask = root / "JPEGImages" / f"{found[1]}.jpg", root / "SegmentationClassAug" / f"{found[1]}.png"
        queries.append(Query(picture, mask, numbers.index(int(found[2]))))
    names = tuple(PASCAL_NAMES[number - 1] for number in numbers)
    queries = [queries[episode % len(queries)] for episode in range(EPISODES)]
    # 255 surrounds VOC's objects; in COCO's masks the original counts it as background.
    return FewShotFold(names, tuple(queries), _numbered_masks(numbers, len(PASCAL_NAMES), ignoring=True))


def _open_coco(root: Path, listed: Path, fold: int, shots: int) -> FewShotFold:
    """COCO 2014: one of every fourth class, then one of its pictures, drawn as the original draws them after seed 0."""
    classes = range(fold, len(COCO_NAMES), FOLDS)
    lists = read_text_lists(listed)
    for number in classes:
        if len(set(lists.get(number, ()))) < (2 if shots else 1):
            beside = " and others for its support" if shots else ""
            raise ValueError(f"{listed} does not list a picture of class {number} ({COCO_NAMES[number]}){beside}")
    # A RandomState gives the same numbers in all versions of NumPy; the functions of np.random, which the original
    # calls, are those of one RandomState.
    rng = np.random.RandomState(0)
    queries = []
    for _ in range(EPISODES):
        label = _draw(rng, classes)
        files = lists[classes[label]]
        name = files[_draw(rng, files)]
        drawn = 0
        while drawn < shots:
            drawn += files[_draw(rng, files)] != name
        found = _COCO_NAME.fullmatch(name)
        if not found:
            raise ValueError(f"{listed} lists {name[:80]!r}, which is no picture of COCO 2014's")
        queries.append(Query(root / name, root / "annotations" / f"{found[1]}.png", label))
    names = tuple(COCO_NAMES[number] for number in classes)
    numbers = [number + 1 for number in classes]
    return FewShotFold(names, tuple(queries), _numbered_masks(numbers, len(COCO_NAMES), ignoring=False))


def _open_fss(root: Path, listed: Path, shots: int) -> FewShotFold:
    """FSS-1000: all pictures of the listed classes."""
    names = tuple(sorted(_read_lines(listed)))
    queries = []
    for label, name in enumerate(names):
        folder = root / name
        if not _FSS_CLASS.fullmatch(name):
            raise ValueError(f"{listed} lists {name[:80]!r}, which is no name of a folder")
        if not folder.is_dir():
            raise ValueError(f"there is no folder {folder}, which {listed} asks for")
        files = sorted(file for file in folder.iterdir() if not file.name.startswith("."))
        pictures = [file for file in files[shots == 1 :] if file.suffix == ".jpg"]
        if not pictures:
            raise ValueError(f"the folder {folder} holds no .jpg file to test on")
        queries += [Query(picture, picture.with_suffix(".png"), label) for picture in pictures]
    # Of the published test masks, those of crt_screen 6, rocking_chair 9, rubber_eraser 8, ruler 10, screw 8 and
    # shower_curtain 3 are larger than their pictures, as users of FSS-1000 report; the original stretches them too.
    return FewShotFold(names, tuple(queries), _read_ink, same_size=False)


def _numbered_masks(numbers: Sequence[int], classes: int, ignoring: bool) -> Callable[[Path, int], np.ndarray]:
    """A reader of masks in which `numbers` stand for the fold's classes. ignoring: 255 is not scored."""

    def read(file: Path, label: int) -> np.ndarray:
        values = read_values(file)
        wrong = values[(values > classes) & (values != IGNORED)]
        if wrong.size:
            raise ValueError(f"{file} holds the value {wrong.max()}, but its classes are 0 to {classes}, and 255")
        truth = (values == numbers[label]).astype(np.uint8)
        if ignoring:
            truth[values == IGNORED] = IGNORED
        return truth

    return read


def _read_ink(file: Path, _label: int) -> np.ndarray:
    """FSS-1000's masks: white on black in any colour mode, with smooth edges here and there.

    Those in its repository hold 0 and 1; the original would see nothing in them.
    """
    grey = np.asarray(Image.fromarray(read_picture(file, upright=False)).convert("L"))
    return (grey >= (_INK if grey.max() > 1 else 1)).astype(np.uint8)


def _draw(rng: np.random.RandomState, items: Sequence) -> int:
    """An index, as `choice(items, 1, replace=False)` draws it: by shuffling all of them."""
    return int(rng.permutation(len(items))[0])


def _read_lines(file: Path) -> list[str]:
    """The non-empty lines of a split list. Raises ValueError, naming the file, if it is missing or has none."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise ValueError(f"there is no split list {file}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{file} is not UTF-8 text") from None
    lines = [line.strip() for line in lines if line.strip()]
    if not lines:
        raise ValueError(f"the split list {file} is empty")
    return lines
