"""`cxr-edge`, `python -m cxr_edge`, and the entry of the packaged program."""

import sys

if __name__ == "__main__" and getattr(sys, "frozen", False):
    # The packaged program is its own Python: a reading process is started as this one.
    from multiprocessing import freeze_support

    freeze_support()

from cxr_edge.starting import starting

with starting():
    from cxr_edge.cli import main

if __name__ == "__main__":
    main()
