"""NEGATIVES: images that a reader of chest films must refuse, and hardened films it must not.

Made of real films or of nothing; they fit and examine the gate. Everything here takes prepared
films, uint8 grey as `cxr_edge.preprocess` stretches them, and a numpy generator, and gives images
of the same size. Nothing is fetched: the photographs and slices that are not drawn lie in the
wheels of scikit-image and pydicom.
"""

from .kinds import HELD_OUT, KINDS, READABLE, Kind, make

__all__ = ["HELD_OUT", "KINDS", "READABLE", "Kind", "make"]
