# SPDX-License-Identifier: MIT
# Fetches a URL many times into files, in eight threads with a session each: NUMBER URL
import concurrent.futures
import sys

import requests

number, url = int(sys.argv[1]), sys.argv[2]


def fetch(n):
    with requests.Session() as session:
        for i in range(n, number, 8):
            with open(f"out.{i}", "wb") as out:
                out.write(session.get(f"{url}?{i}").content)


with concurrent.futures.ThreadPoolExecutor(8) as threads:
    list(threads.map(fetch, range(8)))
