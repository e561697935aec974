"""Training in PyTorch; see `python -m train --help`."""
