"""The same function over many items: processes here or a dask cluster, a progress bar, results in order.

`running` chooses, `map_processes` maps; the results do not depend on the choice.
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
    """MRCT_WORKERS, or the machine's cores."""
    return int(os.environ.get("MRCT_WORKERS", 0)) or os.cpu_count() or 1


class _Executor(Protocol):
    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]: ...

    def close(self) -> None: ...


_current: ContextVar[_Executor | None] = ContextVar("executor", default=None)


@contextmanager
def running(executor: str, scheduler: str = "") -> Iterator[None]:
    """Inside the block `map_processes` uses one pool of processes, or the dask cluster at `scheduler`.

    The cluster's workers need this package and the same paths (a shared file system). Items travel to them, the
    de-identification key and headers among them: beyond one machine the address should be tls://..., and spilling
    to disk be off (distributed.worker.memory.target and .spill: false). Nothing is started before it is needed.
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
    """[function(item) for item in items] over workers; an exception of any item is raised.

    `function` must be a module-level function. It is expected to turn the failures it knows (one bad
    file, one unregistrable patient) into listed results; what it raises is a defect and stops the run,
    after the items that are being worked on have ended.
    """
    executor = _current.get()
    if executor is None:
        with running("processes"):
            return map_processes(function, items, description)
    return list(track(executor.map(function, items), description, len(items)))


class _Processes:
    """One pool for all maps: starting a worker costs about a second of imports."""

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
                "a worker process ended abruptly, mostly for want of memory; run again with fewer workers "
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
    """A worker whose run was killed would wait for ever, and write beside the run that goes on."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class _Cluster:
    """A dask cluster that runs already; the connection is made when the first item is mapped."""

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
    """Takes back what waits, and waits for what a worker has begun."""
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
    """One ITK thread a process: the same bytes for any number of workers, and no oversubscription."""
    # ITK reads it when it is first used; importing it for that alone would cost every worker
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
    itk = sys.modules.get("SimpleITK")
    if itk is not None:
        itk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
