"""Sky viewers in front of each peer, and concurrent clients of cold tiles: the load of the store."""

import contextlib
import os
import sys

import cases
import peers

MIB = 2**20
CROWD = 500
CROWD_TILES = 20
CROWD_BYTES = 420_000


def kept_files(folder):
    """Bytes of files in nginx's cache: its manager looks at the limit every 10 s."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.stat(os.path.join(where, name)).st_size
    return total


def session(options, binary, server, store, seed):
    """Runs one session and returns its cost."""
    kept = []
    arguments = seed, options.viewers, options.bursts, options.think_ms, options.tiles, options.zipf
    seen, user, system, requests, sent = cases.measured(
        server,
        store,
        lambda: cases.viewers(
            binary, server, "traffic", *arguments,
            watch=lambda: kept.append(kept_files(server.files) if server.files else 0),
        ),
    )
    return {
        "asked": seen["requests"],
        "distinct": seen["distinct"],
        "asked_mib": seen["bytes"] / MIB,
        "seconds": seen["microseconds"] / 1e6,
        "store_requests": requests,
        "store_mib": sent / MIB,
        "cpu_us": 1e6 * (user + system) / seen["requests"],
        "memory_mib": server.memory() / MIB,
        "files_mib": max(kept) / MIB,
        **{
            f"{what}_{rank}_ms": seen[what][rank] / 1000
            for what in ("objects", "missing", "not_modified", "bursts")
            for rank in ("p50", "p99")
        },
    }


def crowd(binary, server, store, tiles, first):
    """500 clients ask for the same cold tiles at once: requests and bytes that reach the store."""
    arguments = f"crowd-{tiles}/", CROWD_BYTES, first, tiles, CROWD
    seen, _, _, requests, sent = cases.measured(
        server, store, lambda: cases.viewers(binary, server, "crowd", *arguments)
    )
    return {
        "asked": seen["requests"],
        "tiles": tiles,
        "store_requests": requests,
        "store_mib": sent / MIB,
        "seconds": seen["microseconds"] / 1e6,
        "p50_ms": seen["all"]["p50"] / 1000,
        "p99_ms": seen["all"]["p99"] / 1000,
    }


def run(options, folder, place, gateway, origin, binary):
    """Per peer its session and its crowds, each peer alone on the machine."""
    start = {
        "nginx": lambda *rest: peers.nginx_cache(*rest, nopush=options.tcp_nopush),
        "varnish": lambda *rest: peers.varnish(*rest),
        "s3proxy": lambda stack, folder, *rest: peers.gateway(stack, folder, gateway, *rest),
    }
    results = {}
    for name, peer in start.items():
        print(f"traffic: {name}", file=sys.stderr)
        with contextlib.ExitStack() as stack:
            own = folder / f"traffic-{name}"
            own.mkdir()
            store = peers.Store(
                stack, own, origin, place.store, options.latency_ms, options.latency_ms
            )
            server = peer(stack, own, store, options.traffic_mib, place.peers)
            results[name] = {
                "cold": session(options, binary, server, store, seed=1),
                "warm": session(options, binary, server, store, seed=2),
            }
            crowds = [crowd(binary, server, store, 1, first) for first in range(3)]
            # The worst of them: one request too many is one too many.
            results[name]["one_tile"] = max(crowds, key=lambda each: each["store_requests"])
            results[name]["crowd"] = crowd(binary, server, store, CROWD_TILES, 0)
    return results
