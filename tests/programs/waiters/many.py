# SPDX-License-Identifier: MIT
"""asyncio, all connections at once: many.py ADDRESS PORT COUNT [PATH].
With a path as an HTTP client, which prints the body of each and what went wrong. Else against an echo server:
each sends its number and expects it back, and how many ended in which way is printed."""
import asyncio
import collections
import resource
import sys

address, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


async def get(path):
    try:
        reader, writer = await asyncio.open_connection(address, port)
        writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
    except OSError as e:
        return f"{type(e).__name__}: {e}\n".encode()
    return answer.partition(b"\r\n\r\n")[2]


async def echo(number):
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
    if sys.argv[4:]:
        for body in await asyncio.gather(*(get(sys.argv[4]) for _ in range(count))):
            sys.stdout.buffer.write(body)
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (count + 100, count + 100))
    ends = await asyncio.gather(*map(echo, range(count)))
    for end, number in sorted(collections.Counter(ends).items()):
        print(f"{number} {end}")

asyncio.run(main())
