"""`MsDataset`: a dataset that is on this machine, opened as ModelScope's scripts open theirs."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ms_seg.hub.modelscope import cache_folder
from ms_seg.modelscope.constants import DownloadMode, Hubs

PICTURE = "InputImage:FILE"  # what ModelScope calls the column of pictures
_FILE = ":FILE"  # how the name of a column of files ends
_ENDINGS = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


class MsDataset(Sequence[Any]):
    """Rows of a dataset, and the folder that it lies in, which is what a model is trained on.

    folder: None for a dataset of given values. split: as it was asked for. target: the column whose values are the
    dataset's; None for whole rows.
    """

    def __init__(
        self,
        folder: Path | None,
        split: str | None = None,
        target: str | None = None,
        values: Sequence[Any] | None = None,
    ):
        self.folder, self.split, self.target = folder, split, target
        self._values = values

    @staticmethod
    def load(
        dataset_name: str | os.PathLike[str] | list[Any],
        namespace: str = "modelscope",
        target: str | None = None,
        version: str = "master",
        hub: Hubs = Hubs.modelscope,
        subset_name: str | None = None,
        split: str | None = None,
        data_dir: str | None = None,
        data_files: Any = None,
        download_mode: DownloadMode = DownloadMode.REUSE_DATASET_IF_EXISTS,
        cache_dir: str | os.PathLike[str] | None = None,
    ) -> MsDataset:
        """A dataset in a folder, or in the folder where ModelScope's of that name belongs; or of a list of values.

        Nothing is downloaded: version, hub, download_mode and subset_name change nothing. data_dir: a folder in that
        folder. cache_dir: instead of ModelScope's own, the folder of all datasets.

        Raises ValueError where there is no such folder, with the place where it is looked for, and for data_files.
        """
        if isinstance(dataset_name, list):
            return MsDataset(None, split, target, dataset_name)
        if data_files is not None:
            raise ValueError("data_files must be left out: a dataset is a folder")
        folder = Path(dataset_name)
        if not folder.is_dir():
            owner, _, name = os.fspath(dataset_name).rpartition("/")
            root = Path(cache_dir) if cache_dir else cache_folder() / "datasets"
            folder = root / (owner or namespace) / name
            if not folder.is_dir():
                raise ValueError(
                    f"the dataset {name} of {owner or namespace} is not on this machine, and datasets are not "
                    f"downloaded: put it into {folder}, or pass the folder that it lies in as dataset_name"
                )
        return MsDataset(folder / data_dir if data_dir else folder, split, target)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        """A row: of a folder of pictures {"InputImage:FILE": its path}, of a table its columns, files as paths.

        Raises ValueError for a folder without pictures, for a table that cannot be read, and for a target that the rows
        do not have.
        """
        row = self._rows[index]
        if self.target is None or self._values is not None:
            return row
        if self.target not in row:
            raise ValueError(f"{self.folder} has no column {self.target}: it has {', '.join(row)}")
        return row[self.target]

    @cached_property
    def _rows(self) -> Sequence[Any]:
        if self.folder is None or self._values is not None:
            return self._values or ()
        table = self.folder / f"{self.split}.csv"
        if table.is_file():
            return _read_table(table)
        folder = self.folder / self.split if self.split and (self.folder / self.split).is_dir() else self.folder
        pictures = sorted(path for path in folder.iterdir() if path.suffix.lower() in _ENDINGS)
        if not pictures:
            raise ValueError(f"there are no pictures in {folder}, and there is no table {table}")
        return [{PICTURE: str(path)} for path in pictures]


def _read_table(table: Path) -> list[dict[str, str]]:
    """The rows of a table. Its files lie beside it or below."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = [{key: value for key, value in row.items() if key} for row in csv.DictReader(file, strict=True)]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{table} is no table of commas: {error}") from None
    root = table.parent.resolve()
    for row in rows:
        for key, value in row.items():
            if key.endswith(_FILE):
                path = (root / str(value)).resolve()
                if not path.is_relative_to(root):
                    raise ValueError(f"{table} names {value}, which is not in its folder")
                row[key] = str(path)
    return rows
