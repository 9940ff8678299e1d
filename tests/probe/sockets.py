# SPDX-License-Identifier: MIT
"""What the Python programs of rules.bats share: sockets, and the calls that Python has no name for."""

import ctypes
import os
import socket
import struct
import subprocess
import sys
import time

AF_INET, AF_INET6, TCP, UDP = socket.AF_INET, socket.AF_INET6, socket.SOCK_STREAM, socket.SOCK_DGRAM
libc = ctypes.CDLL(None, use_errno=True)


def pool():
    """The ports of the fence, one range."""
    first, last = os.environ["PORTFENCE_PORTS"].split("-")
    return range(int(first), int(last) + 1)


def new(kind=TCP, *options):
    """A socket that leaves no TIME_WAIT, with SOL_SOCKET options set."""
    s = socket.socket(AF_INET, kind)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    for option in options:
        s.setsockopt(socket.SOL_SOCKET, option, 1)
    return s


def dial(port, host="127.0.0.1"):
    """A TCP connection."""
    s = socket.socket(AF_INET6 if ":" in host else AF_INET)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.connect((host, port))
    return s


def listener(port=0):
    """A TCP socket that listens on loopback."""
    s = new()
    s.bind(("127.0.0.1", port))
    s.listen(100)
    return s


def port_of(s):
    return s.getsockname()[1]


def where(*sockets):
    """Says whether the local ports are all of the pool."""
    strays = [port_of(s) for s in sockets if port_of(s) not in pool()]
    return f"outside: {strays}" if strays else "inside"


def refusals(calls):
    """How many of the calls, functions without arguments, fail. Keeps what the others return."""
    count = 0
    for call in calls:
        try:
            kept.append(call())
        except OSError as e:
            count += 1
            if e.errno not in errors:
                print(e, file=sys.stderr)
            errors.add(e.errno)
    return count


kept, errors = [], set()


def stand(count):
    """Dials until so many connections stand: for 200 ms after the tenth refusal, at the most."""
    ports, refused, end = set(), 0, float("inf")
    while len(ports) < count and time.monotonic() < end:
        if refusals([lambda: dial(8080)]) == 0:
            ports.add(port_of(kept[-1]))
            continue
        refused += 1
        if refused == 10:
            end = time.monotonic() + 0.2
        if refused >= 10:
            time.sleep(0.005)
    return len(ports)


def disconnect(s):
    """connect(2) to AF_UNSPEC."""
    return libc.connect(s.fileno(), bytes(16), 16)


def in_child(program):
    """Runs a function in a forked process. Returns how that ended, as waitpid says."""
    pid = os.fork()
    if pid == 0:
        try:
            program()
            os._exit(0)
        except BaseException as e:
            print("child:", e)
        finally:
            sys.stdout.flush()
            os._exit(1)
    return os.waitpid(pid, 0)[1]


def hand_over(s, program):
    """Runs a Python program by the command in sys.argv. It inherits the socket, as `s`."""
    program = f"from sockets import *\ns = socket.socket(fileno={s.fileno()})\n" + program
    command = [*sys.argv[1:], sys.executable, "-c", program]
    subprocess.run(command, pass_fds=[s.fileno()], check=True)


def netns_new():
    """Moves this process into a network namespace of its own."""
    if libc.unshare(0x40000000) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    unfenced("ip", "link", "set", "lo", "up")


def unfenced(*command):
    """Runs a command outside the fence."""
    environment = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    return subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)


def sysctl(name, value):
    with open("/proc/sys/net/ipv4/" + name, "w") as file:
        file.write(value)
