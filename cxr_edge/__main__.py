"""`cxr-edge`, `python -m cxr_edge`, and the entry of the packaged program."""

import sys

if __name__ == "__main__" and getattr(sys, "frozen", False):
    # The packaged program is its own Python: a reading process is started as this one.
    from multiprocessing import freeze_support

    freeze_support()

from cxr_edge.starting import starting

try:
    with starting():
        from cxr_edge.cli import main
except ImportError as exc:
    from cxr_edge.language import _, told
    from cxr_edge.not_loaded import not_loaded
    from cxr_edge.own_window import Window, is_own, kept_open

    error = not_loaded(exc)
    with kept_open(Window(is_own())):
        print(_("Error: {error}").format(error=told(error)), file=sys.stderr)
        sys.exit(error.exit_code)

if __name__ == "__main__":
    main()
