"""Learning: what is shown, how often, what a mistake costs, and the loop."""
