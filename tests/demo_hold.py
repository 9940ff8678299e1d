#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Opens connections and keeps them until its input ends: demo_hold.py COUNT HOST PORT"""

import socket
import sys

count, host, port = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
connections = [socket.create_connection((host, port)) for _ in range(count)]
print(*(c.getsockname()[1] for c in connections), flush=True)
sys.stdin.read()
