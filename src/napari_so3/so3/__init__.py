"""The method of the paper in pure torch: rotations, projection, layers, aggregation, networks."""
