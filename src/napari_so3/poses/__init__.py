"""Orientations of picked particles: estimated, compared, counted."""
