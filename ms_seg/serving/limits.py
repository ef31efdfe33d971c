"""What a request may cost."""

from __future__ import annotations

from dataclasses import dataclass

from ms_seg.label_sets import MAX_NAME_LENGTH


@dataclass(frozen=True)
class Limits:
    """upload: bytes of a picture's file. pixels: of a picture. words: how many. word: characters of one.

    waiting: requests that are waiting or answered at a time. waiting_bytes: of all their files together.
    upload_seconds: how long a file may take to arrive. header_seconds: how long a request's first lines may.
    """

    upload: int = 32 << 20
    pixels: int = 25_000_000
    words: int = 100
    word: int = MAX_NAME_LENGTH
    waiting: int = 64
    waiting_bytes: int = 512 << 20
    upload_seconds: float = 60.0
    header_seconds: float = 10.0


class Refused(Exception):
    """A request that is not answered. status: of HTTP. sentence: why. retry_after: seconds, where it may come again."""

    def __init__(self, status: int, sentence: str, retry_after: int | None = None):
        super().__init__(sentence)
        self.status, self.sentence, self.retry_after = status, sentence, retry_after
