"""Equation 1 of the paper: density, projections, CTF and noise make a micrograph with truth."""
