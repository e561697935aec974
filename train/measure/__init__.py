"""Measuring: figures with intervals, pictures, reports, and what a network leans on."""
