"""What a training run takes of the machine, from the standard library; MLflow shows `system/` on a page of its own."""

import resource
import sys
import time

import torch

_GIGABYTE = 1e9


class Usage:
    """Figures since the last reading."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        """Processor use (100 is one core), and the most memory held so far in GB."""
        wall, cpu = time.perf_counter(), time.process_time()
        largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        figures = {
            "system/cpu_percent": 100 * (cpu - self.cpu) / max(wall - self.wall, 1e-9),
            "system/memory_gb": largest * (1 if sys.platform == "darwin" else 1024) / _GIGABYTE,
        }
        if torch.cuda.is_available():
            figures["system/gpu_memory_gb"] = torch.cuda.max_memory_allocated() / _GIGABYTE
        self.wall, self.cpu = wall, cpu
        return figures
