"""What napari shows: docks, readers, writers and sample data."""
