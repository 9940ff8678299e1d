#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The cost of the fence: the same program with the shim and without, in turns, as ratios.

Runs in a network namespace of its own (as root, or where user namespaces are allowed). Each row is
the median of the ratios of neighbouring runs; min and max show the machine's noise. With --short,
a few rounds, to see that everything runs.
"""

import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.environ.get("B", os.path.join(os.path.dirname(HERE), "build"))
SHIM = os.path.join(os.path.abspath(BUILD), "libportfence.so")
SHORT = "--short" in sys.argv[1:]


class Connector:
    """A process that connects to itself as often as it is told; fenced if there are ports."""

    def __init__(self, listen, ports):
        env = dict(os.environ)
        env.pop("LD_PRELOAD", None)
        if ports:
            env.update(LD_PRELOAD=SHIM, PORTFENCE_PORTS=ports)
        program = [os.path.join(BUILD, "bench", "connect"), str(listen)]
        self.process = subprocess.Popen(
            program, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()

    def time(self, count):
        """Returns nanoseconds per socket + connect + close."""
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


def connect_ratios(ports, pairs, rounds, count):
    """Returns the ratios fenced / bare of neighbouring runs; every second pair is turned around.

    Where a process's memory happens to lie makes some percent of difference, so there are several
    pairs of processes.
    """
    ratios = []
    for _ in range(pairs):
        with Connector(1080, None) as bare, Connector(1081, ports) as fenced:
            bare.time(count)
            fenced.time(count)
            for i in range(rounds):
                first, second = (fenced, bare) if i % 2 else (bare, fenced)
                times = {first: first.time(count), second: second.time(count)}
                ratios.append(times[fenced] / times[bare])
    return ratios


def spawn_ratios(program, rounds, count):
    """Returns the ratios fenced / bare of whole processes."""
    ratios = []
    for _ in range(rounds):
        command = [os.path.join(BUILD, "bench", "spawn"), str(count), program]
        env = dict(os.environ, BENCH_PRELOAD=SHIM)
        bare, fenced = subprocess.run(
            command, env=env, stdout=subprocess.PIPE, check=True
        ).stdout.split()
        ratios.append(float(fenced) / float(bare))
    return ratios


def show(what, ratios):
    """Prints one row."""
    print(
        f"{what:<52} {statistics.median(ratios):6.3f}"
        f"   {min(ratios):6.3f}   {max(ratios):6.3f}   {len(ratios):4}",
        flush=True,
    )


def main():
    """Runs everything, inside a network namespace."""
    if "--inside" not in sys.argv[1:]:
        inner = [sys.executable, os.path.abspath(__file__), "--inside"] + sys.argv[1:]
        command = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-r", "-n"]
        sys.exit(subprocess.call(command + inner))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    pairs, rounds, connects = (2, 2, 20) if SHORT else (12, 120, 100)
    print(f"{'fenced / bare':<52} {'median':>6}   {'min':>6}   {'max':>6}   runs")
    show(
        "socket + connect + close, loopback, late claim",
        connect_ratios("40000-49999", pairs, rounds, connects),
    )
    show(
        "socket + connect + close, loopback, bind claim",
        connect_ratios("20000-29999", pairs, rounds, connects),
    )
    rounds, spawns = (2, 20) if SHORT else (10, 500)
    show("true, from start to end", spawn_ratios("true", rounds, spawns))


main()
