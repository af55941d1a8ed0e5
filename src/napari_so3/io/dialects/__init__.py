"""The coordinate formats of other programs, one file each; `io.coordinates` tells them apart."""
