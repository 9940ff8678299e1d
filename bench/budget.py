#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The instructions and system calls that the shim adds to a call, against bench/budget.txt.

valgrind counts them, so they depend on the compiler, but neither on the machine nor on
its mood: what a change costs is seen where times would be noise. Exits with 1 if a path needs more
instructions or other system calls than it may. With --write, makes what is counted now the budget.
"""

import collections
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.abspath(os.environ.get("B", os.path.join(os.path.dirname(HERE), "build")))
SHIM = os.path.join(BUILD, "libportfence.so")
BUDGET = os.path.join(HERE, "budget.txt")

LATE, BIND = "40000-49999", "20000-29999"
# Rounds: past what is done once, and some number of random buffers (128 numbers each) apart.
FEW, MANY = 200, 1224

# name: what paths.c does, in which pool, inside which function (none: all of the shim)
PATHS = {
    "open and close a file": ("file", LATE, None),
    "socket, connect and close, AF_UNIX": ("unix", LATE, None),
    "sendto on a UDP socket that has its port": ("datagram", LATE, None),
    "socket, connect and close, late claim": ("connect", LATE, None),
    "socket, connect and close, bind claim": ("connect", BIND, None),
    "socket, bind to port 0 and close": ("bind", LATE, None),
    "socket, listen and close": ("listen", LATE, None),
    "socket, first sendto and close, UDP": ("first-datagram", LATE, None),
    "socket, connect and close, UDP": ("udp-connect", LATE, None),
    "take, in an empty pool": ("connect", LATE, "pf_pool_take_at_once"),
    "give back": ("connect", LATE, "pf_pool_give"),
}


# Done once a clock tick: how often that is, depends on the machine.
TICKING = {"pf_classify_port", "local_endpoint"}


def in_shim(profile):
    """Returns the instructions in the shim's own code, out of callgrind's file."""
    total, shim, ours, called = 0, False, False, False
    with open(profile, encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("ob="):
                shim = line[3:].strip() == SHIM
            elif line.startswith("fn="):
                ours = shim and line[3:].strip() not in TICKING
            elif line.startswith("calls="):
                called = True  # the line after it is the callee's, which has lines of its own
            elif line[:1] in "+-*0123456789":
                total += int(line.split()[1]) if ours and not called else 0
                called = False
    return total


def run(what, ports, function, rounds):
    """Runs so many rounds of a path; without ports, without the shim.

    Returns the shim's instructions and {system call: how often}, with all that comes before.
    """
    with tempfile.TemporaryDirectory() as folder:
        profile, trace = os.path.join(folder, "profile"), os.path.join(folder, "trace")
        env = dict(os.environ, PORTFENCE_PORTS=ports or "", PORTFENCE_DIR=folder)
        # One pass for both: under strace, a round may take as long as a clock tick, so that
        # what is done once a tick would be in each.
        watcher = ["valgrind", "-q", "--tool=callgrind", "--compress-strings=no"]
        watcher += ["--callgrind-out-file=" + profile, "--trace-syscalls=yes"]
        watcher += ["--log-file=" + trace, "--trace-children=yes"]
        if function:
            watcher.append("--toggle-collect=" + function)
        preload = ["env", "LD_PRELOAD=" + SHIM] if ports else []
        # Where the stack lies decides whether an address on it is looked at twice.
        program = ["setarch", "-R", os.path.join(BUILD, "bench", "paths"), what, str(rounds)]
        subprocess.run(watcher + preload + program, env=env, check=True)
        with open(trace, encoding="utf-8") as lines:
            calls = collections.Counter(re.findall(r"^SYSCALL\S+ sys_(\w+)", lines.read(), re.M))
        calls.pop("clock_gettime", None)  # without valgrind, the vDSO answers it
        return in_shim(profile), calls


def count(path):
    """Returns what the shim adds per round: instructions, system calls, and those now and then."""
    what, ports, function = path
    (few, few_calls), (many, many_calls) = (run(what, ports, function, n) for n in (FEW, MANY))
    instructions = round((many - few) / (MANY - FEW))
    if function:
        return instructions, "", ""
    few_bare, bare = (run(what, None, None, n)[1] for n in (FEW, MANY))
    always, sometimes = [], []
    for name in sorted(many_calls):
        added = many_calls[name] - few_calls[name] - (bare[name] - few_bare[name])
        whole = round(added / (MANY - FEW))
        if whole:
            always.append(f"{whole} {name}")
        elif added:
            sometimes.append(name)
    return instructions, ", ".join(always) or "none", ", ".join(sometimes)


def budget_read():
    """Returns {name: (instructions, system calls)} of the budget."""
    with open(BUDGET, encoding="utf-8") as lines:
        rows = [line.rstrip("\n").split("\t") for line in lines if line[0] != "#"]
    return {name: (int(number), added) for number, name, added in rows}


def budget_write(counted):
    """Makes what was counted the budget."""
    with open(BUDGET, "w", encoding="utf-8") as out:
        out.write("# What the shim adds per round: instructions, path, system calls.\n")
        out.write("# Written by bench/budget.py --write.\n")
        for name, (number, added, _) in counted.items():
            out.write(f"{number}\t{name}\t{added}\n")


def main():
    """Counts every path, inside a network namespace."""
    if "--inside" not in sys.argv[1:]:
        inner = [sys.executable, os.path.abspath(__file__), "--inside"] + sys.argv[1:]
        sys.exit(subprocess.call(["unshare", "-n" if os.geteuid() == 0 else "-rn"] + inner))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    os.environ.pop("LD_PRELOAD", None)
    counted = {name: count(path) for name, path in PATHS.items()}
    if "--write" in sys.argv[1:]:
        budget_write(counted)
    budget, exceeded = budget_read(), False
    print(f"{'what the shim adds, per round':<44} {'instructions':>12} {'budget':>6}  system calls")
    for name, (number, added, rare) in counted.items():
        may, calls_may = budget.get(name, (0, None))
        # Which ports are drawn makes some instructions of difference.
        over = number > may * 1.02 or added != calls_may
        rare = f" (now and then {rare})" if rare else ""
        print(f"{name:<44} {number:12} {may:6}  {added}{rare}{'  OVER' if over else ''}")
        exceeded |= over
    sys.exit(exceeded)


main()
