# SPDX-License-Identifier: MIT
"""asyncio as an HTTP client, several connections at once: get.py ADDRESS PORT PATH COUNT.
Prints the body of each, and what went wrong."""
import asyncio
import sys

address, port, path, count = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])


async def get():
    try:
        reader, writer = await asyncio.open_connection(address, port)
        writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
    except OSError as e:
        return f"{type(e).__name__}: {e}\n".encode()
    return answer.partition(b"\r\n\r\n")[2]


async def main():
    for body in await asyncio.gather(*(get() for _ in range(count))):
        sys.stdout.buffer.write(body)

asyncio.run(main())
