import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_so3.session.marks import KINDS, Edit, Mark, Marks, MarkStore, make_area

SQUARE = make_area([[0, 0], [0, 10], [10, 10], [10, 0]])


@pytest.fixture
def store():
    return MarkStore()


def test_a_mark_replaces_what_is_near_and_leaves_the_rest(store):
    store.mark("a", "positive", [[10, 10], [50, 50]], near=4)
    store.mark("a", "negative", [[11, 12]], near=4)
    assert store.of("a").marks == (Mark("positive", 50, 50), Mark("negative", 11, 12))
    assert store.of("b") == Marks()


def test_marking_again_what_is_marked_is_no_edit(store):
    store.mark("a", "positive", [[10, 10]], near=4)
    store.mark("a", "positive", [[10, 10]], near=4)
    store.undo()
    assert store.of("a").marks == () and not store.can_undo


def test_erasing_takes_only_what_is_near(store):
    store.mark("a", "positive", [[10, 10], [50, 50]], near=4)
    store.erase("a", [[12, 10]], near=2)
    assert store.of("a").marks == (Mark("positive", 50, 50),)
    store.erase("a", [[0, 0]], near=2)  # nothing there: no edit
    assert store.undo() == "a"
    assert len(store.of("a").marks) == 2


def test_many_marks_at_once_are_one_edit(store):
    store.mark("a", "positive", np.arange(40).reshape(20, 2) * 10, near=1)
    assert store.undo() == "a"
    assert store.of("a").marks == ()


def test_areas_are_edits_too(store):
    store.set_areas("a", [SQUARE])
    store.set_areas("a", [])
    assert store.of("a").areas == ()
    store.undo()
    assert store.of("a").areas == (SQUARE,)


actions = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(KINDS),
            st.sampled_from("ab"),
            st.integers(0, 12),
            st.integers(0, 12),
        ),
        st.tuples(st.just("erase"), st.sampled_from("ab"), st.integers(0, 12), st.integers(0, 12)),
        st.just(("undo",)),
        st.just(("redo",)),
    ),
    max_size=30,
)


def play(store, action):
    if action[0] in ("undo", "redo"):
        getattr(store, action[0])()
    elif action[0] == "erase":
        store.erase(action[1], [action[2:]], near=2.5)
    else:
        store.mark(action[1], action[0], [action[2:]], near=2.5)


def state(store):
    return {name: set(store.of(name).marks) for name in "ab"}


@given(actions)
def test_undoing_everything_gives_nothing_and_redoing_it_gives_it_again(done):
    store = MarkStore()
    for action in done:
        play(store, action)
    after = state(store)
    undone = 0
    while store.undo():
        undone += 1
    assert state(store) == {"a": set(), "b": set()}
    for _ in range(undone):
        store.redo()
    assert state(store) == after


@given(actions)
def test_replaying_the_edits_gives_the_same_marks(done):
    store, again = MarkStore(), MarkStore()
    store.edited.connect(lambda edit: again.restore(Edit.from_record(edit.to_record())))
    for action in done:
        play(store, action)
    for name in "ab":
        assert store.of(name) == again.of(name)


def test_labels_of_a_training(store):
    store.mark("a", "positive", [[1, 2]], near=1)
    store.mark("a", "negative", [[3, 4]], near=1)
    store.mark("a", "ignored", [[50, 60]], near=1)
    store.set_areas("a", [SQUARE])
    store.set_complete("a", True)
    labels = store.of("a").to_labels(radius=7.0)
    assert labels.positives.tolist() == [[1, 2]]
    assert labels.negatives.tolist() == [[3, 4]]
    assert labels.ignored_discs.tolist() == [[50, 60, 7]]
    assert labels.ignored_polygons[0].tolist() == [list(corner) for corner in SQUARE]
    assert labels.complete
