"""Files of an answer, each of which appears under its name only when it is whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from convert.atomic import whole_file


def write_png(path: Path, image: Image.Image, fast: bool = False) -> None:
    """fast: Deflate's fastest level; a 12 megapixel overlay takes a fraction of the time and grows by little."""
    with whole_file(path) as draft:
        image.save(draft, "PNG", **({"compress_level": 1} if fast else {}))


def write_json(path: Path, content: dict[str, Any]) -> None:
    with whole_file(path) as draft:
        draft.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def stem_of(source: str | None) -> str:
    """What the files of an answer are called: as the picture, where it came from a file."""
    return Path(source).stem if source else "picture"


def summary(source: str | None, size: tuple[int, int], model: str, segments: list[dict[str, Any]]) -> dict[str, Any]:
    """What `<stem>.segments.json` says. size: (height, width)."""
    height, width = size
    name = Path(source).name if source else None
    return {"picture": name, "width": width, "height": height, "model": model, "segments": segments}
