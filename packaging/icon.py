"""Draws the program's icon: python packaging/icon.py cxr-edge.ico"""

import sys

from PIL import Image, ImageDraw

_SIDE = 256
_SIZES = [(side, side) for side in (16, 24, 32, 48, 64, 128, 256)]
_GROUND, _LUNG, _BONE, _MARK = (16, 32, 44), (150, 190, 205), (235, 242, 245), (255, 140, 0)


def draw() -> Image.Image:
    """Two lungs, a spine, and a mark on one of them; 256 x 256 px, RGBA."""
    icon = Image.new("RGBA", (_SIDE, _SIDE), (0, 0, 0, 0))
    pen = ImageDraw.Draw(icon)
    pen.rounded_rectangle((4, 4, 251, 251), radius=44, fill=_GROUND)
    for left, right in ((44, 116), (140, 212)):
        pen.ellipse((left, 46, right, 150), fill=_LUNG)
        pen.rounded_rectangle((left, 96, right, 206), radius=26, fill=_LUNG)
    pen.rounded_rectangle((121, 30, 135, 226), radius=7, fill=_BONE)
    pen.ellipse((160, 142, 200, 182), fill=_MARK)
    return icon


if __name__ == "__main__":
    draw().save(sys.argv[1], sizes=_SIZES)
