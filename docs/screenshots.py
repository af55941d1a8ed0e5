"""Make the pictures of the documentation: the dock on the simulated sample.

Usage: ``python docs/screenshots.py``, anywhere where napari runs; without a display, or with one
smaller than the largest picture, under Xvfb::

    xvfb-run -a -s "-screen 0 2560x1440x24" python docs/screenshots.py

No real micrograph may appear in a picture: only the sample, which is simulated.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

UNDER_XVFB = 'xvfb-run -a -s "-screen 0 2560x1440x24" python docs/screenshots.py'
IMAGES = Path(__file__).parent / "images"
SIZES = ((1366, 768), (2560, 1440))
GREY_STEP = 17  # of the micrograph, whose noise fills most of the file
CENTRE, VIEW = (1500.0, 1500.0), 2000.0  # Å; what the pictures show of the sample

_settings = tempfile.TemporaryDirectory(prefix="napari-so3-screenshots-")
os.environ["NAPARI_CONFIG"] = str(Path(_settings.name) / "settings.yaml")
if sys.platform == "linux":
    if not os.environ.get("DISPLAY"):
        sys.exit(f"There is no display: {UNDER_XVFB}")
    os.environ.setdefault("QT_QPA_PLATFORM", "xcb")  # under "offscreen" the canvas stays blank

import napari  # noqa: E402
import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402
from qtpy.QtWidgets import QApplication  # noqa: E402


def wait_until(condition, seconds=120.0):
    """Let Qt work until a condition holds.

    Raises
    ------
    TimeoutError
        It does not hold in time.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("napari is not ready for a picture in time")
        QApplication.processEvents()
        time.sleep(0.01)


def wait(seconds):
    """Let Qt work for some time, such as for animations to end."""
    end = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > end)


def save(viewer, path, size):
    """Save the whole window at exactly a size, as a small PNG."""
    viewer.window.resize(*size)
    wait(0.5)
    viewer.scene.camera.center = CENTRE
    viewer.scene.camera.zoom = min(viewer.canvas.size) / VIEW
    wait(0.5)
    picture = viewer.screenshot(canvas_only=False, flash=False)[..., :3]
    if picture.shape[1::-1] != size:
        raise RuntimeError(f"the display is too small for {size} pixels: {UNDER_XVFB}")
    shrink(picture).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def shrink(picture):
    """Give a picture a palette: few greys, and of the other colours the most frequent."""
    grey = (picture == picture[..., :1]).all(axis=-1)
    picture[grey] = np.uint8((picture[grey] / GREY_STEP).round() * GREY_STEP)
    colours, counts = np.unique(picture.reshape(-1, 3), axis=0, return_counts=True)
    palette = Image.new("P", (1, 1))
    palette.putpalette(colours[np.argsort(-counts)[:256]].tobytes())
    return Image.fromarray(picture).quantize(palette=palette, dither=Image.Dither.NONE)


def main():
    """Pick the sample in napari and save the pictures."""
    IMAGES.mkdir(exist_ok=True)
    viewer = napari.Viewer(title="napari")
    _, dock = viewer.window.add_plugin_dock_widget("napari-so3", "Pick particles")
    viewer.open_sample("napari-so3", "simulated")
    wait_until(lambda: not dock.form.device.currentText().startswith("looking"))
    dock.bar.button.click()
    wait_until(lambda: not dock.bar.running)
    for theme in ("light", "dark"):
        viewer.theme = theme
        for width, height in SIZES:
            save(viewer, IMAGES / f"pick-{theme}-{width}x{height}.png", (width, height))
    viewer.close()


if __name__ == "__main__":
    main()
