# SPDX-License-Identifier: MIT
"""asyncio, all connections at once: many.py ADDRESS PORT COUNT, against an echo server.
Each sends its number and expects it back. Prints how many ended in which way."""
import asyncio
import collections
import resource
import sys

address, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


async def one(number):
    try:
        reader, writer = await asyncio.open_connection(address, port)
    except OSError as e:
        return f"{type(e).__name__}: {e}"
    line = b"%d of many\n" % number
    writer.write(line)
    answer = await reader.readexactly(len(line))
    peer = writer.get_extra_info("peername")[:2]
    writer.close()
    return f"connected to {peer}, " + ("echoed" if answer == line else repr(answer))


async def main():
    ends = await asyncio.gather(*map(one, range(count)))
    for end, number in sorted(collections.Counter(ends).items()):
        print(f"{number} {end}")

resource.setrlimit(resource.RLIMIT_NOFILE, (count + 100, count + 100))
asyncio.run(main())
