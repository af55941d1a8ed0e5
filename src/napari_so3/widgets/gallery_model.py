"""The candidates of a gallery: which, in what order, and what is drawn for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QAbstractListModel, QModelIndex, QRect, QSize, Qt
from qtpy.QtGui import QColor, QPen
from qtpy.QtWidgets import QStyle, QStyledItemDelegate
from scipy.special import expit

from napari_so3.session.choice import SAME
from napari_so3.session.marks import Marks
from napari_so3.widgets.crops import SIZE, Place
from napari_so3.widgets.mark_layers import COLOURS
from napari_so3.widgets.threshold_box import probability_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from qtpy.QtGui import QPainter
    from qtpy.QtWidgets import QStyleOptionViewItem

    from napari_so3.session.proposals import Proposal
    from napari_so3.session.state import Session
    from napari_so3.widgets.crops import Crops

CHUNK = 2000  # candidates that are sorted and shown at first, and as many again on reaching the end
_FRAME, _TEXT = 4, 16  # pixels
CELL = QSize(SIZE + 2 * _FRAME + 2, SIZE + 2 * _FRAME + _TEXT + 2)
_ROOT = QModelIndex()


@dataclass(frozen=True)
class Item:
    """A candidate in the gallery.

    Parameters
    ----------
    place : Place
        Where it is.
    logit : float
        AL1 log-odds.
    why : str
        Why it is proposed, if it is.
    """

    place: Place
    logit: float
    why: str = ""


def best(keys: NDArray[np.float32], before: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Continue a list of the indices of the smallest keys.

    Parameters
    ----------
    keys : ndarray
        (N,); inf is left out.
    before : ndarray
        What is listed already.
    n : int
        How many more at most.

    Returns
    -------
    ndarray
        Longer list, whose beginning is the one of before.
    """
    size = min(len(before) + n, len(keys))
    found = np.argpartition(keys, size - 1)[:size] if size else np.zeros(0, dtype=np.int64)
    new = np.setdiff1d(found[np.isfinite(keys[found])], before)
    return np.concatenate([before, new[np.argsort(keys[new], kind="stable")]])


class GalleryModel(QAbstractListModel):
    """Lists candidates without making an object of each.

    Parameters
    ----------
    session : Session
        Where they come from.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._items: list[Item] = []
        self._keys = np.zeros(0, dtype=np.float32)
        self._order = np.zeros(0, dtype=np.int64)
        self._flat = session.pool.flat
        self._names: tuple[str, ...] = ()
        self._first = self._there = 0
        self._labels: dict[str, tuple[NDArray[np.float64], list[str]]] = {}

    def show_proposals(self, proposals: Sequence[Proposal]) -> None:
        """List proposals, in their order."""
        self.beginResetModel()
        self._order, self._there = np.zeros(0, np.int64), 0
        self._items = [Item(Place(p.micrograph, p.y, p.x), p.logit, p.why) for p in proposals]
        self.endResetModel()

    def show_candidates(self, name: str, uncertain: bool) -> None:
        """List the candidates of a micrograph, or of all if the name is empty.

        Parameters
        ----------
        name : str
            Micrograph.
        uncertain : bool
            Whether those near the threshold come first, or else those with the highest score.
            Candidates in excluded areas, hidden views and the margin are left out.
        """
        session, choice = self._session, self._session.choice()
        flat, names = session.pool.flat, session.names
        areas = {each: Marks(areas=session.marks.of(each).areas) for each in session.marks}
        scores = choice.scores(flat, names, areas)
        limits = np.array([choice.limit(each) for each in names], dtype=np.float32)
        part = slice(None)
        if name:
            index = names.index(name)
            part, limits = slice(*flat.start[index : index + 2]), limits[index]
        else:
            limits = limits[flat.owner]
        scores = scores[part]
        self.beginResetModel()
        self._items, self._names, self._flat = [], names, flat
        self._first = part.start or 0
        self._keys = np.abs(scores - limits) if uncertain else -scores
        self._there = int(np.isfinite(self._keys).sum())
        self._order = best(self._keys, np.zeros(0, np.int64), CHUNK)
        self.endResetModel()

    def rowCount(self, parent: QModelIndex = _ROOT) -> int:
        """Count what is listed by now."""
        return 0 if parent.isValid() else len(self._items) or len(self._order)

    def canFetchMore(self, parent: QModelIndex) -> bool:
        """Tell whether there is more to list."""
        return not parent.isValid() and len(self._order) < self._there

    def fetchMore(self, parent: QModelIndex) -> None:
        """List more."""
        order = best(self._keys, self._order, CHUNK)
        self.beginInsertRows(parent, len(self._order), len(order) - 1)
        self._order = order
        self.endInsertRows()

    def item(self, row: int) -> Item:
        """Give a row."""
        if self._items:
            return self._items[row]
        i, flat = self._first + self._order[row], self._flat
        place = Place(self._names[flat.owner[i]], float(flat.y[i]), float(flat.x[i]))
        return Item(place, float(flat.logit[i]))

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Give the probability, or the tool tip."""
        item = self.item(index.row())
        if role == Qt.ItemDataRole.DisplayRole:
            return _short_probability(item.logit)
        if role == Qt.ItemDataRole.ToolTipRole:
            what = self.label_of(item.place) or "no label"
            score = f"P = {probability_text(item.logit)}, log-odds {item.logit:.1f}"
            lines = (f"{item.place.micrograph}, {what}", score, item.why)
            return "\n".join(filter(None, lines))
        return None

    def label_of(self, place: Place) -> str:
        """Kind of the label of a candidate; empty if it has none."""
        name = place.micrograph
        if name not in self._labels:
            marks = self._session.marks.of(name)
            self._labels[name] = marks.points(), [mark.kind for mark in marks.marks]
        points, kinds = self._labels[name]
        if not kinds:
            return ""
        candidates = self._session.pool.get(name)
        size = 1.0 if candidates is None else candidates.pixel_size
        away = np.linalg.norm(points - (place.y, place.x), axis=1)
        near = SAME * self._session.diameter / size
        return kinds[away.argmin()] if away.min() <= near + 1e-6 else ""

    def forget_labels(self, name: str) -> None:
        """Look the labels of a micrograph up anew."""
        self._labels.pop(name, None)


class CropDelegate(QStyledItemDelegate):
    """Draws a candidate: picture, probability, and a frame in the colour of its label.

    Parameters
    ----------
    model : GalleryModel
        Knows the candidates.
    crops : Crops
        Gives the pictures.
    """

    def __init__(self, model: GalleryModel, crops: Crops) -> None:
        super().__init__()
        self._model, self._crops = model, crops

    def sizeHint(self, _option: QStyleOptionViewItem, _index: QModelIndex) -> QSize:
        """All cells are alike."""
        return CELL

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        """Draw; a picture that is not there yet is a grey square."""
        item = self._model.item(index.row())
        picture = self._crops.get(item.place)
        corner = option.rect.topLeft()
        frame = QRect(corner.x() + 1, corner.y() + 1, SIZE + 2 * _FRAME, SIZE + 2 * _FRAME)
        painter.save()
        if option.state & QStyle.StateFlag.State_Selected:
            painter.fillRect(option.rect, option.palette.highlight())
        inner = frame.adjusted(_FRAME, _FRAME, -_FRAME, -_FRAME)
        if picture is None:
            painter.fillRect(inner, QColor("#606060"))
        else:
            painter.drawImage(inner, picture)
        label = self._model.label_of(item.place)
        if label:
            painter.setPen(QPen(QColor(COLOURS[label]), _FRAME))
            painter.drawRect(frame.adjusted(2, 2, -2, -2))
        painter.setPen(option.palette.text().color())
        below = QRect(frame.left(), frame.bottom(), frame.width(), _TEXT)
        painter.drawText(below, Qt.AlignmentFlag.AlignCenter, index.data())
        painter.restore()


def _short_probability(log_odds: float) -> str:
    """Write a probability below a picture; the hint says it as exactly as one likes."""
    probability = float(expit(log_odds))
    if probability > 0.9995:
        return "> 0.999"
    return f"{probability:.3f}" if probability >= 0.0005 else "< 0.001"
