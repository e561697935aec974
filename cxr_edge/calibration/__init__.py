"""A site's own operating point: labelled films -> a site profile (profile.py)."""
