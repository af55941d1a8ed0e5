"""``python -m napari_so3.cli``."""

from napari_so3.cli import app

app()
