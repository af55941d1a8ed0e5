"""The operator against the naive reference: turn the volume, take the mean along z."""

import itertools

import mrcfile
import numpy as np
import pytest
import starfile
import torch
import torch.nn.functional as F
from scipy.ndimage import center_of_mass

from napari_so3.so3 import projection
from napari_so3.so3.projection import RotateProject, basis_positions
from napari_so3.so3.rotations import RotationGrid, euler_to_matrix, random_rotations


@pytest.fixture(autouse=True)
def _double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def naive(weight: torch.Tensor, rotations: torch.Tensor, size: int) -> torch.Tensor:
    """(N, k^3) voxels to (R, N, k, k) by trilinear interpolation and the mean along z."""
    volume = weight.reshape(-1, 1, size, size, size)
    filters = []
    for r in rotations:
        theta = torch.cat((r.T, torch.zeros(3, 1)), dim=1).expand(len(volume), 3, 4)
        at = F.affine_grid(theta, list(volume.shape), align_corners=False)
        turned = F.grid_sample(volume, at, padding_mode="zeros", align_corners=False)
        filters.append(turned.mean(dim=2)[:, 0])
    return torch.stack(filters)


@pytest.mark.parametrize("size", [1, 4, 5, 9])
@pytest.mark.parametrize("grid", [RotationGrid(5, 4), RotationGrid(3, 3)])
def test_voxel_operator_equals_rotating_and_projecting(size, grid):
    weight = torch.randn(3, size**3, requires_grad=True)
    reference_weight = weight.detach().clone().requires_grad_()
    filters = RotateProject(grid, size, "voxel")(weight)
    reference = naive(reference_weight, grid.matrices, size)
    torch.testing.assert_close(filters, reference, atol=1e-13, rtol=0)
    gradient = torch.randn_like(filters)
    filters.backward(gradient)
    reference.backward(gradient)
    torch.testing.assert_close(weight.grad, reference_weight.grad, atol=1e-12, rtol=0)


@pytest.mark.parametrize("basis", ["voxel", "blob"])
def test_sparse_operator_equals_dense(basis, monkeypatch):
    grid = RotationGrid(4, 8)
    dense = RotateProject(grid, 7, basis)
    monkeypatch.setattr(projection, "DENSE_LIMIT", 0)
    sparse = RotateProject(grid, 7, basis)
    assert sparse.sparse and not dense.sparse
    weight = torch.randn(2, dense.n_weights, requires_grad=True)
    torch.testing.assert_close(sparse(weight), dense(weight), atol=1e-13, rtol=0)
    assert torch.autograd.gradcheck(sparse, weight)


@pytest.mark.parametrize("basis", ["voxel", "blob"])
def test_gradient_of_the_dense_operator(basis):
    operator = RotateProject(RotationGrid(2, 4), 5, basis)
    assert torch.autograd.gradcheck(operator, torch.randn(2, operator.n_weights).requires_grad_())


@pytest.mark.parametrize("basis", ["voxel", "blob"])
def test_a_point_lands_where_the_rotation_sends_it(basis):
    size, grid = 15, RotationGrid(6, 4)
    positions, place = basis_positions(size, basis), torch.tensor([2.3, -1.6, 0.7])
    weight = torch.exp(-(positions - place).square().sum(dim=1) / (2 * 1.2**2))[None]
    filters = RotateProject(grid, size, basis)(weight)[:, 0]
    for r, image in zip(grid.matrices, filters, strict=True):
        y, x = np.array(center_of_mass(image.numpy())) - (size - 1) / 2
        assert (x, y) == pytest.approx(tuple((r @ place)[:2].tolist()), abs=0.03)


@pytest.mark.parametrize("basis", ["voxel", "blob"])
def test_the_mean_along_z_keeps_the_mass(basis):
    size, grid = 13, RotationGrid(6, 4)
    positions = basis_positions(size, basis)
    weight = torch.exp(-positions.square().sum(dim=1) / 8)[None]
    total = RotateProject(grid, size, basis)(weight).sum(dim=(1, 2, 3))
    torch.testing.assert_close(
        total, torch.full_like(total, float(weight.sum()) / size), rtol=1e-2, atol=0
    )


@pytest.mark.parametrize("basis", ["voxel", "blob"])
def test_quarter_turn_of_psi_is_rot90(basis):
    grid = RotationGrid(5, 8)
    operator = RotateProject(grid, 7, basis)
    filters = operator(torch.randn(2, operator.n_weights))
    turned = filters[grid.psi_shift(2)]
    torch.testing.assert_close(turned, torch.rot90(filters, 1, (-2, -1)), atol=1e-14, rtol=0)


@pytest.mark.parametrize("basis", ["voxel", "blob"])
def test_quarter_turn_holds_without_the_shortcut(basis):
    # psi = 0, 30, ... on 12 angles uses the shortcut; 3 directions x 6 angles does not
    full, half = RotationGrid(3, 12), RotationGrid(3, 6)
    weight = torch.randn(2, RotateProject(half, 5, basis).n_weights)
    every_second = RotateProject(full, 5, basis)(weight).reshape(3, 6, 2, 2, 5, 5)[:, :, 0]
    direct = RotateProject(half, 5, basis)(weight).reshape(3, 6, 2, 5, 5)
    torch.testing.assert_close(direct, every_second, atol=1e-12, rtol=0)


@pytest.mark.parametrize("basis", ["voxel", "blob"])
def test_mirror_of_the_rotation_flips_the_filter(basis):
    grid = RotationGrid(6, 4, antipodal=True)
    operator = RotateProject(grid, 7, basis)
    filters = operator(torch.randn(2, operator.n_weights))
    torch.testing.assert_close(filters[grid.mirror()], filters.flip(-2), atol=1e-7, rtol=0)


def cube_rotations() -> list[torch.Tensor]:
    found = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            m = torch.zeros(3, 3)
            for row, (column, sign) in enumerate(zip(order, signs, strict=True)):
                m[row, column] = sign
            if torch.linalg.det(m) > 0:
                found.append(m)
    return found


def rotate_cube(weight: torch.Tensor, s: torch.Tensor, size: int) -> torch.Tensor:
    """(s W)(p) = W(s^T p), exact for the rotations of a cube."""
    positions = basis_positions(size, "voxel")
    source = (positions @ s + (size - 1) / 2).round().long()
    x, y, z = source.unbind(dim=1)
    return weight[:, (z * size + y) * size + x]


def test_turning_the_weight_permutes_the_filters():
    """F_r(s W) = F_{r s}(W): shown on all 24 rotations of the cube, where turning is exact."""
    size = 5
    weight = torch.randn(2, size**3)
    rotations = random_rotations(4)
    assert len(cube_rotations()) == 24
    for s in cube_rotations():
        turned = naive(rotate_cube(weight, s, size), rotations, size)
        torch.testing.assert_close(turned, naive(weight, rotations @ s, size), atol=1e-13, rtol=0)
    # and on the operator: about z, the cube's quarter turns are in the group of an SO(2) grid
    grid = RotationGrid.so2(8)
    operator = RotateProject(grid, size, "voxel")
    turn = euler_to_matrix(0, 0, 90)
    torch.testing.assert_close(
        operator(rotate_cube(weight, turn, size)),
        operator(weight)[grid.psi_shift(2)],
        atol=1e-13,
        rtol=0,
    )


def in_plane_error(basis: str, size: int) -> float:
    """How far a 45 degree turn of psi is from turning the filter image (blurred, inner disc)."""
    grid = RotationGrid(32, 8)
    operator = RotateProject(grid, size, basis)
    filters = operator(torch.randn(8, operator.n_weights))
    reach = torch.arange(-9.0, 10.0)
    blur = torch.exp(-(reach**2) / (2 * 1.2**2))
    padded = F.pad(filters.flatten(0, 1)[:, None], (12,) * 4)
    smooth = F.conv2d(
        F.conv2d(padded, blur[None, None, None] / blur.sum(), padding=(0, 9)),
        blur[None, None, :, None] / blur.sum(),
        padding=(9, 0),
    )
    smooth = smooth[:, 0].reshape(len(grid), 8, *smooth.shape[-2:])
    # the filter at psi + 45 equals the image turned as rot90(+1) does, half as far
    c = s = 0.5**0.5
    theta = torch.tensor([[c, -s, 0.0], [s, c, 0.0]])
    at = F.affine_grid(
        theta.expand(len(grid), 2, 3), [len(grid), 8, *smooth.shape[-2:]], align_corners=False
    )
    turned = F.grid_sample(smooth, at, mode="bicubic", align_corners=False)
    expected = smooth[grid.psi_shift(1)]
    return float((turned - expected).norm() / expected.norm())


def test_blobs_turn_ten_times_more_faithfully_than_voxels():
    blob, voxel = in_plane_error("blob", 9), in_plane_error("voxel", 9)
    assert blob < 0.06
    assert voxel > 0.3
    assert voxel > 7 * blob


def test_blobs_take_a_third_of_the_weights():
    assert len(basis_positions(9, "blob")) == 257
    assert len(basis_positions(7, "blob")) == 123
    assert len(basis_positions(5, "blob")) == 33


@pytest.mark.parametrize("basis", ["voxel", "blob"])
def test_matched_filters_find_the_rotation(basis):
    """A clean image of an asymmetric volume answers most in the map of its own rotation."""
    size, grid = 13, RotationGrid(12, 8)
    operator = RotateProject(grid, size, basis)
    positions = basis_positions(size, basis)
    centres = torch.randn(6, 3) * 2.0
    weight = torch.exp(-torch.cdist(positions, centres).square() / 3).sum(dim=1)
    filters = operator(weight[None]).flatten(1)
    filters = filters - filters.mean(dim=1, keepdim=True)
    filters = filters / filters.norm(dim=1, keepdim=True)
    assert (filters @ filters.T).argmax(dim=1).tolist() == list(range(len(grid)))
    near = grid.neighbour_weights() > 0
    cosine = filters @ filters.T
    assert float(cosine[near].mean()) > float(cosine[~near].mean()) + 0.1


@pytest.mark.parametrize("bad", [{"size": 0}, {"basis": "wavelet"}])
def test_nonsense_is_refused(bad):
    with pytest.raises(ValueError):
        RotateProject(RotationGrid(2, 4), **{"size": 5, **bad})


def test_projections_match_relions(data_dir):
    """RELION's own projections of a map, at the angles in its STAR file."""
    volume = mrcfile.read(data_dir / "maps/published/aspire_70S_65.mrc").astype(np.float64)
    images = mrcfile.read(data_dir / "particle_stacks/rln_proj_65.mrcs").astype(np.float64)
    angles = starfile.read(data_dir / "particle_stacks/rln_proj_65.star")
    r = euler_to_matrix(angles["rlnAngleRot"], angles["rlnAngleTilt"], angles["rlnAnglePsi"])
    ours = naive(torch.from_numpy(volume).reshape(1, -1), r, len(volume))[:, 0].numpy()
    # With an odd box, RELION's projections lie one pixel down and right of the box's middle.
    for image, projection_ in zip(images, np.roll(ours, (1, 1), (1, 2)), strict=True):
        assert np.corrcoef(projection_.ravel(), image.ravel())[0, 1] > 0.98
