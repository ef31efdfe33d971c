"""What TensorBoard would show of a folder of event files."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event, SessionLog


def shown(folder: Path) -> dict[str, dict[int, object]]:
    """Tag -> step -> scalar, or the bytes of a picture; a file that begins at a step purges what is later or equal."""
    content: dict[str, dict[int, object]] = {}
    for file in sorted(folder.glob("*tfevents*")):
        for event in _events(file.read_bytes()):
            if event.session_log.status == SessionLog.START:
                for values in content.values():
                    for step in [step for step in values if step >= event.step]:
                        del values[step]
            for value in event.summary.value:
                what = value.image.encoded_image_string or value.simple_value
                content.setdefault(value.tag, {})[event.step] = what
    return content


def _events(content: bytes) -> Iterator[Event]:
    """Records of TFRecord: a length, its checksum, the data, its checksum."""
    place = 0
    while place < len(content):
        (length,) = struct.unpack_from("<Q", content, place)
        yield Event.FromString(content[place + 12 : place + 12 + length])
        place += 16 + length
