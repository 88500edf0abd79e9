"""Reads DICOM files with pydicom: their paths one a line on standard input, one JSON object a line on standard output.

Values are the raw bytes, in hex; the place of Pixel Data counts from the file's beginning. Of a deflated file pydicom reads
an inflated copy, so there it counts from that copy's.
"""
import json
import sys
import warnings

from pydicom import config, filereader

KEPT = [
    0x00080005, 0x00080008, 0x00080016, 0x00080018, 0x00080020, 0x00080030, 0x00080050, 0x00080060, 0x00080070, 0x00080080,
    0x00081010, 0x00081030, 0x0008103E, 0x00100010, 0x00100020, 0x00100021, 0x00180015, 0x0020000D, 0x0020000E,
]
SHORTS = [0x00280002, 0x00280006, 0x00280010, 0x00280011, 0x00280100, 0x00280103]
NUMBERS = [0x00201208, 0x00280008]
PIXELS = [0x7FE00008, 0x7FE00009, 0x7FE00010]
UNDEFINED = 0xFFFFFFFF


as_read = {}
read_dataset = filereader.read_dataset


def keep_as_read(*args, **kwargs):
    """The elements as they are read: dcmread decodes some of them before it returns. The last call is the data set's."""
    data_set = read_dataset(*args, **kwargs)
    as_read.clear()
    as_read.update(data_set._dict)
    return data_set


filereader.read_dataset = keep_as_read


def number(value):
    """What an Integer String says; None when it is no number, as in one file of the corpus."""
    try:
        return int(value)
    except ValueError:
        return None


def read(path):
    as_read.clear()
    data_set = filereader.dcmread(path, force=True)
    order = "little" if data_set.original_encoding[1] else "big"
    found = lambda tags: [(f"{tag:08x}", as_read[tag]) for tag in tags if tag in as_read]
    present = lambda tags: [(tag, element.value) for tag, element in found(tags) if element.value]
    return {
        "values": {tag: value.hex() for tag, value in present(KEPT)},
        "shorts": {tag: int.from_bytes(value, order) for tag, value in present(SHORTS)},
        "numbers": {tag: number(value) for tag, value in present(NUMBERS) if number(value) is not None},
        "pixels": [
            {"tag": tag, "offset": element.value_tell, "len": element.length}
            for tag, element in found(PIXELS)
            if element.length != UNDEFINED
        ],
    }


warnings.simplefilter("ignore")
config.settings.reading_validation_mode = config.IGNORE
for line in sys.stdin:
    try:
        said = read(line.rstrip("\n"))
    except Exception as error:  # What it cannot read is for the test to judge.
        said = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(said))
