"""The client in its network namespace: sends GET requests at a rate, each on a connection of its own, and
waits for every answer.

    load.py        with jobs as JSON on standard input: [{"host", "port", "prefix", "paths": [...],
                   "rate": per second or 0, "headers", "patience": seconds}]

All jobs run at the same time; a rate of 0 sends all requests of a job at once. Prints, as JSON, a list for
each job of [seconds from the start, status or 0, seconds until the end of the body, reason of 0]. The bytes of
an object are compared with those of the store: other ones are `OTHER_BYTES`, also in a body that is cut.
"""

import asyncio
import json
import re
import sys
import time

from objects import body_of

OTHER_BYTES = "other bytes"
VERSIONS = 1, 2


async def get(job, path, started, begins):
    await asyncio.sleep(max(0, started + begins - time.monotonic()))
    began = time.monotonic()
    status, why, writer, head, body = 0, "", None, "", bytearray()
    try:
        async with asyncio.timeout(job.get("patience", 60)):
            reader, writer = await asyncio.open_connection(job["host"], job["port"])
            headers = "".join(f"{n}: {v}\r\n" for n, v in job.get("headers", {}).items())
            request = f"GET {job['prefix']}{path} HTTP/1.1\r\nHost: x\r\n{headers}Connection: close\r\n\r\n"
            writer.write(request.encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            length = re.search(r"(?im)^content-length: (\d+)", head)
            status = int(head.split(" ")[1])
            # nginx keeps a connection open while it asks a store in the background.
            while not (length and len(body) >= int(length[1])):
                if not (piece := await reader.read(1 << 20)):
                    break
                body.extend(piece)
            if length and len(body) != int(length[1]):
                status, why = 0, "the body is cut"
            elif status >= 400:
                why = body.decode("latin-1")[:300]
    except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
        status, why = 0, repr(error)
    finally:
        if writer:
            writer.close()
    took = time.monotonic() - began
    if re.match("HTTP/1.1 20[06]", head) and not is_of_one_version(path, head, bytes(body)):
        status, why = 0, OTHER_BYTES
    return [round(began - started, 3), status, round(took, 4), why]


def is_of_one_version(path, head, body):
    """Whether the body is what one version of the object has there, or the beginning of that."""
    part = re.search(r"(?im)^content-range: bytes (\d+)-(\d+)/", head)
    first, last = (int(part[1]), int(part[2])) if part else (0, None)
    versions = (body_of(f"/sky/{path}", version) for version in VERSIONS)
    return any(whole[first : last and last + 1].startswith(body) for whole in versions)


async def run(job, share, started):
    """`share`, from 0 to 1: the jobs' requests do not come at the same moments."""
    rate = job["rate"]
    begins = ((nth + share) / rate if rate else 0 for nth in range(len(job["paths"])))
    return await asyncio.gather(
        *(get(job, path, started, begin) for path, begin in zip(job["paths"], begins))
    )


async def main():
    jobs = json.loads(sys.stdin.read())
    for path in {path for job in jobs for path in job["paths"]}:
        body_of(f"/sky/{path}")
    started = time.monotonic() + 0.1
    shares = (nth / len(jobs) for nth in range(len(jobs)))
    answers = await asyncio.gather(*(run(job, share, started) for job, share in zip(jobs, shares)))
    print(json.dumps(answers))


if __name__ == "__main__":
    asyncio.run(main())
