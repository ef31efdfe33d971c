"""The zip container of `torch.save` (PyTorch 1.6 and later) and of `torch.jit.save`.

Records: ROOT/data.pkl, ROOT/data/KEY for each storage, ROOT/version, since 2.1 ROOT/byteorder; a TorchScript archive
has ROOT/code/ and ROOT/constants.pkl as well. Source: torch/serialization.py, caffe2/serialize/inline_container.cc.
"""

from __future__ import annotations

from convert.reading.entry import shown
from convert.reading.legacy import read_blob
from convert.reading.pickle_machine import PickleMachine
from convert.reading.tensor import Storage
from convert.reading.torch_objects import TorchObjects, typed_storages
from convert.reading.zip_archive import ZipArchive

MAX_ROOTS = 8  # folders with a data.pkl that are looked at; an honest archive has one


def torch_root(archive: ZipArchive) -> str | None:
    """The folder, with its slash, in which a PyTorch archive keeps its records; None if it is no PyTorch archive."""
    names = archive.records
    pickles = [name for name in names if name.rsplit("/", 1)[-1] == "data.pkl"][:MAX_ROOTS]
    roots = [pickle.removesuffix("data.pkl") for pickle in pickles]
    roots = [root for root in roots if any(name.startswith((f"{root}version", f"{root}data/")) for name in names)]
    if len(roots) > 1:  # PyTorch takes the folder of the first record
        first = next(iter(names)).partition("/")[0] + "/"
        return first if first in roots else None
    return roots[0] if roots else None


def read_torch_zip(archive: ZipArchive, root: str) -> tuple[object, str]:
    """What the archive holds, and the container's name for people."""
    source, records = archive.source, archive.records
    pickle = f"{root}data.pkl"
    scripted = f"{root}constants.pkl" in records
    order = b"little"
    if f"{root}byteorder" in records:
        order = bytes(archive.read(f"{root}byteorder")[:16])
        if order not in (b"little", b"big"):
            raise source.error(f"record {shown(root + 'byteorder')}", "is neither little nor big.")

    def make(key: str, dtype: str, nbytes: int) -> Storage:
        name = f"{root}data/{key}"
        if name not in records:
            raise source.error(f"record {shown(name)}", "is missing: the archive is damaged.")
        storage = archive.storage(name)
        # Old TorchScript writes the elements of the tensor here, which may be a view of a larger storage.
        if storage.nbytes < nbytes or (storage.nbytes > nbytes and not scripted):
            raise source.error(storage.record, f"has {storage.nbytes} bytes, its {dtype} elements take {nbytes}.")
        return storage

    objects = TorchObjects(source, f"record {shown(pickle)}", read_blob)
    persistent = typed_storages(objects.error, make, big_endian=order == b"big")
    loaded = PickleMachine(archive.read(pickle), objects.find, persistent, objects.error).load()
    return loaded, "torchscript" if scripted else "zip"
