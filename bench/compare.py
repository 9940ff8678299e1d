#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The fence beside the kernel's own choice: compare.py [--short] [PART]...

Everything runs in network namespaces of its own (as root, or where user namespaces are allowed), on
loopback. A figure is a ratio of neighbouring runs that take turns: what else the machine does hits
both. Given are the median, and the least and the greatest of the ratios, which are its noise.
Writes results.json and, with gnuplot, pictures into the folder $OUT (default: beside this file).

--short runs everything briefly, to see that the work is done and the ports are the pool's; its
times mean nothing. PART is table, curves, storms, pool, churn, others, programs or strict; without
one, all.
"""

import contextlib
import datetime
import json
import math
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent import futures

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.abspath(os.environ.get("B", os.path.join(os.path.dirname(HERE), "build")))
OUT = os.environ.get("OUT", HERE)
SHIM = os.path.join(BUILD, "libportfence.so")
PORTFENCE = os.path.join(BUILD, "portfence")
DRIVER = os.path.join(BUILD, "bench", "driver")
SHORT = "--short" in sys.argv[1:]
PORT = 1080  # of every listener
FIRST = 32768  # of every pool, if nothing else is said
HOLDERS = 4  # processes that fill a pool

# A way to get a port: what the driver does, whether the shim is there, and ip_local_port_range.
METHODS = {
    "bare": ("kernel", False, "{first} {last}"),
    "range": ("range", False, "1024 65535"),
    "random bind": ("random", False, "1024 65535"),
    "late": ("kernel", True, "1024 65535"),
    "bind": ("kernel", True, "61200 65535"),
}
# What gives others' sockets ports at random, so that they share them as the method's do.
SCATTER = {"random bind": "explicit", "bind": "explicit"}

results = {"table": [], "figures": [], "curves": []}
scratch = None  # a folder, with the segments


class Failed(Exception):
    """Something did not work as it has to, however slow the machine is."""


def expect(truth, what):
    """Raises Failed unless `truth`."""
    if not truth:
        raise Failed(what)


def clean_environment(ports=None):
    """Returns the environment, with the fence if there are ports."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("PORTFENCE_")}
    env.pop("LD_PRELOAD", None)
    env["PORTFENCE_DIR"] = scratch
    if ports:
        env.update(LD_PRELOAD=SHIM, PORTFENCE_PORTS=ports)
    return env


# ---- The driver, and where it runs -----------------------------------------------------------


class Driver:
    """A bench/driver process."""

    def __init__(self, command, env):
        self.process = subprocess.Popen(
            command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def send(self, *words):
        """Gives it a command, and does not wait."""
        self.process.stdin.write(" ".join(str(word) for word in words) + "\n")
        self.process.stdin.flush()

    def receive(self):
        """Returns the numbers of its answer."""
        line = self.process.stdout.readline()
        expect(line, f"the driver failed: {' '.join(self.process.args)}")
        return [float(word) for word in line.split()]

    def ask(self, *words):
        """Gives it a command and returns the numbers of its answer."""
        self.send(*words)
        return self.receive()

    def end(self):
        """Lets it end."""
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


class Arena:
    """A network namespace with a listener, set up for a method; drivers run in it.

    `like` is the method whose ip_local_port_range it gets.
    """

    def __init__(self, method, ports, destinations=1, first=FIRST, tw_reuse=2, like=None):
        self.method, self.ports, self.destinations = method, ports, destinations
        self.span = (first, first + ports - 1)
        self.drivers = []
        local = METHODS[like or method][2].format(first=first, last=first + ports - 1)
        setup = (
            "ip link set lo up; cd /proc/sys/net; echo 65535 >core/somaxconn;"
            f"echo {local} >ipv4/ip_local_port_range; echo {tw_reuse} >ipv4/tcp_tw_reuse;"
            'exec "$@"'
        )
        self.sink = self.start(["unshare", "-n", "sh", "-euc", setup, "sh"], "kernel", False)
        self.sink.ask("listen", "tcp")
        self.enter = ["nsenter", f"--net=/proc/{self.sink.process.pid}/ns/net"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for driver in self.drivers:
            driver.end()

    def start(self, prefix, what, fenced, port=PORT, span=None):
        """Starts a driver."""
        first, last = span or self.span
        command = prefix + [DRIVER, what, first, last, port, self.destinations]
        ports = f"{first}-{last}" if fenced else None
        driver = Driver([str(word) for word in command], clean_environment(ports))
        self.drivers.append(driver)
        return driver

    def client(self, what=None, fenced=None, **place):
        """Starts a client of the arena's method, or another."""
        method = METHODS[self.method]
        fenced = method[1] if fenced is None else fenced
        return self.start(self.enter, what or method[0], fenced, **place)


@contextlib.contextmanager
def arenas(methods, *args, **kwargs):
    """Gives a dict of arenas, one for each method."""
    with contextlib.ExitStack() as stack:
        yield {m: stack.enter_context(Arena(m, *args, **kwargs)) for m in methods}


class Filler:
    """Holds sockets in an arena, in some processes: one may not have enough descriptors.

    They are of the arena's method; or unwrapped, if `by_others` says how they get their ports.
    """

    def __init__(self, arena, by_others=None):
        self.held, self.destinations = 0, arena.destinations
        self.clients = [
            arena.client(by_others, False if by_others else None) for _ in range(HOLDERS)
        ]

    def shares(self, total):
        """Returns the number for each process, as many to each destination, of `total`."""
        each = total // self.destinations
        ends = [each * i // HOLDERS * self.destinations for i in range(HOLDERS + 1)]
        return [end - start for start, end in zip(ends, ends[1:])]

    def send(self, what, total):
        """Tells the processes to hold `total` sockets between them."""
        self.wanted = total - self.held
        for client, old, new in zip(self.clients, self.shares(self.held), self.shares(total)):
            client.send("hold", what, new - old, 600)
        self.held = total

    def receive(self):
        """Waits till they do. Returns the number that they do not hold."""
        return self.wanted - sum(client.receive()[0] for client in self.clients)


def fill(fillers, what, total):
    """Fills arenas at the same time. Returns for each the number of sockets that it lacks."""
    for filler in fillers.values():
        filler.send(what, total)
    return {name: filler.receive() for name, filler in fillers.items()}


def fill_wholly(fillers, what, total):
    """The same. Raises Failed if one lacks any."""
    lacking = fill(fillers, what, total)
    expect(not any(lacking.values()), f"{total} held: lacking {lacking}")


def rounds_until(count, seconds):
    """Gives the numbers of so many rounds; of fewer, but three, if they take longer than that."""
    until = time.monotonic() + seconds
    for i in range(count):
        if i >= 3 and time.monotonic() > until:
            return
        yield i


def take_turns(clients, rounds, *command):
    """Gives all clients a command in turns, each round beginning with another. Returns for each its
    answers."""
    names, answers = list(clients), {name: [] for name in clients}
    for client in clients.values():
        client.ask(*command[:2], 10, 0.01)  # what is done once only
    for i in rounds_until(rounds, 15):
        at = i % len(names)
        for name in names[at:] + names[:at]:
            answers[name].append(clients[name].ask(*command))
    return answers


def turns_among(held, by_others, methods, ports, *deed, like=None):
    """Fills an arena for each method with so many sockets, by itself or as others do, and times a
    deed, so often in a round, that nothing may refuse. Returns the answers."""
    what, count = deed
    with arenas(methods, ports, like=like) as several:
        fill_wholly({m: Filler(a, by_others) for m, a in several.items()}, what, held)
        clients = {m: a.client() for m, a in several.items()}
        answers = take_turns(clients, rounds_of(80), "time", what, count, 0.1)
    expect_all_done(answers, f"{what}, {held} of {ports} held")
    return answers


def both_ways(measure, rounds, seconds, together=False):
    """Returns the ratios of what `measure` returns with the fence (it gets its ports) and without
    (None): of measurements in turns, or at the same time, so that they share what the machine has to
    give."""
    values = []
    with futures.ThreadPoolExecutor(2 if together else 1) as workers:
        for i in rounds_until(rounds, seconds):
            order = (None, FENCE) if i % 2 else (FENCE, None)
            found = {ports: workers.submit(measure, ports) for ports in order}
            values.append(found[FENCE].result() / found[None].result())
    return values


def nanoseconds_each(answers):
    """Returns the mean nanoseconds of one deed, for each answer."""
    return [ns / (done + refused) for done, refused, ns in answers]


def ratios(answers, one, other):
    """Returns the ratios of the rounds' times."""
    return [
        a / b for a, b in zip(nanoseconds_each(answers[one]), nanoseconds_each(answers[other]))
    ]


def expect_all_done(answers, what):
    """Raises Failed if anything was refused."""
    for name, rounds in answers.items():
        refused = sum(answer[1] for answer in rounds)
        expect(refused == 0, f"{what}, {name}: {refused:.0f} refused")


def expect_none_done(answers, what):
    """Raises Failed if not all was refused."""
    for name, rounds in answers.items():
        done = sum(answer[0] for answer in rounds)
        expect(done == 0, f"{what}, {name}: {done:.0f} done, of an exhausted pool")


def is_wide():
    """Returns true if this is not the short run."""
    return not SHORT


def rounds_of(full):
    """Returns so many rounds; one, in the short run."""
    return full if is_wide() else 1


# ---- What is printed -------------------------------------------------------------------------

WIDTH = 58


def format_number(value):
    """Returns a number of three significant digits."""
    for least, digits in ((99.5, 0), (9.95, 1), (0.0995, 3)):
        if abs(value) >= least:
            return f"{value:.{digits}f}"
    return f"{value:.4f}" if value else "0"


def heading(text, *columns, width=9):
    """Begins a part."""
    print(f"\n{text:<{WIDTH}}" + "".join(f"{c:>{width}}" for c in columns), flush=True)


def row(what, against, values, target=None, unit="", bound=False, note=None):
    """Prints and keeps one figure. `target` is ("<=" or ">=", number)."""
    median = statistics.median(values)
    entry = {
        "what": what,
        "against": against,
        "unit": unit or "ratio",
        "median": median,
        "min": min(values),
        "max": max(values),
        "runs": len(values),
    }
    text = f"{what}, {against}" if against else what
    sign = "≤" if bound else ""
    line = f"{text:<{WIDTH}}" + f"{sign + format_number(median):>9}"
    line += f"{format_number(min(values)):>9}{format_number(max(values)):>9}"
    if bound:
        entry["bound"] = True
    if note:
        entry["note"] = note
    if target:
        reached = median <= target[1] if target[0] == "<=" else median >= target[1]
        mark = {"<=": "≤", ">=": "≥"}[target[0]]
        line += f"{mark + ' ' + str(target[1]):>9}"
        entry["target"] = f"{target[0]} {target[1]}"
        # A size is what it is, however short the run.
        if is_wide() or unit == "KiB":
            entry["reached"] = reached
            line += f"{'yes' if reached else 'NO':>9}"
    elif unit:
        line += f"  {unit}"
    print(line, flush=True)
    if note:
        print(f"  {note}", flush=True)
    results["table" if target else "figures"].append(entry)


# ---- The table -------------------------------------------------------------------------------


@contextlib.contextmanager
def one_processor():
    """Keeps all that is started meanwhile on one processor, where it takes turns anyway."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def table_low_fill():
    """socket + connect + close in an empty pool, and the noise of the same thing twice."""
    pairs, rounds, count = (20, 240, 40) if is_wide() else (1, 1, 20)
    times = {"bare": [], "bare again": [], "late": [], "bind": []}
    # As many ports as the kernel's own range has: so empty means nearly the same to the end.
    spans = {"late": (33000, 60999), "bind": (4000, 31999)}
    for _ in range(pairs):
        # Where a process's memory happens to lie makes some percent: so, several of each.
        with one_processor(), Arena("bare", 28232) as arena:
            clients = {}
            for i, name in enumerate(times):
                clients[name] = arena.client(
                    fenced=name in spans, span=spans.get(name), port=PORT + 1 + i
                )
                clients[name].ask("listen", "tcp")
            answers = take_turns(clients, rounds, "time", "served", count, 10)
            expect_all_done(answers, "connect")
            for name in times:
                times[name] += answers[name]
    what = "socket + connect + close, empty pool"
    row(what, "late claim", ratios(times, "late", "bare"), ("<=", 1.05))
    row(what, "bind claim", ratios(times, "bind", "bare"), ("<=", 1.05))
    row("the noise: the same, without and without", "", ratios(times, "bare again", "bare"))


def table_half_full():
    """Connects in a range that the kernel half filled, by its own choices."""
    both, ports = ("bare", "late"), 28000
    answers = turns_among(ports // 2, "kernel", both, ports, "connect", 30, like="bare")
    values = ratios(answers, "late", "bare")
    row("connect, range half full by the kernel", "late", values, ("<=", 0.1))


def table_full():
    """Connects in a pool that is 99.9 % full, and in one that is exhausted."""
    ports = 10000
    with arenas(("range", "late", "bind"), ports) as three:
        fillers = {m: Filler(a) for m, a in three.items()}
        clients = {m: a.client() for m, a in three.items()}
        fill_wholly(fillers, "connect", ports - ports // 1000)
        answers = take_turns(clients, rounds_of(80), "time", "connect", 30, 0.1)
        expect_all_done(answers, "99.9 % full")
        for m in ("late", "bind"):
            row("connect, pool 99.9 % full", m, ratios(answers, m, "range"), ("<=", 0.33))
        fill(fillers, "connect", ports)
        # Long enough that what a reap costs now and then is part of it.
        answers = take_turns(clients, rounds_of(12), "time", "connect-alone", 10**7, 0.25)
        expect_none_done(answers, "exhausted")
        for m in ("late", "bind"):
            row("connect alone, 10,000 ports exhausted", m, ratios(answers, m, "range"), ("<=", 0.01))


def table_churn():
    """Short connections that leave a pool full of TIME_WAIT."""
    seconds = 4 if is_wide() else 0.5
    completed = {"late": [], "bind": []}
    refused = {"late": [], "bind": []}
    for _ in range(rounds_of(4)):
        with arenas(("bare", "late", "bind"), 1000) as three:
            answers = churn(three, "client", seconds, 2000)
        for m, (done, refusals, _) in answers.items():
            expect(done > 0, f"churn, {m}: none completed")
            if m != "bare":
                completed[m].append(done / answers["bare"][0])
                refused[m].append(round((refusals + 1) / (answers["bare"][1] + 1), 2))
    for m in completed:
        row("churn, 1,000 ports in TIME_WAIT: completed", m, completed[m], (">=", 0.95))
        row("churn, 1,000 ports in TIME_WAIT: refusals", m, refused[m], ("<=", 1.0))


def churn(several, who, seconds, rate):
    """Churns in all arenas at the same time, at that rate of attempts. Returns the answers."""
    clients = {m: a.client(port=PORT + 1) for m, a in several.items()}
    for client in clients.values():
        client.ask("listen", "tcp")
    for client in clients.values():
        client.send("churn", who, seconds, rate)
    return {m: client.receive() for m, client in clients.items()}


def hold_together(arena, each, seconds, clients=None):
    """Connects from four processes at once, or from these. Returns them, the connections, and the
    seconds."""
    clients = clients or [arena.client() for _ in range(4)]
    start = time.monotonic()
    for client in clients:
        client.send("hold", "connect", each, seconds)
    done = sum(client.receive()[0] for client in clients)
    return clients, done, time.monotonic() - start


def table_many():
    """60,000 connections to one destination; the kernel is given some time, and then left."""
    cap = 30 if is_wide() else 1
    spent = {}
    for m in ("late", "bind"):
        with Arena(m, 60000, first=1200) as arena:
            _, done, spent[m] = hold_together(arena, 15000, 120)
            expect(done == 60000, f"60,000 connections, {m}: {done:.0f}")
    with Arena("bare", 60000, first=1200) as arena:
        clients, done, bare = hold_together(arena, 15000, cap)
        left, pace = 60000 - done, 0
        # Its pace from here on; a fuller range is no faster.
        for _ in range(5 if left else 0):
            _, more, took = hold_together(arena, 15000, cap / 40, clients)
            pace = max(pace, more / took)
    least = bare + left / max(pace, 1)
    for m in spent:
        note = (
            f"{m}: 60,000 in {spent[m]:.1f} s; bare: {done:.0f} of 60,000 in {bare:.0f} s, and "
            f"at its best pace then all in {least:.0f} s"
        )
        what = "60,000 connections, one destination"
        row(what, m, [spent[m] / least], ("<=", 0.03), bound=True, note=note)


def table_udp():
    """sendto on fresh UDP sockets in a pool that is 99 % full."""
    answers = turns_among(9900, None, ("bare", "late"), 10000, "sendto", 60)
    values = ratios(answers, "late", "bare")
    row("UDP sendto, fresh socket, pool 99 % full", "bind", values, ("<=", 0.5))


def table_alone():
    """Take and give without the kernel."""
    values = []
    with Arena("bare", 100) as arena:
        for _ in range(rounds_of(15)):
            done, refused, ns = arena.client().ask("pool", 10000, 90, 1, 300000)
            expect(refused == 0, "take: refused")
            values.append(ns / done)
    row("take + give back, one thread, 90 % full, ns", "", values, ("<=", 100), unit="ns")


def table_passive():
    """What a program pays that opens no connection."""
    spawned, closed = [], []
    with one_processor(), Arena("bare", 28232) as arena:
        for _ in range(rounds_of(10)):
            bare, fenced = arena.sink.ask("spawn", 100 if is_wide() else 10, SHIM, "/bin/true")
            spawned.append(fenced / bare)
        for _ in range(rounds_of(8)):
            clients = {m: arena.client(fenced=m == "fenced") for m in ("bare", "fenced")}
            for client in clients.values():
                client.ask("time", "connect", 10, 1)
            answers = take_turns(clients, rounds_of(20), "files", "/bin/true", 5000)
            closed += ratios(answers, "fenced", "bare")
    row("true, from start to end", "", spawned, ("<=", 1.1))
    row("close() of a file", "", closed, ("<=", 1.02))


def table_segment():
    """The size of segments."""
    for ports, target in ((1000, 256), (28000, 4096)):
        with Arena("late", ports) as arena:
            before = set(os.listdir(scratch))
            arena.client().ask("time", "connect", 1, 1)
            new = set(os.listdir(scratch)) - before
            expect(len(new) == 1, f"segments: {new}")
            size = os.stat(os.path.join(scratch, new.pop())).st_blocks / 2
        row(f"segment, {ports:,} ports, KiB", "", [size], ("<=", target), unit="KiB")


# ---- Real programs ---------------------------------------------------------------------------

FENCE = "40000-49999"
NGINX = """
daemon off; worker_processes 1; pid {dir}/{name}.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{ access_log off; client_body_temp_path {dir}/{name}.t; proxy_temp_path {dir}/{name}.t;
fastcgi_temp_path {dir}/{name}.t; uwsgi_temp_path {dir}/{name}.t; scgi_temp_path {dir}/{name}.t;
server {{ listen 127.0.0.1:{port} backlog=4096; {location} }} }}
"""


class Servers:
    """Real servers, in an arena of their own."""

    def __init__(self, stack):
        self.arena = stack.enter_context(Arena("bare", 28232))
        self.processes = []
        stack.callback(self.end)

    def end(self):
        """Ends them."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait()

    def start(self, port, *command, ports=None):
        """Starts one, and waits till it listens."""
        log = open(os.path.join(scratch, f"{port}.log"), "w", encoding="utf-8")
        process = subprocess.Popen(
            self.arena.enter + list(command),
            env=clean_environment(ports),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        log.close()
        self.processes.append(process)
        for _ in range(600):
            listing = self.output(["ss", "-Hltn", f"sport = :{port}"])
            if listing.strip():
                return
            expect(process.poll() is None, f"{command[0]} ended; see {log.name}")
            time.sleep(0.05)
        raise Failed(f"{command[0]} does not listen on {port}")

    def output(self, command, ports=None):
        """Runs a client. Returns what it prints."""
        done = subprocess.run(
            self.arena.enter + command,
            env=clean_environment(ports),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        status = done.returncode
        expect(status == 0, f"{' '.join(command)}: status {status}\n{done.stdout}")
        return done.stdout

    def figure(self, command, pattern, ports=None):
        """Runs a client. Returns the number that it prints behind `pattern`."""
        text = self.output(command, ports)
        found = re.search(pattern, text)
        expect(found, f"{' '.join(command)}: no result in\n{text}")
        return float(found.group(1))

    def start_nginx(self, name, port, location, ports=None):
        """Starts an nginx."""
        path = os.path.join(scratch, f"{name}.conf")
        with open(path, "w", encoding="utf-8") as conf:
            conf.write(NGINX.format(dir=scratch, name=name, port=port, location=location))
        self.start(port, "nginx", "-c", path, "-e", "stderr", ports=ports)

    def start_postgres(self):
        """Starts PostgreSQL, with what pgbench wants to find."""
        home = os.path.join(scratch, "pg")
        programs = sorted(os.listdir("/usr/lib/postgresql"))[-1]
        programs = os.path.join("/usr/lib/postgresql", programs, "bin")
        user = []
        os.mkdir(home)
        if os.geteuid() == 0:
            shutil.chown(home, "postgres")
            user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        data = os.path.join(home, "d")
        initdb = [f"{programs}/initdb", "-D", data, "-A", "trust", "-U", "postgres", "-N"]
        self.output(user + initdb)
        self.start(
            5432,
            *user,
            f"{programs}/postgres",
            *("-D", data, "-k", home, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"),
        )
        self.output(PGBENCH[:5] + ["-i", "-q", "postgres"])


PGBENCH = ["pgbench", "-h", "127.0.0.1", "-U", "postgres"]
THROUGHPUT = {
    "redis-benchmark": (
        ["redis-benchmark", "-t", "get", "-c", "32", "-n", "40000" if is_wide() else "2000", "-q"],
        r"GET: ([0-9.]+) requests per second",
    ),
    "pgbench": (
        PGBENCH + ["-n", "-S", "-M", "prepared", "-c", "8", "-T", "1", "postgres"],
        r"tps = ([0-9.]+)",
    ),
    "wrk": (
        ["wrk", "-t", "1", "-c", "32", "-d", "1s", "http://127.0.0.1:8080/"],
        r"Requests/sec: +([0-9.]+)",
    ),
}


def throughput(servers, command, pattern, rounds, together=True):
    """Returns the ratios of what a client gets done with / without the fence."""
    return both_ways(lambda ports: servers.figure(command, pattern, ports), rounds, 25, together)


def table_programs(servers):
    """What real clients get done, whose connections live long."""
    servers.start(6379, "redis-server", "--port", "6379", "--save", "", "--bind", "127.0.0.1")
    servers.start_nginx("static", 8080, 'return 200 "ok";')
    servers.start_postgres()
    for name, (command, pattern) in THROUGHPUT.items():
        values = throughput(servers, command, pattern, rounds_of(20))
        row(f"{name}, throughput", "", values, (">=", 0.98))


# ---- Curves ----------------------------------------------------------------------------------

FILLS = (0, 25, 50, 75, 90, 99, 99.9, 100)


def socket_count(ports, percent):
    """Returns the sockets that fill so much of a pool; at 99.9 % at least one port is free."""
    return ports if percent == 100 else min(round(ports * percent / 100), ports - 1)


def format_latency(ns):
    """Returns microseconds, in a cell of a table."""
    if ns is None:
        return "-"
    us = ns / 1000
    return f"{us:.0f}" if us >= 100 else f"{us:.1f}"


def curve(what, ports, methods, fills=FILLS, destinations=1, by="itself", held=None, rounds=5):
    """Measures one deed against the fill of the pool, and prints and keeps that.

    `by` is who fills it: "itself", the method; or "others", unwrapped programs with random ports.
    `held` is the deed that fills it. To several destinations, every port is used for each of them.
    """
    where = "one destination" if destinations == 1 else f"{destinations} destinations"
    title = f"{what}, {ports:,} ports, {where}, filled by {by}"
    heading(f"{title}, µs", *(f"{fill:g} %" for fill in fills))
    points = {m: [] for m in methods}
    lost = set()  # who can hold no more
    with arenas(methods, ports, destinations) as several:
        fillers = {
            m: Filler(a, SCATTER.get(m, "scatter") if by == "others" else None)
            for m, a in several.items()
        }
        clients = {m: a.client() for m, a in several.items()}
        for percent in fills:
            count = socket_count(ports, percent) * destinations
            able = {m: f for m, f in fillers.items() if m not in lost}
            lacking = fill(able, held or what, count)
            lost.update(m for m, missing in lacking.items() if missing and percent < 100)
            there = {m: client for m, client in clients.items() if m not in lost}
            # Refusals for long enough that what a reap costs now and then is part of them.
            limit, turns = ((100, 0.15), rounds) if percent < 100 else ((10**7, 0.5), 3)
            answers = take_turns(there, rounds_of(turns), "time", what, *limit)
            check_curve(title, percent, by, answers)
            for m in methods:
                times = nanoseconds_each(answers[m]) if m in there else [None]
                points[m].append({"fill": percent, **summary(times)})
    for m in methods:
        cells = "".join(f"{format_latency(point['ns']):>9}" for point in points[m])
        print(f"  {m:<{WIDTH - 2}}{cells}", flush=True)
    results["curves"].append(
        {
            "title": title,
            "what": what,
            "ports": ports,
            "destinations": destinations,
            "filled by": by,
            "methods": points,
        }
    )


def summary(times):
    """Returns the median, the least and the greatest."""
    if times == [None]:
        return {"ns": None}
    return {"ns": statistics.median(times), "min": min(times), "max": max(times)}


def check_curve(title, percent, by, answers):
    """Raises Failed for a refusal in a pool that is not full, and for the opposite. Who binds at
    random may miss the last port, and a bind claim those of strangers."""
    for m, rounds in answers.items():
        done, refused = (sum(answer[i] for answer in rounds) for i in (0, 1))
        if percent == 100:
            expect(done == 0 or by == "others", f"{title}: {m}: {done:.0f} done, though full")
        elif m == "random bind" or (m == "bind" and by == "others"):
            expect(done + refused > 0, f"{title}: {m} did nothing")
        else:
            expect(refused == 0, f"{title}, {percent} %: {m}: {refused:.0f} refused")


def all_curves(_):
    """Measures latency against fill."""
    connecting = tuple(METHODS)
    fills = FILLS if is_wide() else (0, 50, 99.9, 100)
    for ports in (1000, 10000, 28000) if is_wide() else (1000,):
        curve("connect", ports, connecting, fills)
    curve("connect", 1000, connecting, fills, destinations=8)
    curve("connect", 10000 if is_wide() else 1000, connecting, fills, by="others")
    fills = (0, 50, 90, 99, 100) if is_wide() else (0, 99, 100)
    ports = 4000 if is_wide() else 500
    for what, held in (
        ("bind", "bind"),
        ("listen", "listen"),
        ("udp-connect", "sendto"),
        ("sendto", "sendto"),
        ("sendmmsg", "sendto"),
    ):
        curve(what, ports, ("bare", "range", "random bind", "bind"), fills, held=held, rounds=3)


# ---- Plots -----------------------------------------------------------------------------------

COLOURS = {
    "bare": ("#c0392b", 7, "unwrapped: the kernel chooses"),
    "range": ("#d98a1f", 5, "IP_LOCAL_PORT_RANGE, set by the program"),
    "random bind": ("#7f8c8d", 9, "bind to random ports until one is free"),
    "late": ("#1f6fb2", 13, "portfence, late claim"),
    "bind": ("#17967a", 11, "portfence, bind claim"),
}
PLOT = """
set terminal svg noenhanced size 800,560 background "#ffffff" \\
	font "DejaVu Sans,Helvetica,sans-serif,14"
set output "{path}"
set title "{title}" font ",17" offset 0,0.3
set xlabel "ports of the range in use (not to scale)" offset 0,-0.2
set ylabel "{label}" offset -0.5,0
set logscale y
set ytics nomirror ("1 µs" 1, "10 µs" 10, "100 µs" 100, "1 ms" 1e3, "10 ms" 1e4, "100 ms" 1e5)
set xtics nomirror ({ticks})
set xrange [-0.3:{last}]
set yrange [{low}:{high}]
set border 3 lc rgb "#555555"
set grid ytics lc rgb "#dddddd" lw 1
set bmargin 9
set key at screen 0.13, screen 0.03 left bottom reverse Left vertical maxrows 3 \\
	samplen 2.5 spacing 1.25
set style data linespoints
plot {plots}
"""


def tick(fill_):
    """Returns what stands below a fill."""
    return f"{fill_:g} %%" + ("\\n(refused)" if fill_ == 100 else "")


def draw(name, found, methods, title, label):
    """Draws one curve."""
    points = found["methods"]
    methods = [m for m in methods if m in points]
    fills = [point["fill"] for point in points[methods[0]]]
    values = [p["ns"] / 1000 for m in methods for p in points[m] if p["ns"]]
    blocks, plots = "", []
    for m in methods:
        colour, shape, text = COLOURS[m]
        rows = [f"{i} {p['ns'] / 1000}" for i, p in enumerate(points[m]) if p["ns"]]
        block = "$" + m.replace(" ", "_")
        blocks += f"{block} << E\n" + "\n".join(rows) + "\nE\n"
        plots.append(f'{block} lc rgb "{colour}" lw 2.5 pt {shape} ps 0.7 title "{text}"')
    script = blocks + PLOT.format(
        path=os.path.join(OUT, name),
        title=title,
        label=label,
        ticks=", ".join(f'"{tick(fill)}" {i}' for i, fill in enumerate(fills)),
        last=len(fills) - 0.7,
        low=10 ** math.floor(math.log10(min(values))) * 0.99,
        high=10 ** math.ceil(math.log10(max(values)) + 0.1),
        plots=", ".join(plots),
    )
    subprocess.run(["gnuplot"], input=script, text=True, check=True)


def draw_all():
    """Draws all curves, and the one of connect in 28,000 ports once more, for the README."""
    for found in results["curves"]:
        what, ports = found["what"], found["ports"]
        name = f"{what}-{ports}"
        title = f"{what} in a range of {ports:,} ports"
        if found["destinations"] > 1:
            name += f"-to-{found['destinations']}"
            title += f", {found['destinations']} destinations"
        if found["filled by"] == "others":
            name += "-others"
            title += ", filled by others"
        draw(f"{name}.svg", found, tuple(COLOURS), title, "time of one")
    connects = [c for c in results["curves"] if c["what"] == "connect" and c["destinations"] == 1]
    found = max(connects, key=lambda c: c["ports"])
    title = f"One connection more, when a range of {found['ports']:,} ports fills up"
    label = "socket + connect + close"
    draw("fill.svg", found, ("bare", "range", "late"), title, label)


# ---- The rest --------------------------------------------------------------------------------


def storms(_):
    """Connections per second of many at once, on one pool, to one destination."""
    seconds = 0.4 if is_wide() else 0.1
    heading("connections per second on one pool of 28,000", *METHODS, width=12)
    for how in ("processes", "threads"):
        for count in (1, 2, 4, 16, 64) if is_wide() else (1, 16):
            rates = {m: [] for m in METHODS}
            with arenas(METHODS, 28000) as several:
                clients = {m: a.client(port=PORT + 1) for m, a in several.items()}
                for client in clients.values():
                    client.ask("listen", "tcp")
                for _ in range(rounds_of(4)):
                    for m, client in clients.items():
                        done, refused, ns = client.ask("storm", how, count, seconds)
                        expect(done and not refused, f"{count} {how}: {m}: {refused:.0f} refused")
                        rates[m].append(done / ns * 1e9)
            cells = "".join(f"{statistics.median(rates[m]):>12,.0f}" for m in METHODS)
            print(f"  {f'{count} {how}':<{WIDTH - 2}}{cells}", flush=True)
            results["figures"].append(
                {
                    "what": f"connections per second, {count} {how}",
                    "methods": {
                        m: {"median": statistics.median(r), "min": min(r), "max": max(r)}
                        for m, r in rates.items()
                    },
                }
            )


def alone(_):
    """Take and give back, against fill and threads."""
    fills, takes = (0, 50, 90, 99, 99.9, 100), 50000 if is_wide() else 5000
    heading("take + give back, ns of a processor", *(f"{fill:g} %" for fill in fills))
    with Arena("bare", 100) as arena:
        for ports in (1000, 10000, 28000):
            for threads in (1, 2, 4, 8) if is_wide() else (1, 8):
                row_ = []
                for fill_ in fills:
                    times = [
                        nanoseconds_each([arena.sink.ask("pool", ports, fill_, threads, takes)])[0]
                        for _ in range(rounds_of(3))
                    ]
                    row_.append({"fill": fill_, **summary(times)})
                cells = "".join(f"{point['ns']:>9.0f}" for point in row_)
                what = f"{ports:,} ports, {threads} thread{'s' if threads > 1 else ''}"
                print(f"  {what:<{WIDTH - 2}}{cells}", flush=True)
                results["figures"].append({"what": f"take + give back, {what}", "points": row_})


def churns(_):
    """Short connections: pools, who closes first, tcp_tw_reuse."""
    methods = ("bare", "late", "bind")
    heading("churn in TIME_WAIT: completed / refused per second", *methods, width=12)
    pools = (200, 1000, 10000) if is_wide() else (200,)
    cases = [("client", p, r) for p in pools for r in (0, 1, 2)] + [("server", p, 2) for p in pools]
    for who, ports, tw_reuse in cases:
        seconds = (2.5 if who == "client" else 1) if is_wide() else 0.1
        with arenas(methods, ports, tw_reuse=tw_reuse) as several:
            answers = churn(several, who, seconds, 2 * ports)
        cells, kept = "", {}
        for m, (done, refused, ns) in answers.items():
            expect(done > 0, f"churn, {m}: none completed")
            kept[m] = {"completed": done / ns * 1e9, "refused": refused / ns * 1e9}
            cells += f"{kept[m]['completed']:.0f}/{kept[m]['refused']:.0f}".rjust(12)
        what = f"{who} first, {ports:,} ports, tcp_tw_reuse {tw_reuse}"
        print(f"  {what:<{WIDTH - 2}}{cells}", flush=True)
        results["figures"].append({"what": f"churn, {what}", "methods": kept})


def passive():
    """What else a program pays."""
    unix, resident, own = [], [], []
    with Arena("bare", 28232) as arena:
        for place in range(rounds_of(4)):
            clients = {}
            for i, m in enumerate(("bare", "fenced")):
                clients[m] = arena.client(fenced=m == "fenced", port=PORT + 1 + 2 * place + i)
                clients[m].ask("listen", "unix")
            answers = take_turns(clients, rounds_of(40), "time", "unix", 100, 1)
            unix += ratios(answers, "fenced", "bare")
        for _ in range(rounds_of(5)):
            resident.append(memory(arena, True, "Rss") - memory(arena, False, "Rss"))
            own.append(memory(arena, True, "Anonymous") - memory(arena, False, "Anonymous"))
    row("connect of AF_UNIX", "", unix)
    row("resident memory of a process, more, 1,000 ports", "", resident, unit="KiB")
    row("of that, its own (the rest is shared)", "", own, unit="KiB")


def memory(arena, fenced, which):
    """Returns the KiB of a client after its first connects."""
    client = arena.client(fenced=fenced, span=(FIRST, FIRST + 999) if fenced else None)
    client.ask("time", "connect", 10, 1)
    with open(f"/proc/{client.process.pid}/smaps_rollup", encoding="ascii") as rollup:
        lines = dict(line.split(":", 1) for line in rollup if ":" in line)
    return int(lines[which].split()[0])


def many_to_several():
    """60,000 connections, to four destinations."""
    spent = {m: [] for m in ("bare", "late", "bind")}
    each = 15000 if is_wide() else 2500
    for _ in range(rounds_of(3)):
        for m, seconds in spent.items():
            with Arena(m, 60000, 4, first=1200) as arena:
                _, done, took = hold_together(arena, each, 60)
                expect(done == 4 * each, f"many connections, {m}: {done:.0f}")
                seconds.append(took)
    for m in ("late", "bind"):
        values = [a / b for a, b in zip(spent[m], spent["bare"])]
        row(f"{4 * each:,} connections, four destinations", m, values)


def flat():
    """A connect among 50,000 leases of a pool of 60,000, and among 10."""
    many = 50000 if is_wide() else 5000
    with contextlib.ExitStack() as stack:
        pools = {}
        for leases in (10, many):
            arena = stack.enter_context(Arena("late", 60000, first=1200))
            fill_wholly({leases: Filler(arena)}, "connect", leases)
            pools[leases] = arena.client()
        answers = take_turns(pools, rounds_of(80), "time", "connect", 30, 0.1)
    expect_all_done(answers, "leases")
    row(f"connect among {many:,} leases / among 10", "late", ratios(answers, many, 10))


def crowd():
    """200 processes of one pool, each with 20 connections; then 20 more."""
    spent = {m: ([], []) for m in ("bare", "late")}
    for _ in range(rounds_of(3)):
        for m, (first, later) in spent.items():
            with Arena(m, 28000) as arena:
                clients = [arena.client() for _ in range(200)]
                for seconds in (first, later):
                    _, done, took = hold_together(arena, 20, 60, clients)
                    expect(done == 4000, f"200 processes, {m}: {done:.0f} connections")
                    seconds.append(took)
    for i, what in enumerate(("start with 20 connections each", "open 20 more each")):
        values = [a / b for a, b in zip(spent["late"][i], spent["bare"][i])]
        row(f"200 processes {what}", "late", values)


def spent_ratios(servers, *command):
    """Returns the ratios with / without the fence of the time that a command takes, in turns."""

    def spent(ports):
        start = time.monotonic()
        servers.output(list(command), ports)
        return time.monotonic() - start

    return both_ways(spent, rounds_of(5), 15)


def other_programs(servers):
    """Real programs that open many connections, or few large ones."""
    heading("the fence / without", "median", "min", "max")
    if len(servers.processes) == 0:
        servers.start_nginx("static", 8080, 'return 200 "ok";')
    number = 5000 if is_wide() else 100
    ab = ["ab", "-q", "-n", str(number), "-c", "20", "http://127.0.0.1:8080/"]
    values = throughput(servers, ab, r"Requests per second: +([0-9.]+)", rounds_of(5))
    row("ab, a connection per request, requests/s", "", values)
    servers.start(5201, "iperf3", "-s")
    iperf = ["iperf3", "-c", "127.0.0.1", "-t", "1", "-f", "m"]
    values = throughput(servers, iperf, r"([0-9.]+) Mbits/sec +receiver", rounds_of(5), False)
    row("iperf3, throughput", "", values)
    servers.start_nginx("upstream", 8090, 'return 200 "ok";')
    urls = {None: "http://127.0.0.1:8091/", FENCE: "http://127.0.0.1:8092/"}
    for name, port, ports in (("plain", 8091, None), ("fenced", 8092, FENCE)):
        servers.start_nginx(name, port, "location / { proxy_pass http://127.0.0.1:8090; }", ports)
    wrk = ["wrk", "-t", "1", "-c", "16", "-d", "1s"]
    pattern = THROUGHPUT["wrk"][1]
    values = both_ways(lambda p: servers.figure(wrk + [urls[p]], pattern), rounds_of(10), 15, True)
    row("wrk through an nginx that proxies, requests/s", "", values)
    number = 100 if is_wide() else 5
    script = f"for i in $(seq {number}); do curl -sf -o /dev/null http://127.0.0.1:8080/; done"
    row(f"{number} curls, one after the other, time", "", spent_ratios(servers, "sh", "-euc", script))
    number = 4000 if is_wide() else 50
    values = spent_ratios(
        servers, "curl", "-sf", "-H", "Connection: close", f"http://127.0.0.1:8080/[1-{number}]"
    )
    row(f"{number:,} connections of one curl, time", "", values)


def table(servers):
    """The targets."""
    heading("the fence / without", "median", "min", "max", "target", "reached")
    table_low_fill()
    table_half_full()
    table_full()
    table_churn()
    table_many()
    table_udp()
    table_alone()
    table_passive()
    table_programs(servers)
    table_segment()


def others(_):
    """What has no target."""
    heading("the fence / without", "median", "min", "max")
    passive()
    many_to_several()
    flat()
    crowd()


def strict(_):
    """What a strict run costs: calls that the library makes, and those that a supervisor answers."""
    spans = {"late": (40000, 49999), "bind": (20000, 29999)}
    pairs, rounds, count = (4, 120, 40) if is_wide() else (1, 1, 20)
    heading("a strict run / without a fence", "median", "min", "max")
    times = {"bare": []}
    for _ in range(pairs):
        with Arena("bare", 28232) as arena:
            clients = {"bare": arena.client(port=PORT + 1)}
            for claim, (first, last) in spans.items():
                run = [PORTFENCE, "run", "--strict", "--ports", f"{first}-{last}", "--"]
                for who, more in (("library", []), ("supervisor", ["env", "PORTFENCE_DISABLE=1"])):
                    name, port = f"{claim} claim, by the {who}", PORT + 1 + len(clients)
                    clients[name] = arena.start(
                        arena.enter + run + more, "kernel", False, port, (first, last)
                    )
            for client in clients.values():
                client.ask("listen", "tcp")
            answers = take_turns(clients, rounds, "time", "served", count, 10)
            expect_all_done(answers, "connect")
            for name, found in answers.items():
                times.setdefault(name, []).extend(found)
    for name in times:
        if name != "bare":
            row("socket + connect + close", name, ratios(times, name, "bare"))
    for name, found in times.items():
        row("socket + connect + close", name, [n / 1000 for n in nanoseconds_each(found)], unit="µs")


PARTS = {
    "table": table,
    "curves": all_curves,
    "storms": storms,
    "pool": alone,
    "churn": churns,
    "others": others,
    "programs": other_programs,
    "strict": strict,
}


def machine():
    """Returns what the figures are of."""
    model = ""
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        for line in info:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
    return {
        "date": datetime.date.today().isoformat(),
        "processors": os.cpu_count(),
        "model": model,
        "kernel": platform.release(),
        "libc": " ".join(platform.libc_ver()),
        "load before": os.getloadavg()[0],
        "short": SHORT,
    }


def measure():
    """Runs everything."""
    results["machine"] = found = machine()
    began = time.monotonic()
    print(
        f"{found['model']}, {found['processors']} processors, Linux {found['kernel']}, "
        f"{found['libc']}, load {found['load before']:.1f}"
    )
    wanted = [word for word in sys.argv[1:] if not word.startswith("-")] or list(PARTS)
    with contextlib.ExitStack() as stack:
        servers = Servers(stack)
        for part in wanted:
            PARTS[part](servers)
    results["seconds"] = round(time.monotonic() - began)
    if is_wide():
        with open(os.path.join(OUT, "results.json"), "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)
            file.write("\n")
    if results["curves"]:
        draw_all()
    missed = [entry for entry in results["table"] if entry.get("reached") is False]
    print(f"\nbench: {results['seconds']} s", end="")
    if SHORT:
        print(f", {len(results['table'])} rows and {len(results['curves'])} curves did their work")
        expect(not missed, "the segments are too large")
    else:
        print(f", {len(results['table']) - len(missed)} of {len(results['table'])} targets reached")


def main():
    """Enters a network namespace, and cleans up behind."""
    global scratch, OUT
    if "--inside" not in sys.argv[1:]:
        inner = [sys.executable, os.path.abspath(__file__), "--inside"] + sys.argv[1:]
        command = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-r", "-n"]
        sys.exit(subprocess.call(command + inner))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    scratch = tempfile.mkdtemp(prefix="portfence-bench.", dir="/dev/shm")
    os.chmod(scratch, 0o755)
    if SHORT:
        OUT = scratch
    try:
        measure()
    except Failed as failure:
        sys.exit(f"bench: {failure}")
    finally:
        shutil.rmtree(scratch)


main()
