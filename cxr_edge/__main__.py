"""`cxr-edge`, `python -m cxr_edge`, and the entry of the packaged program."""

from cxr_edge.starting import starting

with starting():
    from cxr_edge.cli import main

if __name__ == "__main__":
    main()
