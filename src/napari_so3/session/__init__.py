"""What a person works on: micrographs, picks, marks, and the one file that keeps it. No Qt."""
