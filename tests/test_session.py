import gc
import weakref

import pytest

from napari_so3.session import Session, session_of


class _Viewer:
    """Stands for a napari viewer, which can be weakly referenced and hashed."""


class _Proxy:
    """Stands for the proxy that napari hands to plugins."""

    def __init__(self, viewer):
        self.__wrapped__ = viewer


def test_all_docks_of_a_viewer_share_a_session():
    viewer = _Viewer()
    session = session_of(viewer, diameter=90.0)
    assert session.diameter == 90.0
    assert session_of(viewer, diameter=120.0) is session
    assert session_of(_Proxy(viewer)) is session
    assert session.diameter == 90.0


def test_a_session_made_through_a_proxy_outlives_it():
    viewer = _Viewer()
    proxy = _Proxy(viewer)
    session = session_of(proxy)
    del proxy
    gc.collect()
    assert session_of(viewer) is session


def test_viewers_do_not_share_a_session():
    first, second = _Viewer(), _Viewer()
    session_of(first).diameter = 80.0
    assert session_of(second).diameter == Session().diameter


def test_a_session_dies_with_its_viewer():
    viewer = _Viewer()
    session = weakref.ref(session_of(viewer))
    del viewer
    gc.collect()
    assert session() is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("model", "other"), ("diameter", 99.0), ("threshold", 1.5), ("device", "cpu")],
)
def test_every_change_is_told_once(name, value):
    session, heard = Session(), []
    getattr(session.events, name).connect(heard.append)
    setattr(session, name, value)
    setattr(session, name, value)
    assert heard == [value]
