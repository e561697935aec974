"""Watch a folder: every radiograph that appears in it gets its row, once."""
