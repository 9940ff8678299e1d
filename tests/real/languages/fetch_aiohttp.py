# SPDX-License-Identifier: MIT
# Fetches a URL many times at once into files: NUMBER URL
import asyncio
import sys

import aiohttp


async def fetch(session, i):
    async with session.get(f"{sys.argv[2]}?{i}") as answer:
        with open(f"out.{i}", "wb") as out:
            out.write(await answer.read())


async def main():
    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(fetch(session, i) for i in range(int(sys.argv[1]))))


asyncio.run(main())
