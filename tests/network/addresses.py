"""Faults of addresses and connections: hung nodes, lost packets, dead connections, moved names."""

import contextlib
import time

import lab as network
from scenario import (CONNECT, FIRST_BYTE, ROADS, TIMEOUTS, UNACKNOWLEDGED, figures, must_not_fail, scenario,
                      shares, side_by_side, waited)


@scenario("hung-node", "One of three nodes accepts connections and never answers; 55 requests/s")
def _(lab, report):
    rate, seconds = 55, 30
    with side_by_side(lab, report) as servers:
        for who, server in servers.items():
            must_not_fail(report, who, server.get(60, rate))
            shares(lab)
            lab.stores[0].mode("hang")
            answers = server.get(rate * seconds, rate)
            hung, one, other = shares(lab)
            lab.stores[0].mode("ok")
            # What is sent before the first time-out meets a node of which nothing is known.
            later = [answer for answer in answers if answer.began > FIRST_BYTE + 1]
            slow = waited(later, FIRST_BYTE)
            report.row(who, **figures(answers), **{
                "at the hung node": hung, "at the others": f"{one}, {other}",
                f"over {FIRST_BYTE} s": waited(answers, FIRST_BYTE),
                "of these after the first time-out": slow,
            })
            if who == "nginx":
                continue
            must_not_fail(report, who, answers)
            report.must(max(one, other) < 1.1 * min(one, other),
                        f"{who}: the others get the same within 10 %: {one}, {other}")
            report.must(slow <= seconds // 10, f"{who}: one slow request per probe at most: {slow}")


@scenario("broken-node", "One of three nodes resets each connection, or answers 500 to all; 20 requests/s")
def _(lab, report):
    for way, mode in {"resets": "reset", "answers 500": "error"}.items():
        lab.heal()
        lab.stores[0].mode(mode)
        for who, cached in ROADS.items():
            with lab.gateway(cached) as server:
                answers = server.get(160, 20)
            broken, one, other = shares(lab)
            report.row(f"{who}, it {way}", **figures(answers), **{
                "at the broken node": broken, "at the others": f"{one}, {other}"})
            must_not_fail(report, f"{who}, {way}", answers)
            report.must(max(one, other) < 1.1 * min(one, other),
                        f"{who}, {way}: the others get the same within 10 %: {one}, {other}")
            report.must(broken <= 6, f"{who}, {way}: passed over after 3 in a row: {broken}")


@scenario("refused", "Two of three addresses refuse connections, from the start of the gateway on")
def _(lab, report):
    for store in lab.stores[:2]:
        store.do("listen", on=False)
    for who, cached in ROADS.items():
        answers = []
        for _start in range(4):
            with lab.gateway(cached) as server:
                answers += server.get(12, 20)
        report.row(who, **figures(answers))
        must_not_fail(report, who, answers)
        report.must(max(answer.took for answer in answers) < 1, f"{who}: no answer over 1 s")
    if report.has_nginx:
        with lab.nginx() as nginx:
            report.row("nginx", **figures(nginx.get(48, 20)))


@scenario("lost-packets", "One of three addresses loses every packet; new connections all the time")
def _(lab, report):
    # Each request meets a pool without connections: an idle one is closed after a moment.
    settings = {**TIMEOUTS, "idle_timeout": "10ms"}
    lab.stores[0].silence(network.GATEWAY)
    with side_by_side(lab, report, settings) as servers:
        results = lab.load(*(server.job(350, 10) for server in servers.values()))
        for (who, server), answers in zip(servers.items(), results):
            report.row(who, **figures(answers), **{f"over {CONNECT} s": waited(answers, CONNECT)})
            if who == "nginx":
                continue
            must_not_fail(report, who, answers)
            report.must(not waited(answers, CONNECT), f"{who}: none waits for the time-out")
            # At the start, then one probe after 10 s and one after 20 s more.
            lost = server.log().count("is passed over")
            report.must(1 <= lost <= 3, f"{who}: one request per probe meets it: {lost}")


@scenario("ipv6-lost", "All packets of IPv6 are lost; IPv4 works")
def _(lab, report):
    lab.resolve(*network.V6, *network.V4)
    for store in lab.stores:
        store.silence(network.GATEWAY6)
    for who, cached in ROADS.items():
        with lab.gateway(cached, {"idle_timeout": "10ms"}) as server:
            first = server.get(1)
            # Within the time for which an address is passed over.
            answers = server.get(50, 10)
            met = server.log().count("is passed over")
        report.row(who, **{**figures(first + answers), "first s": first[0].took})
        must_not_fail(report, who, first + answers)
        report.must(first[0].took < 1, f"{who}: the first answer within 1 s: {first}")
        report.must(met == len(network.V6), f"{who}: the family that works is remembered: {met}")


@scenario("cold-start", "Two of three addresses lose every packet when the gateway starts")
def _(lab, report):
    for store in lab.stores[:2]:
        store.silence(network.GATEWAY)
    for who, cached in ROADS.items():
        first = []
        for _start in range(4):
            with lab.gateway(cached) as server:
                first += server.get(1)
        report.row(who, **figures(first))
        must_not_fail(report, who, first)
        report.must(max(answer.took for answer in first) < 1, f"{who}: answers within 1 s: {first}")


@scenario("reset-when-idle", "Idle connections are dead: the next request on each is reset; a burst of 20")
def _(lab, report):
    for who, cached in ROADS.items():
        answers, doomed = [], 0
        for connections in (2, 2, 2, 40):
            with lab.gateway(cached) as server:
                for store in lab.stores:
                    store.mode("slow", delay=0.3)
                must_not_fail(report, f"{who}, before", server.get(connections))
                for store in lab.stores:
                    store.mode("ok")
                    doomed += store.do("doom")["doomed"]
                answers += server.get(20)
        report.row(who, **{**figures(answers), "dead connections": doomed})
        report.must(doomed >= 46, f"{who}: there were connections to reset: {doomed}")
        must_not_fail(report, who, answers)


@scenario("dead-pool", "200 idle connections die without a word; 2 requests/s")
def _(lab, report):
    for who, cached in ROADS.items():
        lab.heal()
        with lab.gateway(cached) as server:
            for store in lab.stores:
                store.mode("slow", delay=2)
            must_not_fail(report, f"{who}, before", server.get(200))
            for store in lab.stores:
                store.mode("ok")
            held = sum(store.do("counts")["open"] for store in lab.stores)
            time.sleep(2)
            lab.forget_connections()
            answers = server.get(20, 2)
            burst = server.get(60)
        report.row(who, **{**figures(answers), "idle connections": held,
                           "failed in a burst of 60": sum(answer.failed for answer in burst)})
        report.must(held >= 190, f"{who}: there were connections to lose: {held}")
        must_not_fail(report, who, answers + burst)
        slow = [answer for answer in answers + burst if answer.took > UNACKNOWLEDGED]
        report.must(len(slow) <= 1, f"{who}: one slow request at most: {slow}")
        slowest = max(answer.took for answer in answers + burst)
        report.must(slowest < 6, f"{who}: none over 6 s: {slowest}")


@scenario("moved-name", "The only address of the name fails, and the name moves to another one")
def _(lab, report):
    ways = {"refuses": lambda store: store.do("listen", on=False),
            "is silent": lambda store: store.silence(network.GATEWAY),
            "hangs": lambda store: store.mode("hang")}
    for way, fail in ways.items():
        lab.heal()
        lab.resolve(network.V4[0])
        with contextlib.ExitStack() as stack:
            servers = {road: stack.enter_context(lab.gateway(cached, TIMEOUTS))
                       for road, cached in ROADS.items()}
            for who, server in servers.items():
                must_not_fail(report, f"{who}, before", server.get(10, 5))
            fail(lab.stores[0])
            lab.resolve(network.V4[1])
            results = lab.load(*(server.job(60, 10) for server in servers.values()))
        for who, answers in zip(servers, results):
            good = [answer.began + answer.took for answer in answers if not answer.failed]
            first = round(min(good, default=999), 2)
            report.row(f"{who}, the old one {way}", **{**figures(answers), "first 200 after s": first})
            report.must(first < 3, f"{who}, {way}: the first 200 within 3 s: {first}")
            must_not_fail(report, f"{who}, {way}", answers)


@scenario("check", "The same faults at the first of three addresses, met by `s3proxy check`")
def _(lab, report):
    faults = {"none": lambda store: None,
              "it refuses": lambda store: store.do("listen", on=False),
              "it loses every packet": lambda store: store.silence(network.GATEWAY),
              "it hangs": lambda store: store.mode("hang"),
              "it resets": lambda store: store.mode("reset"),
              "its error stops half-way": lambda store: store.mode("unfinished", status=500)}
    for fault, fail in faults.items():
        lab.heal()
        fail(lab.stores[0])
        began = time.monotonic()
        steps = lab.check(TIMEOUTS)
        took = round(time.monotonic() - began, 1)
        report.row(fault, answer=steps["answer"], request=steps["request"], **{"took s": took})
        report.must(steps["answer"].startswith("200"), f"{fault}: {steps}")
        report.must(took < 15, f"{fault}: in time: {took}")
