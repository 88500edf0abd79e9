"""Pairs of Part 10 files, one pair a line on standard input, tab between them: what differs, one JSON line each.

Every element of the first is looked for in the second and the other way round, in sequences too; values are compared as
pydicom reads them. Group lengths differ rightly. Pixel Data in fragments is compared by others.
"""

import json
import sys
import warnings
from io import BytesIO

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filereader import read_sequence
from pydicom.sequence import Sequence
from pydicom.tag import Tag

warnings.simplefilter("ignore")
WORDS = {"OW": 2, "OL": 4, "OF": 4, "OD": 8, "OV": 8}
ENCAPSULATED = tuple(f"1.2.840.10008.1.2.{arc}" for arc in ("4.", "5", "8."))
DECODED = {Tag(0x7FE0, 0x0010), Tag(0x7FE0, 0x0001), Tag(0x7FE0, 0x0002), Tag(0x0028, 0x0004), Tag(0x0028, 0x0006)}


def turned(value, width):
    return b"".join(value[at : at + width][::-1] for at in range(0, len(value), width))


def raw(dataset, tag):
    """The value's bytes, if it was not read as a sequence."""
    item = dataset.get_item(tag)
    value = getattr(item, "value", None)
    if isinstance(value, Sequence):
        return None
    return value if value is None or isinstance(value, bytes) else item


def is_sequence(dataset, tag):
    item = dataset.get_item(tag)
    return isinstance(getattr(item, "value", None), Sequence) or item.VR == "SQ"


def items(dataset, tag, is_known):
    """The items, also of a private sequence that lost its VR."""
    item = dataset.get_item(tag)
    if not is_known and isinstance(item.value, bytes):
        return read_sequence(BytesIO(item.value), True, True, len(item.value), "utf8")
    return dataset[tag].value


def differ(a, b, orders, path, decoded):
    for tag in sorted(set(a.keys()) | set(b.keys())):
        where = path + str(tag)
        if tag.element == 0 or (decoded and tag in DECODED):
            continue
        if tag not in a or tag not in b:
            yield where + (" is new" if tag in b else " is gone")
            continue
        known = is_sequence(a, tag), is_sequence(b, tag)
        if any(known):
            first, second = items(a, tag, known[0]), items(b, tag, known[1])
            if len(first) != len(second):
                yield where + " has other items"
                continue
            for number, (one, other) in enumerate(zip(first, second)):
                yield from differ(one, other, orders, f"{where}[{number}]", decoded)
            continue
        one, other = raw(a, tag), raw(b, tag)
        if not getattr(one, "value", one) and not getattr(other, "value", other):
            continue
        # UN is little endian in every syntax (PS3.5 section 6.2.2), which pydicom forgets in a big endian one.
        vr = a.get_item(tag).VR
        is_unknown = vr == "UN" or (vr is None and tag.is_private)
        if (is_unknown or orders[0] == orders[1]) and isinstance(one, bytes) and isinstance(other, bytes):
            if one != other:
                yield where + " has other bytes"
            continue
        vr = vr or b.get_item(tag).VR
        if vr in WORDS and isinstance(one, bytes) and isinstance(other, bytes):
            if turned(one, WORDS[vr]) != other and one != other:
                yield where + " has other words"
        elif a[tag].value != b[tag].value and str(a[tag].value) != str(b[tag].value):
            yield where + f" has another value ({a[tag].VR}, {b[tag].VR})"


def pixels_differ(a, b):
    if "PixelData" not in a or "PixelData" not in b:
        return
    if a.PixelData != b.PixelData:
        yield "Pixel Data"
    for keyword in ("PhotometricInterpretation", "PlanarConfiguration", "Rows", "Columns", "BitsAllocated", "NumberOfFrames"):
        if a.get(keyword) != b.get(keyword):
            yield f"{keyword}: {a.get(keyword)} and {b.get(keyword)}"


for line in sys.stdin:
    how, first, second = line.rstrip("\n").split("\t")
    a, b = dcmread(first, force=True), dcmread(second)
    if how == "pixels":
        found = list(pixels_differ(a, b))
    else:
        orders = tuple(d.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.2" for d in (a, b))
        is_decoded = a.file_meta.TransferSyntaxUID.startswith(ENCAPSULATED)
        found = list(differ(Dataset(a), Dataset(b), orders, "", is_decoded))
    print(json.dumps({"pair": [first, second], "differ": found}), flush=True)
