"""From labelled micrographs to a model."""
