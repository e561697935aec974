"""READ for PNG, TIFF and BMP, and for the JPEG files that jpeg.py leaves aside: with Pillow."""

import io
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from .errors import RadiographError
from .radiograph import (
    Radiograph,
    RadiographFile,
    check_n_pixels,
    corrupt,
    finish,
    in_bands,
    n_halvings,
    quiet,
    refuse_frames,
    refuse_if_coloured,
    too_many_pixels,
    unsupported,
)
from .refusals import Refusals

_PILLOW_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF")
# GIF is recognised only to be refused for its several images where it has them.
_REFUSED_FORMATS = ("GIF",)
# How JPEG, PNG, TIFF and BMP start: such a file is a damaged one where Pillow makes nothing of it.
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"II*\0", b"MM\0*", b"BM")

_EXIF_ORIENTATION = 0x0112
_TIFF_PHOTOMETRIC = 262


def decode_image(file: RadiographFile, min_side_px: int, refusals: Refusals) -> Radiograph:
    """Decode an image; see radiograph.decode_radiograph for the parameters and the errors."""
    try:
        # MAX_PIXELS decides, below; Pillow warns at a smaller size and about odd metadata.
        with quiet:
            image = Image.open(io.BytesIO(file.data), formats=_PILLOW_FORMATS)
            check_n_pixels(image.height, image.width)
            n_frames = int(getattr(image, "n_frames", 1))
            if n_frames > 1:
                raise refuse_frames(n_frames)
            if image.format in _REFUSED_FORMATS:
                raise unsupported()
            return _decode_single(image, file, min_side_px, refusals)
    except Image.DecompressionBombError as exc:
        # Pillow's own limit is higher than MAX_PIXELS, and comes first.
        raise too_many_pixels("The image is far too large") from exc
    except UnidentifiedImageError as exc:
        if file.data.startswith(_SIGNATURES):
            raise corrupt(ValueError("its header cannot be read")) from exc
        raise unsupported() from exc
    except (RadiographError, MemoryError):
        raise
    # Pillow's decoders raise whatever the damaged byte led to (OSError, SyntaxError, struct.error,
    # ValueError, KeyError ...); all of them mean the same to the user.
    except Exception as exc:
        raise corrupt(exc) from exc


def _decode_single(
    image: Image.Image, file: RadiographFile, min_side_px: int, refusals: Refusals
) -> Radiograph:
    pixels = _stored_pixels(image, file, min_side_px, refusals)
    reduced = image.height // pixels.shape[0]
    bits_stored = 1 if pixels.dtype == np.bool_ else 8 * pixels.dtype.itemsize
    if pixels.dtype.kind in "if":
        # 32-bit integers and floats declare no range, so the image's own is taken.
        pixels = pixels - pixels.min().astype(np.float64)
        white = float(pixels.max()) or 1.0
    else:
        pixels = pixels.astype(np.uint8 if bits_stored <= 8 else np.uint16, copy=False)
        white = float((1 << bits_stored) - 1)
    photometric = "MONOCHROME2"
    if getattr(image, "tag_v2", {}).get(_TIFF_PHOTOMETRIC) == 0:
        photometric = "MONOCHROME1"
        # Pillow has inverted WhiteIsZero up to 8 bits, and left wider pixels as they are.
        if bits_stored > 8:
            pixels = (white - pixels).astype(pixels.dtype)
    # Asked for after decoding: Pillow turns a TIFF upright itself and then forgets the tag.
    orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    pixels = _upright(pixels, orientation)
    full_shape = (reduced * pixels.shape[0], reduced * pixels.shape[1])
    return finish(pixels, white, bits_stored, photometric, file, full_shape)


def _stored_pixels(
    image: Image.Image, file: RadiographFile, min_side_px: int, refusals: Refusals
) -> NDArray[Any]:
    """The grey values (H, W) as they are stored: bool, uint8, uint16, int32 or float32.

    16 bits may be reduced, as decode_image says.
    """
    if image.mode == "L" or image.mode.startswith("I;16"):
        return _in_bands(image, min_side_px)
    if image.mode in ("LA", "La"):
        return np.asarray(image.getchannel("L"))
    if image.mode not in ("1", "I", "F"):
        return _grey_of_colour(image, file, refusals)
    pixels: NDArray[Any] = np.asarray(image)
    # Some Pillow versions give 16-bit PNG as 32-bit integers.
    if image.mode == "I" and pixels.min() >= 0 and pixels.max() <= 0xFFFF:
        return pixels.astype(np.uint16)
    return pixels


def _in_bands(image: Image.Image, min_side_px: int) -> NDArray[Any]:
    """8 or 16-bit pixels without the two more copies of the whole film that np.asarray makes."""
    image.load()
    width, height = image.size
    kind = np.uint8 if image.mode == "L" else np.uint16
    n_times = n_halvings((height, width), min_side_px) if kind is np.uint16 else 0
    # Odd sides are rounded up at their end, which need not be their end when the film is upright.
    while (height | width) % (1 << n_times):
        n_times -= 1
    return in_bands(
        height,
        n_times,
        lambda top, end: np.asarray(image.crop((0, top, width, end))).astype(kind, copy=False),
    )


def _grey_of_colour(
    image: Image.Image, file: RadiographFile, refusals: Refusals
) -> NDArray[np.uint8]:
    """The grey values (H, W) of an image stored in colour; refuses where there really is some."""
    if image.format == "JPEG" and image.mode == "RGB":
        # libjpeg decodes the luminance alone in half the time; an eighth of the size is enough to
        # see whether there is colour.
        thumbnail = Image.open(io.BytesIO(file.data), formats=("JPEG",))
        thumbnail.draft("RGB", (max(1, image.width // 8), max(1, image.height // 8)))
        refuse_if_coloured(np.asarray(thumbnail), refusals)
        image.draft("L", image.size)
        return np.asarray(image)
    rgb = np.asarray(image.convert("RGB"))
    refuse_if_coloured(rgb, refusals)
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def _upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Undo the Exif orientation (1 to 8; CIPA DC-008, tag 0x0112)."""
    if orientation in (2, 4, 5, 7):
        pixels = pixels[:, ::-1]
    quarter_turns = {3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}.get(orientation, 0)
    return np.rot90(pixels, quarter_turns)
