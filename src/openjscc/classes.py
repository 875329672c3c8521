"""The classes of a segmentation: those of PASCAL VOC, with the colours that its masks have.

M. Everingham et al., "The PASCAL Visual Object Classes (VOC) challenge", 2010. Class numbers are indices into `VOC`.
"""

from __future__ import annotations

VOC = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)

VOID = 255
"""The number of mask pixels that have no class: borders of objects, and what is too hard to tell."""

VOC_NINE = ("background", "person", "cat", "dog", "cow", "horse", "sheep", "chair", "sofa")
"""Classes that also an excerpt of VOC with mostly animals on it has enough images of (metric ``miou_nine``)."""


def class_numbers(names: tuple[str, ...]) -> tuple[int, ...]:
    """Numbers of these classes of `VOC`, ascending."""
    return tuple(sorted(VOC.index(name) for name in names))


def voc_palette() -> list[tuple[int, int, int]]:
    """The 256 colours (red, green, blue) of VOC's masks; colour 0 is black, 255 (void) a light yellow.

    Three bits of the number at a time give one bit of red, green and blue, from the most significant one on.
    """
    colours = []
    for number in range(256):
        channels = [0, 0, 0]
        for place in range(8):
            for channel in range(3):
                channels[channel] |= (number >> (3 * place + channel) & 1) << (7 - place)
        colours.append((channels[0], channels[1], channels[2]))
    return colours
