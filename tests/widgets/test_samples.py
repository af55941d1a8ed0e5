import numpy as np
from scipy.ndimage import gaussian_filter


def test_the_sample_is_a_micrograph_with_its_truth(viewer):
    viewer.open_sample("napari-so3", "simulated")
    image, truth = viewer.layers
    assert (image.name, truth.name) == ("simulated", "simulated truth")
    assert tuple(image.scale) == tuple(truth.scale) == (3.0, 3.0)
    assert image.units == truth.units
    assert list(truth.features.columns) == ["rot", "tilt", "psi"]
    assert len(truth.data) == 120
    y, x = np.clip(truth.data.round().astype(int), 0, np.subtract(image.data.shape, 1)).T
    local = gaussian_filter(image.data, 10) - gaussian_filter(image.data, 30)
    assert local[y, x].mean() < -2 * local.std() / 120**0.5  # particles are dark
