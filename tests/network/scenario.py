"""What scenarios share. A scenario is a function `(lab, report)`:

    @scenario("name", "what happens and what must hold")
    def _(lab, report): ...

`report.row(who, **figures)` adds a line to the table, `report.must(held, text)` states a target. The lab is
healed before each scenario.
"""

import contextlib

SCENARIOS = {}
ROADS = {"uncached": False, "cached": True}


def scenario(name, title):
    def add(function):
        SCENARIOS[name] = (title, function)
        return function
    return add


def figures(answers):
    """What a table says of answers."""
    times = sorted(answer.took for answer in answers)
    return {
        "requests": len(answers),
        "failed": sum(answer.failed for answer in answers),
        "over 1 s": sum(took > 1 for took in times),
        "median ms": round(1000 * times[len(times) // 2], 1),
        "slowest s": round(times[-1], 2),
    }


def waited(answers, seconds):
    """How many took as long as a time-out."""
    return sum(answer.took >= seconds for answer in answers)


def percentile_ms(answers, percent):
    """A percentile of the times, in milliseconds."""
    times = sorted(answer.took for answer in answers)
    return round(1000 * times[len(times) * percent // 100], 1)


def must_not_fail(report, who, answers):
    failed = [answer for answer in answers if answer.failed]
    report.must(not failed, f"{who}: no request fails; failed: {failed[:3]}")


def shares(lab):
    return [store.do("counts")["requests"] for store in lab.stores]


# Seconds; the last one is how long sent bytes may stay unacknowledged.
FIRST_BYTE, CONNECT, UNACKNOWLEDGED = 5, 2, 4
TIMEOUTS = {"first_byte_timeout": f"{FIRST_BYTE}s", "total_timeout": "20s",
            "connect_timeout": f"{CONNECT}s"}


@contextlib.contextmanager
def side_by_side(lab, report, settings=TIMEOUTS):
    """The servers that are compared, by name, at the same time: a gateway for each road, and nginx if it is
    installed."""
    with contextlib.ExitStack() as stack:
        servers = {road: stack.enter_context(lab.gateway(cached, settings)) for road, cached in ROADS.items()}
        if report.has_nginx:
            servers["nginx"] = stack.enter_context(lab.nginx(timeouts=(CONNECT, FIRST_BYTE)))
        yield servers
