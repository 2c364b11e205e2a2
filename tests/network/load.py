"""The client in its network namespace: sends GET requests at a rate, each on a connection of its own, and
waits for every answer.

    load.py JOBS        as JSON: [{"host", "port", "paths": [...], "rate": per second or 0, "patience"}]

All jobs run at the same time; a rate of 0 sends all requests of a job at once. Prints, as JSON, a list for
each job of [seconds from the start, status or 0, seconds until the end of the body, reason of 0].
"""

import asyncio
import json
import re
import sys
import time


async def get(job, path, started, begins):
    await asyncio.sleep(max(0, started + begins - time.monotonic()))
    began = time.monotonic()
    status, why, writer = 0, "", None
    try:
        async with asyncio.timeout(job.get("patience", 60)):
            reader, writer = await asyncio.open_connection(job["host"], job["port"])
            headers = "".join(f"{n}: {v}\r\n" for n, v in job.get("headers", {}).items())
            request = f"GET {path} HTTP/1.1\r\nHost: x\r\n{headers}Connection: close\r\n\r\n"
            writer.write(request.encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            length = re.search(r"(?im)^content-length: (\d+)", head)
            body = await reader.read(-1)
            status = int(head.split(" ")[1])
            if length and len(body) != int(length[1]):
                status, why = 0, "the body is cut"
            elif status >= 400:
                why = body.decode("latin-1")[:300]
    except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
        why = repr(error)
    finally:
        if writer:
            writer.close()
    return [round(began - started, 3), status, round(time.monotonic() - began, 4), why]


async def run(job, started):
    rate = job["rate"]
    begins = (nth / rate if rate else 0 for nth in range(len(job["paths"])))
    return await asyncio.gather(
        *(get(job, path, started, begin) for path, begin in zip(job["paths"], begins))
    )


async def main():
    started = time.monotonic() + 0.1
    jobs = json.loads(sys.stdin.read())
    print(json.dumps(await asyncio.gather(*(run(job, started) for job in jobs))))


asyncio.run(main())
