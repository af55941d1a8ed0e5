"""A process that imports once and forks workers, which the test kills whenever it likes.

Reads lines ``VERB FOLDER ACKNOWLEDGED SEED``, forks a worker and prints its process number. The
worker appends a line to the file ACKNOWLEDGED when an action is over.
"""

import os
import signal
import sys
import threading
import traceback
from pathlib import Path

import numpy as np

from napari_so3.session.pool import load_run
from napari_so3.session.state import Session
from napari_so3.training import teach
from napari_so3.widgets.engine import Engine, Problem
from napari_so3.widgets.pick_job import Failed, Picked, PickJob, RunChosen
from napari_so3.widgets.teach_engine import TeachJob, labelled, teach_session


def act(session, rng):
    """Mark, erase, undo, redo or move a threshold."""
    name = session.names[rng.integers(len(session.names))]
    at = rng.integers(0, 1000, (1, 2))
    action = rng.integers(7)
    if action < 3:
        session.marks.mark(name, ("positive", "negative", "ignored")[action], at, near=30)
    elif action == 3:
        session.marks.erase(name, at, near=300)
    elif action == 4:
        session.marks.undo()
    elif action == 5:
        session.marks.redo()
    else:
        session.override(name, float(rng.normal()))


def label(folder, acknowledge, seed):
    """Act for ever."""
    session, rng = Session(), np.random.default_rng(seed)
    session.open(folder)
    while True:
        act(session, rng)
        acknowledge("done")


def summary(session):
    """All labels and thresholds, in one line."""
    labels = {name: sorted(session.marks.of(name).marks) for name in sorted(session.names)}
    return f"{labels} {sorted(session.overrides.items())}"


def pick(folder, acknowledge, _):
    """Pick all micrographs that are not picked yet."""
    session = Session()
    session.open(folder)
    for name, candidates in picking(session):
        session.pool.put(name, candidates)
        acknowledge(name)


def picking(session):
    """Pick what is not picked yet; give each name and its candidates."""
    items = {}
    if session.run:
        for loading in load_run(session.run_folder, session.names):
            items |= loading.items
    job = PickJob(
        root=session.folder,
        paths=dict(session.paths),
        names=session.names,
        which="unpicked",
        run=session.run,
        picked=frozenset(items),
        model=session.model,
        diameter=session.diameter,
        pixel_size=None,
        threshold=None,
        device="cpu",
    )
    for event in Engine().pick_session(job):
        if isinstance(event, RunChosen):
            session.set_run(event.run)
        elif isinstance(event, Picked):
            yield event.name, event.candidates
        elif isinstance(event, Problem | Failed):
            raise RuntimeError(event)


def train(folder, acknowledge, _):
    """Train on all labels."""
    session = Session()
    session.open(folder)
    for event in training(session):
        acknowledge(type(event).__name__)


def training(session):
    """Train on all labels, in few and short epochs; give what the training tells."""
    teach.STEPS_PER_EPOCH, teach.TeachSettings.FINE_TUNING = 5, 20
    marks = labelled(session)
    job = TeachJob(
        folder=session.folder,
        paths={name: session.paths[name] for name in marks},
        marks=marks,
        model=session.model,
        diameter=session.diameter,
        pixel_size=None,
        device="cpu",
        name="learnt",
        from_scratch=False,
        enough=threading.Event(),
    )
    for event in teach_session(job):
        if isinstance(event, Problem):
            raise RuntimeError(event)
        yield event


VERBS = {"label": label, "pick": pick, "train": train}


def main():
    """Fork a worker for every line."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    for line in sys.stdin:
        verb, folder, acknowledged, seed = line.rstrip("\n").split("\t")
        pid = os.fork()
        if pid:
            print(pid, flush=True)
            continue
        work(verb, Path(folder), acknowledged, int(seed))


def work(verb, folder, acknowledged, seed):
    """Do what is asked, and leave the process."""
    file = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        VERBS[verb](folder, lambda text: os.write(file, f"{text}\n".encode()), seed)
    except BaseException:
        os.write(file, f"FAILED {traceback.format_exc()}".encode())
    finally:
        os._exit(1)


if __name__ == "__main__":
    main()
