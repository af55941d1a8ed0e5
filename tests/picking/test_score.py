from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from napari_so3.picking import score
from napari_so3.picking.picker import load_picker
from napari_so3.picking.preprocess import WorkingImage
from napari_so3.picking.score import ScoreMaps, Scorer, pad_reflect

CPU = torch.device("cpu")


@pytest.fixture
def net(tiny_model):
    return load_picker(tiny_model).net


def working(shape, seed=0):
    pixels = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return WorkingImage(pixels, (1.0, 1.0), (4.0, 4.0))


def run(net, image, **options) -> ScoreMaps:
    *progress, maps = Scorer(net, CPU, 2).score(image, **options)
    assert progress[-1].done == progress[-1].total
    return maps


class Kept:
    """Logits of every rotation."""

    def __init__(self, net, image):
        self.shape = (len(net.config.grid), *((n - 1) // net.config.stride + 1 for n in image))
        self.values = np.full(self.shape, np.nan, np.float16)

    def write(self, rotations, rows, cols, values):
        self.values[rotations, rows, cols] = values


def test_a_map_pixel_belongs_to_the_working_pixel_at_twice_its_index(net):
    image = working((61, 70))
    maps = run(net, image)
    assert maps.logits.shape == (31, 35)
    field = net.config.receptive_field
    half = field // 2
    for i, j in [(8, 9), (15, 20), (20, 24)]:
        y, x = maps.step * i, maps.step * j
        patch = image.pixels[y - half : y - half + field, x - half : x - half + field]
        with torch.no_grad():
            expected = float(net(patch[None, None]))
        assert maps.logits[i, j] == pytest.approx(expected, abs=1e-4)


def test_tiles_have_no_seams(net, monkeypatch):
    image = working((120, 97))
    kept, tiles = Kept(net, image.pixels.shape), Kept(net, image.pixels.shape)
    whole = run(net, image, keep=kept)
    monkeypatch.setattr(score, "TILE", 16)
    tiled = run(net, image, keep=tiles)
    np.testing.assert_allclose(tiled.logits, whole.logits, atol=1e-5)
    np.testing.assert_allclose(tiles.values, kept.values, atol=2e-3, rtol=2e-3)
    assert (tiled.best_rotation == whole.best_rotation).mean() > 0.99


@pytest.mark.parametrize("length", [1, 15, 16, 17, 32, 33, 257])
def test_cuts_cover_the_length_in_pieces_of_nearly_one_size(length):
    pieces = score.cut(length, 16)
    assert [i for piece in pieces for i in range(length)[piece]] == list(range(length))
    sizes = [piece.stop - piece.start for piece in pieces]
    assert max(sizes) <= 16
    assert max(sizes) - min(sizes) <= 1
    assert len(pieces) == -(-length // 16)


def test_best_rotation_is_the_largest_of_the_kept_logits(net):
    kept = Kept(net, (64, 64))
    maps = run(net, working((64, 64)), keep=kept)
    best = np.take_along_axis(kept.values, maps.best_rotation[None].astype(int), axis=0)
    np.testing.assert_array_equal(best[0], kept.values.max(axis=0))
    assert len(np.unique(maps.best_rotation)) > 4


def test_quarter_turns_and_mirrors_turn_the_map(net):
    image = working((65, 65))
    maps = run(net, image)
    turned = run(net, WorkingImage(torch.rot90(image.pixels), (1, 1), (4, 4)))
    np.testing.assert_allclose(turned.logits, np.rot90(maps.logits), atol=1e-4)


def test_threads_that_begin_later_compute_with_all_cores(net):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        run(net, working((60, 60)))
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == 3
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("shape", [(3, 40), (1, 1), (2, 2), (50, 7)])
def test_images_smaller_than_the_field_are_scored(net, shape):
    maps = run(net, working(shape))
    assert maps.logits.shape == tuple((n - 1) // 2 + 1 for n in shape)
    assert np.isfinite(maps.logits).all()


def test_padding_reflects_without_end():
    row = torch.arange(3.0)[None].expand(3, 3)
    padded = pad_reflect(row, 5)
    assert padded[0].tolist() == [1, 0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2, 1][0:13]
    assert pad_reflect(torch.ones(1, 4), 3).shape == (7, 10)


def test_gpu_out_of_memory_halves_the_chunk_and_then_takes_the_cpu(net, monkeypatch):
    image = working((64, 64))
    expected = run(net, image).logits
    chunks = []
    scorer = Scorer(net, CPU, 2)
    honest = scorer._dense

    class FullGpu:
        def stream(self, patch, chunk, keep):
            chunks.append(chunk)
            raise torch.OutOfMemoryError("CUDA out of memory")
            yield

    monkeypatch.setattr(score, "DenseScorer", lambda *_: honest)
    scorer._dense = FullGpu()
    *progress, maps = scorer.score(image)
    assert chunks == [16, 8, 4, 2, 1]
    np.testing.assert_array_equal(maps.logits, expected)
    assert "CPU" in progress[-1].note
    assert scorer.device == CPU


def test_gpu_chunks_fit_the_free_memory(net, monkeypatch):
    image = working((64, 64))
    scorer = Scorer(net, CPU, 2)
    honest, chunks = scorer._dense, []
    each = honest.bytes_per_rotation(64 + 18, 64 + 18)

    def stream(patch, chunk, keep):
        chunks.append(chunk)
        yield from honest.stream(patch, chunk, keep)

    scorer._dense = SimpleNamespace(stream=stream, bytes_per_rotation=lambda *_: each)
    scorer.device = SimpleNamespace(type="cuda")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (5.5 * each / score.GPU_SHARE, 0))
    list(scorer.score(image))
    assert chunks == [5]


def test_memory_of_a_rotation_is_that_of_its_maps(net):
    dense = Scorer(net, CPU)._dense
    shapes = []
    x = torch.randn(1, 1, 60, 70)
    for layer in (net.lift, net.conv2, net.conv3, net.head):
        x = layer(x)
        shapes.append(x[0, 0].numel())
    assert dense.bytes_per_rotation(60, 70) == 4 * sum(shapes)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_finds_the_peaks_of_the_cpu(net):
    image = working((256, 256))
    cpu, kept = run(net, image).logits, Kept(net, (256, 256))
    *_, maps = Scorer(net, torch.device("cuda")).score(image, keep=kept)
    best = np.take_along_axis(kept.values, maps.best_rotation[None].astype(int), axis=0)
    np.testing.assert_array_equal(best[0], kept.values.max(axis=0))
    assert np.corrcoef(cpu.ravel(), maps.logits.ravel())[0, 1] > 0.999
