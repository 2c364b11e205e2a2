"""Faults of answers: stale objects in an outage, bodies that end half-way, documents that do not end."""

import contextlib
import time

import lab as network
from load import OTHER_BYTES
from scenario import (CONNECT, FIRST_BYTE, ROADS, TIMEOUTS, figures, must_not_fail, percentile_ms, scenario,
                      shares, side_by_side)

TILES, RANGES = 19, 4
CACHE = {"ttl": "1s", "stale_while_revalidate": 0, "stale_if_error": "1h", "max_object": "1MiB",
         "patterns": [{"match": "sky/fresh-*", "ttl": "1h"}]}
CACHE_OF_NGINX = "proxy_cache_valid 200 1s; proxy_cache_use_stale error timeout updating; "


def all_at_once(server, tiles, big):
    """A view: jobs for the tiles, and for ranges of a large file."""
    parts = [{"Range": f"bytes={nth << 21}-{(nth << 21) + 9999}"} for nth in range(RANGES)]
    return [server.job(0, paths=tiles), *(server.job(0, paths=[big], headers=part) for part in parts)]


def at_a_rate(server, tiles, big):
    """The same objects again, for 5 s."""
    return [{**job, "rate": rate, "paths": (job["paths"] * 5 * rate)[: 5 * rate]}
            for rate, job in zip([30] + [5] * RANGES, all_at_once(server, tiles, big))]


def ask(lab, jobs):
    """The answers of all these jobs together."""
    return [answer for answers in lab.load(*jobs) for answer in answers]


@scenario("stale-at-once", f"The whole store is lost: {TILES} expired tiles and {RANGES} ranges of a large file")
def _(lab, report):
    ways = {"is silent": lambda store: store.silence(network.GATEWAY),
            "hangs": lambda store: store.mode("hang")}
    for way, fail in ways.items():
        lab.heal()
        tiles, fresh = ([f"{name}-{way[:2]}{nth}-20480.png" for nth in range(TILES)]
                        for name in ("stale", "fresh"))
        wanted = tiles, f"stale-{way[:2]}-8388608.fits"
        with contextlib.ExitStack() as stack:
            servers = {"cached": stack.enter_context(lab.gateway(True, TIMEOUTS, cache=CACHE))}
            if report.has_nginx and way == "hangs":
                servers["nginx"] = stack.enter_context(
                    lab.nginx(timeouts=(CONNECT, FIRST_BYTE), cache=CACHE_OF_NGINX))
            for who, server in servers.items():
                must_not_fail(report, f"{who}, before", ask(lab, all_at_once(server, *wanted)))
            must_not_fail(report, "before", servers["cached"].get(0, paths=fresh))
            time.sleep(1.5)
            for store in lab.stores:
                fail(store)
            shares(lab)
            for who, server in servers.items():
                view = ask(lab, all_at_once(server, *wanted))
                # Beside hits that never need the store, whatever else the machine does.
                hits = servers["cached"].job(0, 50, paths=(fresh * 14)[:250])
                *later, hits = lab.load(*at_a_rate(server, *wanted), hits)
                later = [answer for answers in later for answer in answers]
                took = round(max(answer.took for answer in view), 2)
                p99, of_hits = percentile_ms(later, 99), percentile_ms(hits, 99)
                report.row(f"{who}, it {way}", requests=len(view + later),
                           failed=sum(answer.failed for answer in view + later), **{
                               "the view took s": took, "after it: p50 ms": percentile_ms(later, 50),
                               "p99 ms": p99, "p99 of fresh hits beside ms": of_hits})
                if who == "nginx":
                    continue
                asked = sum(shares(lab))
                must_not_fail(report, f"it {way}", view + later)
                report.must(took < 2, f"it {way}: the view within 2 s: {took}")
                # On a busy machine fresh hits are slow, too.
                report.must(p99 < max(10, 2 * of_hits), f"it {way}: p99 under 10 ms: {p99}, of hits {of_hits}")
                # Three addresses for each of the first ones, and one probe a second.
                most = 3 * len(view) + 10
                report.must(asked <= most, f"it {way}: {len(later)} cost the store nothing: {asked}")


@scenario("broken-bodies", "One body in five ends half-way; 100 KiB at 20/s, 3 MiB at 5/s")
def _(lab, report):
    whole_in_memory = {"max_object": "1MiB"}
    for way, options in {"by a reset": {}, "in silence": {"silent": True}}.items():
        for who in [*ROADS, *(["nginx"] if report.has_nginx else [])]:
            server = (lab.nginx(timeouts=(CONNECT, FIRST_BYTE)) if who == "nginx" else
                      lab.gateway(ROADS[who], TIMEOUTS, cache=whole_in_memory))
            lab.heal()
            for store in lab.stores:
                store.mode("cut", **options)
            with server as server:
                small, large = lab.load(server.job(60, 20, size=100 << 10),
                                        server.job(12, 5, size=3 << 20))
            broken = sum(store.do("counts")["broken"] for store in lab.stores)
            report.row(f"{who}, {way}", **figures(small + large), **{"broken at the store": broken})
            if who == "nginx":
                continue
            must_not_fail(report, f"{who}, {way}", small + large)
            report.must(broken >= 10, f"{who}, {way}: there were broken bodies: {broken}")
            slowest = max(answer.took for answer in small + large)
            report.must(slowest < 9, f"{who}, {way}: none waits for read_timeout: {slowest}")


@scenario("broken-and-overwritten", "One body in five ends half-way, and its object is overwritten just then")
def _(lab, report):
    lab.resolve(network.V4[0])
    for who, cached in ROADS.items():
        lab.stores[0].mode("cut", change=True)
        with lab.gateway(cached, TIMEOUTS) as server:
            answers = server.get(60, 20, size=100 << 10)
        broken = lab.stores[0].do("counts")["broken"]
        mixed = sum(answer.why == OTHER_BYTES for answer in answers)
        cut = sum(answer.failed for answer in answers) - mixed
        report.row(who, **figures(answers), **{"broken at the store": broken, "cut": cut,
                                               "bytes of two versions": mixed})
        report.must(broken >= 10, f"{who}: there were broken bodies: {broken}")
        report.must(cut == broken, f"{who}: every one is seen to be cut: {cut} of {broken}")
        report.must(not mixed, f"{who}: never bytes of two versions: {mixed}")


@scenario("unfinished-documents", "An error of the store whose document stops half-way; 10 requests/s")
def _(lab, report):
    for status, expected in {404: 404, 403: 403, 500: 502}.items():
        lab.heal()
        for store in lab.stores:
            store.mode("unfinished", status=status)
        with side_by_side(lab, report) as servers:
            results = lab.load(*(server.job(20, 10) for server in servers.values()))
        for who, answers in zip(servers, results):
            wrong = [answer for answer in answers if answer.status not in (expected, status)]
            slowest = round(max(answer.took for answer in answers), 2)
            report.row(f"{who}, {status}", requests=len(answers),
                       **{"without a whole answer": len(wrong), "slowest s": slowest})
            if who == "nginx":
                continue
            report.must(not wrong, f"{who}, {status}: each has its answer: {wrong[:3]}")
            report.must(slowest < 6, f"{who}, {status}: two attempts of 2 s at most: {slowest}")
