"""Everything that one run can tell of a model, as one page: `python -m train evidence`."""
