"""Several cores: chunks of patients in worker processes, each with a JAX of its own.

Workers are spawned and never forked, because JAX's threads do not survive a fork. Each loads the model by its folder, for a
System cannot travel between processes, and computes on one core, so that k of them do not fight over k cores. Nothing here
imports JAX: a worker reads this file before it sets what must be set before JAX loads.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pbpk.errors import BadInput, ScienceFailed

if TYPE_CHECKING:
    from pbpk.model.load import Model

_AHEAD = 3  # tasks waiting for each worker: enough that none idles, few enough that memory stays bounded


class WorkerPool:
    """`with WorkerPool(model, 4) as run:` gives a runner as `chunks.solve_in_this_process` does: tasks in, their results in
    order out. Raises `BadInput` for a model that workers cannot load, `ScienceFailed` where a worker ends early."""

    def __init__(self, model: Model, processes: int, engine: str | None = None):
        _require_folder(model)
        self.engine = engine
        self.model, self.processes = (model.folder, dict(model.options)), processes

    def __enter__(self):
        self.before = set(multiprocessing.active_children())
        context = multiprocessing.get_context("spawn")
        self.pool = ProcessPoolExecutor(
            self.processes, mp_context=context, initializer=_initialise_worker, initargs=(self.engine,)
        )
        return self.run

    def run(self, tasks: Iterable[Any]) -> Iterator[Any]:
        """The tasks' results in their order; a few tasks for each worker are submitted ahead of the result that is read."""
        waiting: deque[Future] = deque()
        try:
            for task in tasks:
                with _block_interrupts():
                    waiting.append(self.pool.submit(_solve_task, self.model, task))
                if len(waiting) >= _AHEAD * self.processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as e:
            raise ScienceFailed(
                "a worker process ended before its patients were solved",
                why="It was killed, often for want of memory, or could not start.",
                hint='fewer processes, or smaller chunks; a script needs `if __name__ == "__main__":` around its calls',
            ) from e

    def __exit__(self, kind, error, trace) -> None:
        if kind is not None:  # interrupted, or a worker lost: what the others still compute is of no use
            workers = set(multiprocessing.active_children()) - self.before
            for worker in workers:
                worker.terminate()
            for worker in workers:
                worker.join(5)
            # A worker cut off in the middle of a result leaves the pool waiting for the rest of it, for ever, as long as
            # this process holds the pipe's other end.
            with suppress(AttributeError, OSError):
                self.pool._result_queue._writer.close()  # type: ignore[attr-defined]
        self.pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _block_interrupts():
    """Workers start in `submit` and inherit a blocked Ctrl-C: it is the parent's to handle, and they would print tracebacks."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _require_folder(model: Model) -> None:
    """Raises `BadInput` unless loading the model's folder again gives the same System."""
    from pbpk.model.load import load_model

    if (model.folder / "structure.py").exists() and load_model(
        model.folder, options=model.options
    ).system is model.system:
        return
    raise BadInput(
        "cannot be solved in several processes",
        where=f"model `{model.name}`",
        why="Workers load a model from its folder, and this one was built in Python or its folder has changed since.",
        hint="processes=1, or put the model into a folder and load it from there",
    )


def _initialise_worker(engine: str | None) -> None:
    """A worker's settings. Ctrl-C stops the parent, which ends its workers; where the parent is gone they end themselves."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()
    os.environ["NPROC"] = "1"  # the size of XLA's pool of threads
    os.environ["JAX_PLATFORMS"] = "cpu"
    if engine:
        os.environ["PBPK_ENGINE"] = engine
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    """End this worker when its parent has ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _solve_task(model: tuple[Path, dict[str, str]], task: Any) -> Any:
    """In a worker: one task's result, as NumPy arrays, since JAX's do not travel."""
    import jax
    import numpy as np

    from pbpk.model.load import load_model
    from pbpk.population.batch import solve_batch

    return jax.tree.map(np.asarray, solve_batch(load_model(model[0], options=model[1]).system, *task))
