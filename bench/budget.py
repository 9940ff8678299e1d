#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The instructions that the shim adds to a call, against bench/budget.txt.

valgrind counts them, so they depend on the compiler, but neither on the machine nor on its mood:
what a change costs is seen where times would be noise. Exits with 1 if a path needs more than it
may. With --write, makes what is counted now the budget.
"""

import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.abspath(os.environ.get("B", os.path.join(os.path.dirname(HERE), "build")))
SHIM = os.path.join(BUILD, "libportfence.so")
BUDGET = os.path.join(HERE, "budget.txt")

LATE, BIND = "40000-49999", "20000-29999"
FEW, MANY = 200, 1200  # rounds: past what is done once, and a whole number of random buffers apart

# name: what paths.c does, in which pool, inside which function (none: all of the shim)
PATHS = {
    "open and close a file": ("file", LATE, None),
    "socket, connect and close, AF_UNIX": ("unix", LATE, None),
    "sendto on a UDP socket that has its port": ("datagram", LATE, None),
    "socket, connect and close, late claim": ("connect", LATE, None),
    "socket, connect and close, bind claim": ("connect", BIND, None),
    "socket, bind to port 0 and close": ("bind", LATE, None),
    "socket, first sendto and close, UDP": ("first-datagram", LATE, None),
    "take, in an empty pool": ("connect", LATE, "pf_pool_take"),
    "give back": ("connect", LATE, "pf_pool_give"),
}


def in_shim(profile):
    """Returns the instructions in the shim's own code, out of callgrind's file."""
    total, ours, called = 0, False, False
    with open(profile, encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("ob="):
                ours = line[3:].strip() == SHIM
            elif line.startswith("calls="):
                called = True  # the line after it is the callee's, which has lines of its own
            elif line[:1] in "+-*0123456789":
                total += int(line.split()[1]) if ours and not called else 0
                called = False
    return total


def count(what, ports, function, rounds):
    """Returns the instructions of so many rounds, with all that comes before them."""
    with tempfile.TemporaryDirectory() as folder:
        profile = os.path.join(folder, "profile")
        command = ["valgrind", "-q", "--tool=callgrind", "--compress-strings=no"]
        command.append("--callgrind-out-file=" + profile)
        if function:
            command.append("--toggle-collect=" + function)
        env = dict(os.environ, LD_PRELOAD=SHIM, PORTFENCE_PORTS=ports, PORTFENCE_DIR=folder)
        program = [os.path.join(BUILD, "bench", "paths"), what, str(rounds)]
        subprocess.run(command + program, env=env, check=True)
        return in_shim(profile)


def budget_read():
    """Returns {name: instructions} of the budget."""
    with open(BUDGET, encoding="utf-8") as lines:
        rows = [line.split(None, 1) for line in lines if line.strip() and line[0] != "#"]
    return {name.strip(): int(number) for number, name in rows}


def budget_write(counted):
    """Makes what was counted the budget."""
    with open(BUDGET, "w", encoding="utf-8") as out:
        out.write("# Instructions of the shim's own code per round; written by budget.py --write.\n")
        for name, number in counted.items():
            out.write(f"{number:5} {name}\n")


def main():
    """Counts every path, inside a network namespace."""
    if "--inside" not in sys.argv[1:]:
        inner = [sys.executable, os.path.abspath(__file__), "--inside"] + sys.argv[1:]
        sys.exit(subprocess.call(["unshare", "-n" if os.geteuid() == 0 else "-rn"] + inner))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    os.environ.pop("LD_PRELOAD", None)
    counted = {}
    for name, path in PATHS.items():
        counted[name] = round((count(*path, MANY) - count(*path, FEW)) / (MANY - FEW))
    if "--write" in sys.argv[1:]:
        budget_write(counted)
    budget, exceeded = budget_read(), False
    print(f"{'instructions of the shim, per round':<44} {'counted':>8} {'budget':>8}")
    for name, number in counted.items():
        # Which ports are drawn makes some instructions of difference.
        over = number > budget.get(name, 0) * 1.01
        print(f"{name:<44} {number:8} {budget.get(name, 0):8}{'  over' if over else ''}")
        exceeded |= over
    sys.exit(exceeded)


main()
