# SPDX-License-Identifier: MIT
# Fetches a URL many times into files, over TLS and four connections that eight threads share and
# that leave from an address of the program's choice: CERTIFICATE NUMBER URL
import concurrent.futures
import sys

import urllib3

certificate, number, url = sys.argv[1], int(sys.argv[2]), sys.argv[3]
pool = urllib3.PoolManager(
    maxsize=4, block=True, ca_certs=certificate, source_address=("127.0.0.1", 0))


def fetch(i):
    with open(f"out.{i}", "wb") as out:
        out.write(pool.request("GET", f"{url}?{i}").data)


with concurrent.futures.ThreadPoolExecutor(8) as threads:
    list(threads.map(fetch, range(number)))
