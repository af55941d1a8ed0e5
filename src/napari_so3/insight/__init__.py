"""What a network has seen, and why: rotations, filters, shares of a pick; as arrays and figures."""
