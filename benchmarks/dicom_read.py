"""An uncompressed 12-bit 5-megapixel DICOM: read and prepared, against pydicom's pixels alone.

    python -m benchmarks.dicom_read

One core, from the file's bytes in memory: cxr-edge decodes (with the VOI window), checks, resizes
and stretches to the network's input; pydicom parses the file and hands out its pixel array.
"""

import io
from functools import partial
from pathlib import Path

import pydicom

from cxr_edge import load_model
from cxr_edge.preprocess import min_side_px, prepare
from cxr_edge.radiograph import RadiographFile, decode_radiograph

from .films import FIVE_MEGAPIXELS, dicom, film_12_bit
from .results import record_ratio
from .turns import take_turns, timed, use_cores

N_TURNS = 40


def main() -> None:
    use_cores(1)
    spec = load_model(device="cpu", threads=1).card.input
    side = min_side_px(spec)
    data = dicom(film_12_bit(FIVE_MEGAPIXELS))
    file = RadiographFile(Path("film.dcm"), data, "0" * 64)
    ours_s, theirs_s = take_turns(
        [
            partial(timed, lambda file: prepare(decode_radiograph(file, side), spec), [file], 3),
            partial(timed, lambda data: pydicom.dcmread(io.BytesIO(data)).pixel_array, [data], 3),
        ],
        N_TURNS,
    )
    record_ratio(
        "dicom",
        "the time of pydicom's pixel_array: a 12-bit 5-megapixel film, decoded and prepared",
        1.5,
        ours_s,
        theirs_s,
        {"cores": 1},
        at_least=False,
    )


if __name__ == "__main__":
    main()
