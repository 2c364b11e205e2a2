"""Objects in the tiers of the gateway: the memory of small ones, and hits from disk beside nginx's."""

import statistics
import threading
import time

import cases
import stage

MIB = 2**20
# As many files stay open as nginx may have.
FILES = """
  access_log off;
  open_file_cache max=4000 inactive=1h;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    root {folder}/store;
  }}
"""


def files(stack, folder, counts):
    """nginx with as many files of each size (bytes) as named, which is the store and the measure."""
    for size, count in counts.items():
        of_size = folder / "store" / "bucket" / str(size)
        of_size.mkdir(parents=True)
        for number in range(count):
            with (of_size / f"{number}.webp").open("wb") as file:
                file.truncate(size)
    return stage.nginx(stack, folder, "files", 1, stage.DIRECT, FILES)


def ask(server, size, count, connections, seconds, first=0):
    """Requests objects of a size, one after the other and again from the first."""
    return cases.wrk(server, f"{size}/", seconds, (), connections, "many.lua", (count, first))


def ask_each(server, size, count, connections=16):
    """Requests each object of a size at least once."""
    asked = 0
    while asked < count:
        seen = ask(server, size, count, connections, 2, asked)
        assert not seen["not_2xx"] and not seen["broken"], seen
        asked += seen["requests"]


def counted(gateway):
    """Bytes that the gateway counts for its entries in memory, and their number."""
    lines = gateway.of_admin("GET", "/metrics")[1].decode().splitlines()
    value = lambda name: next(float(line.split()[-1]) for line in lines if line.startswith(name))
    return value('s3proxy_cache_bytes{tier="memory"}'), value('s3proxy_cache_entries{tier="memory"}')


def hits(gateway, tier):
    name = f's3proxy_cache_hits_total{{tier="{tier}"}}'
    lines = gateway.of_admin("GET", "/metrics")[1].decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def small(start, size, count):
    """Bytes of memory and bytes counted for each of `count` objects of this size."""
    gateway = start({"cache": {"memory": "1GiB", "ttl": "1h"}})
    # What is needed once is there before.
    assert gateway.get(f"{size}/0.webp") == (200, size)
    cases.wrk(gateway, f"{size}/", 1, (), 16, "many.lua", (16, 0))
    time.sleep(1)
    before = gateway.memory()
    ask_each(gateway, size, count)
    time.sleep(3)
    bytes_counted, entries = counted(gateway)
    assert entries >= count, entries
    return {"used": (gateway.memory() - before) / entries, "counted": bytes_counted / entries}


def purged(gateway, hits):
    """p99 of hits in ms, before and while prefixes that match nothing are purged one after the other, and how many
    were."""
    before = hits()["p99"] / 1000
    ended, purges = threading.Event(), 0

    def purge():
        nonlocal purges
        while not ended.is_set():
            gateway.purge(purges)
            purges += 1

    purging = threading.Thread(target=purge)
    purging.start()
    try:
        during = hits()["p99"] / 1000
    finally:
        ended.set()
        purging.join()
    return {"before": before, "during": during, "purges": purges}


def on_disk(start, folder, size, count, readers):
    """A gateway with `count` objects of this size on its disk, and few of them in memory."""
    # Room for what is being read, and little more.
    memory = 16 + 3 * readers * size // MIB
    gateway = start({
        "cache": {
            "memory": f"{memory}MiB",
            "ttl": "1h",
            "disk": {"path": str(folder / f"disk-{time.monotonic_ns()}"), "size": "8GiB"},
        }
    })
    for _ in range(20):
        # What finds no room in the queue to the disk is stored the next time.
        ask_each(gateway, size, count)
        time.sleep(0.5)
        before = hits(gateway, "disk")
        seen = ask(gateway, size, count, 4, 2)
        if hits(gateway, "disk") - before > 0.9 * seen["requests"]:
            break
    return gateway


def disk(gateway, store, size, count, readers, seconds, rounds):
    """Microseconds of CPU of a hit from disk, and of nginx for the same file; the part of the requests that
    the disk answered; and the gateway's memory in bytes."""
    costs, parts = {"gateway": [], "nginx": []}, []
    for _ in range(rounds):
        for name, server in (("gateway", gateway), ("nginx", store)):
            before, from_disk = sum(server.cpu()), hits(gateway, "disk")
            seen = ask(server, size, count, readers, seconds)
            costs[name].append(1e6 * (sum(server.cpu()) - before) / seen["requests"])
            if name == "gateway":
                parts.append((hits(gateway, "disk") - from_disk) / seen["requests"])
    median = {name: statistics.median(of_all) for name, of_all in costs.items()}
    return {**median, "part": statistics.median(parts), "memory": gateway.memory()}
