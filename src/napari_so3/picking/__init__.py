"""From a micrograph to picks: preprocess, score, find peaks, and the table that comes out."""
