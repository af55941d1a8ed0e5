"""Particle picking in cryo-EM micrographs with SO(3)-equivariant networks, for napari."""

__version__ = "0.1.0"
