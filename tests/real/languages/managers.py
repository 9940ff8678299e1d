# SPDX-License-Identifier: MIT
# Processes, forked and spawned, that write into a dictionary of another one over TCP.
import multiprocessing
from multiprocessing.managers import SyncManager


def work(squares, n):
    for i in range(n, 40, 4):
        squares[i] = i * i


if __name__ == "__main__":
    manager = SyncManager(("127.0.0.1", 0))
    manager.start()
    print(manager.address[1])
    squares = manager.dict()
    ways = [multiprocessing.get_context(way) for way in ("fork", "spawn", "forkserver", "fork")]
    processes = [way.Process(target=work, args=(squares, n)) for n, way in enumerate(ways)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    print(sum(value == i * i for i, value in squares.items()), "right")
    manager.shutdown()
