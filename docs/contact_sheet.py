"""Draw simulated micrographs, beside real ones where there are, for a person to compare.

Usage: ``python docs/contact_sheet.py [DATA] [-o PICTURE]``. Without DATA the picture of the
documentation is made, which shows simulated particles only; no real micrograph is ever committed.
With DATA it also prints how the radially averaged power spectra compare, real : simulated.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
import typer
from PIL import Image, ImageDraw

from napari_so3.io.micrographs import read_micrograph
from napari_so3.picking.preprocess import blur, fourier_resample
from napari_so3.simulation.ctf import CTF
from napari_so3.simulation.density import barrel, random_protein
from napari_so3.simulation.micrograph import SimulationConfig, simulate_micrograph
from napari_so3.simulation.volume import read_density

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_so3.simulation.density import Particle

PICTURE = Path(__file__).parent / "images" / "simulated.png"
EDGE, GAP, CAPTION = 300, 6, 16
SHADES = 8
TILE = 64  # of the power spectra, pixels


@dataclass(frozen=True)
class Row:
    """A real data set and a simulation of the same particle.

    Parameters
    ----------
    caption : str
        Name of the set.
    micrographs : str
        Folder of it below the data folder.
    density : str
        Map below the data folder.
    pixel_size, shown : float
        Å per pixel of the files, and of the picture.
    rim : int
        Pixels at the border of the files that are no image.
    config : SimulationConfig
        What is simulated.
    softness : float
        Standard deviation in pixels of the blur of both, for a set that was denoised; or 0.
    """

    caption: str
    micrographs: str
    density: str
    pixel_size: float
    shown: float
    rim: int
    config: SimulationConfig
    softness: float = 0.0


def _config(pixel_size: float, n: int, snr: float, defocus: float, **more) -> SimulationConfig:
    ctf = CTF(defocus_u=defocus, defocus_v=defocus - 300.0, b_factor=200.0)
    return SimulationConfig((EDGE, EDGE), pixel_size, n, snr, ctf=ctf, dose=40.0, **more)


ROWS = (
    Row(
        "apoferritin, EMPIAR-10146",
        "apoferritin_10146/micrographs",
        "maps/densities/6z6u_apoferritin.mrc",
        1.5,
        5.0,
        0,
        _config(5.0, 95, 0.9, 24_000.0, structure=0.4, ice_gradient=0.6, crowding=0.3),
    ),
    Row(
        "20S proteasome, EMPIAR-10025",
        "t20s_10025/micrographs",
        "maps/densities/1pma_T20S_proteasome_28chains.mrc",
        7.894,
        7.894,
        0,
        _config(7.894, 110, 0.8, 18_000.0, structure=0.4, ice_gradient=0.1, crowding=0.7),
    ),
    Row(
        "beta-galactosidase, EMPIAR-10017, denoised by its source",
        "bgal_10017/micrographs",
        "maps/published/ngl_betaGal_100.mrc",
        7.08,
        7.08,
        30,
        _config(7.08, 60, 0.25, 30_000.0, structure=0.7, ice_gradient=0.0, crowding=0.2),
        softness=2.5,
    ),
)
INVENTED = (("a barrel", None), ("a protein of 14 nm", 140.0), ("a protein of 26 nm", 260.0))


def real(data: Path, row: Row, which: int) -> NDArray[np.float32]:
    """Read the middle of a real micrograph at the scale of the picture."""
    path = sorted((data / row.micrographs).glob("*.mrc"))[which]
    image = read_micrograph(path, row.pixel_size).to_float32()
    image = image[row.rim : image.shape[0] - row.rim, row.rim : image.shape[1] - row.rim]
    scale = row.pixel_size / row.shown
    if scale != 1:
        image = fourier_resample(image, tuple(round(n * scale) for n in image.shape))
    top, left = ((n - EDGE) // 2 if n > EDGE else 0 for n in image.shape)
    return image[top : top + EDGE, left : left + EDGE]


def simulated(particle: Particle, config: SimulationConfig, seed: int) -> NDArray[np.float32]:
    """Simulate a crop."""
    return simulate_micrograph(particle, config, torch.Generator().manual_seed(seed)).image


def spectrum(image: NDArray[np.float32]) -> NDArray[np.float64]:
    """Radially averaged power of tiles, 1 at the highest frequencies."""
    window = np.outer(*[np.hanning(TILE)] * 2)
    tiles = np.lib.stride_tricks.sliding_window_view(image, (TILE, TILE))[::32, ::32]
    tiles = tiles - tiles.mean(axis=(2, 3), keepdims=True)
    power = np.median(np.abs(np.fft.fft2(tiles * window)) ** 2, axis=(0, 1))
    f = np.fft.fftfreq(TILE) * TILE
    ring = np.rint(np.hypot(f[:, None], f)).astype(int).ravel()
    mean = np.bincount(ring, power.ravel()) / np.bincount(ring)
    return mean[1 : TILE // 2] / mean[TILE // 2 - 6 : TILE // 2].mean()


def grey(image: NDArray[np.float32], softness: float) -> Image.Image:
    """Show an image without its extreme values, in few shades that keep the file small."""
    if softness:
        image = blur(image, softness)
    low, high = np.percentile(image, (0.5, 99.5))
    shades = np.clip(SHADES * (image - low) / (high - low), 0, SHADES - 1).astype(np.uint8)
    return Image.fromarray(shades * (255 // (SHADES - 1)))


def draw(panels: list[list[tuple[str, Image.Image]]]) -> Image.Image:
    """Lay panels out in rows, each under its caption."""
    step = EDGE + GAP
    width = max(len(row) for row in panels) * step - GAP
    sheet = Image.new("L", (width, len(panels) * (step + CAPTION)), 255)
    pen = ImageDraw.Draw(sheet)
    for i, row in enumerate(panels):
        for j, (caption, panel) in enumerate(row):
            corner = (j * step, i * (step + CAPTION))
            pen.text((corner[0] + 2, corner[1] + 2), caption, fill=0)
            sheet.paste(panel, (corner[0], corner[1] + CAPTION))
    return sheet


def beside_real(data: Path) -> Image.Image:
    """Two real and two simulated crops of each set, and their spectra printed."""
    panels = []
    for row in ROWS:
        particle = read_density(data / row.density)
        truly = [real(data, row, k) for k in (0, 3)]
        made = [simulated(particle, row.config, seed) for seed in (0, 1)]
        panels.append(
            [(f"{row.caption}: real", grey(image, row.softness)) for image in truly]
            + [("simulated", grey(image, row.softness)) for image in made]
        )
        both = [np.mean([spectrum(image) for image in half], axis=0) for half in (truly, made)]
        pairs = [f"{a:.1f}:{b:.1f}" for a, b in zip(*both, strict=True)][::3]
        typer.echo(f"{row.caption}: power from {TILE} pixels down to 2: {' '.join(pairs)}")
    return draw(panels)


def simulated_only() -> Image.Image:
    """Crops of invented particles: plain, crowded, and with everything that disturbs."""
    panels = []
    for i, (caption, diameter) in enumerate(INVENTED):
        generator = torch.Generator().manual_seed(11 + i)
        particle = barrel() if diameter is None else random_protein(generator, diameter)
        pixel_size = particle.diameter / 22
        others = [random_protein(generator, 0.7 * particle.diameter)]
        plain = _config(pixel_size, 40, 0.5, 18_000.0)
        crowded = _config(pixel_size, 60, 0.5, 24_000.0, crowding=0.8)
        disturbed = _config(
            pixel_size, 30, 0.5, 15_000.0, n_foreign=10, n_aggregates=2, n_contaminants=1,
            carbon=True,
        )  # fmt: skip
        panels.append(
            [
                (
                    f"{caption}: {text}",
                    grey(simulate_micrograph(particle, c, generator, others).image, 0),
                )
                for text, c in (("alone", plain), ("crowded", crowded), ("disturbed", disturbed))
            ]
        )
    return draw(panels)


def main(
    data: Annotated[Path | None, typer.Argument(help="Folder of the real data.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Picture to write.")] = PICTURE,
) -> None:
    """Draw simulated crops, and real ones beside them where there are."""
    if data is not None and output == PICTURE:
        raise typer.BadParameter("with real data, say where the picture goes: -o PICTURE")
    sheet = simulated_only() if data is None else beside_real(data)
    sheet.quantize(16).save(output, optimize=True)


if __name__ == "__main__":
    typer.run(main)
