"""Map a function over many items, on processes of this machine or on a dask cluster, with a progress bar.

`running` chooses where the work runs; `map_processes` returns the results in order. They do not depend on the choice.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from multiprocessing import get_context, parent_process
from typing import Any, Protocol, TypeVar

from mrct.core.errors import DataError, RunError
from mrct.terminal import track

Item = TypeVar("Item")
Result = TypeVar("Result")
_SECONDS_TO_CONNECT = 30


def worker_count() -> int:
    """Return the number of worker processes: MRCT_WORKERS, or the number of cores."""
    return int(os.environ.get("MRCT_WORKERS", 0)) or core_count()


def core_count() -> int:
    """Return the number of cores that this process may use: its affinity and the quota of its container count."""
    from joblib import cpu_count  # a fifth of a second; most commands need no workers

    return int(cpu_count())


class _Executor(Protocol):
    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]: ...

    def close(self) -> None: ...


_current: ContextVar[_Executor | None] = ContextVar("executor", default=None)


@contextmanager
def running(executor: str, scheduler: str = "") -> Iterator[None]:
    """Run `map_processes` inside the block on one pool of processes, or on a dask cluster.

    The cluster's workers need this package and the same paths (a shared file system). Items are sent to them, including
    the de-identification key and headers. Beyond one machine, use a tls:// address and switch spilling to disk off
    (distributed.worker.memory.target and .spill: false). Nothing is started before it is needed.

    Args:
        executor: Processes or dask.
        scheduler: Address of the dask scheduler.
    """
    chosen: _Executor = _Cluster(scheduler) if executor == "dask" else _Processes()
    token = _current.set(chosen)
    try:
        yield
    finally:
        _current.reset(token)
        chosen.close()


def map_processes(
    function: Callable[[Item], Result], items: Sequence[Item], description: str
) -> list[Result]:
    """Return [function(item) for item in items], computed by workers.

    `function` is a module-level function. It returns expected failures (a bad file, a patient who cannot be
    registered) as results, which are listed. An exception stops the run after the items in progress have ended.
    """
    executor = _current.get()
    if executor is None:
        with running("processes"):
            return map_processes(function, items, description)
    return list(track(executor.map(function, items), description, len(items)))


class _Processes:
    """One pool for all maps, because starting a worker costs about a second of imports."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        workers = worker_count()
        if min(workers, len(items)) <= 1:
            single_thread()
            yield from map(function, items)
            return
        # fork would copy the threads' locks of ITK and torch; spawn starts clean
        self._pool = self._pool or ProcessPoolExecutor(workers, get_context("spawn"), _start_worker)
        futures = [self._pool.submit(function, item) for item in items]
        try:
            for future in futures:
                yield future.result()
        except BrokenProcessPool:
            raise RunError(
                "a worker process ended abruptly, often because memory ran out; run again with fewer workers "
                f"(MRCT_WORKERS, now {workers})"
            ) from None
        finally:
            for future in futures:
                future.cancel()
            wait(futures)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    single_thread()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker with its run; otherwise it would wait forever, or write while the next run works."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class _Cluster:
    """A running dask cluster; the connection is made when the first item is mapped."""

    def __init__(self, scheduler: str) -> None:
        if not scheduler:
            raise DataError(
                "executor: dask needs the address of a running scheduler; set the key `scheduler` "
                "(as tls://host:8786; `dask scheduler` and `dask worker` start a cluster)"
            )
        self._address = scheduler
        self._client: Any = None

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        client = self._client = self._client or _connect(self._address)
        futures = client.map(partial(_single, function), items, pure=False)
        try:
            for future in futures:
                yield future.result()
        finally:
            _abandon(client, [future for future in futures if not future.done()])

    def close(self) -> None:
        if self._client is not None:
            self._client.close()


def _connect(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError:
        raise DataError("executor: dask needs dask; run  pip install -e '.[cluster]'") from None
    try:
        return Client(address, timeout=_SECONDS_TO_CONNECT, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise DataError(
            f"no dask scheduler answers at {address} ({type(error).__name__}); start one, or correct the "
            "key `scheduler`"
        ) from None


def _abandon(client: Any, futures: list[Any]) -> None:
    """Cancel the waiting items, and wait for those that a worker has begun."""
    if not futures:
        return
    begun = {key for keys in client.processing().values() for key in keys}
    client.cancel([future for future in futures if future.key not in begun])
    for future in futures:
        if future.key in begun:
            future.exception()  # blocks until the item has ended


def _single(function: Callable[[Item], Result], item: Item) -> Result:
    single_thread()
    return function(item)


def single_thread() -> None:
    """Use one ITK thread per process: the same bytes for any number of workers, and no oversubscription."""
    # ITK reads this when it is first used; importing ITK for that alone would slow every worker
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
    itk = sys.modules.get("SimpleITK")
    if itk is not None:
        itk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
