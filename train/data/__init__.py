"""Films: found, labelled, split by patient, and held in memory."""
