"""Whether the answers of a test with one sender are those with the other.

The strictest relation that a test allows is asked for. `by_connections`: the connections of one run with one sender
are, answer for answer, those of a run with the other. Else each request is looked at by itself. `by_requests`: the
answers to it in a run with one sender are, number for number, those in a run with the other. A request for which runs
with one sender differ among themselves depends on the moment. `by_sets`: each answer that one sender has given to such
a request is also one of the other. `by_races`: so it is but for `Cache-Status` and `Age`, because time decides which
of several clients is said to have waited for another, and which blocks were there already; and for each kind of
`Cache-Status` the test has seen the same headers, in the same order, with both. Where time decides what is requested,
too, a request of one sender alone stands for all that differ from it in numbers. `by_heads`: that is all that is
compared, in tests which are named with the reason.
"""

import collections
import re

RACED = re.compile(r"^(?:cache-status|age): [^\r\n]*(?:\r\n|$)", re.IGNORECASE | re.MULTILINE)
CACHE_STATUS = re.compile(r"^cache-status: ([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
NAME = re.compile(r"^([^:\r\n]+):", re.MULTILINE)
DETAIL = re.compile(r"detail=(?:\"[^\"]*\"|\w+)")
NUMBER = re.compile(r"\d+")
# Without this number of runs with each sender it is not known whether a test repeats its answers.
REPEATS = 3
STRICTEST_FIRST = ["by_connections", "by_requests", "by_sets", "by_races", "one_alone", "different"]


def answers(run):
    """The answers to each request of a run, counted."""
    found = collections.defaultdict(collections.Counter)
    for connection, times in run.items():
        for exchange in connection:
            found[exchange.request][exchange.answer] += times
    return found


def repeats(runs):
    """Whether these runs say that the answers to a request do not depend on the moment."""
    return len(runs) < REPEATS or all(run == runs[0] for run in runs)


def share(one, other):
    return any(run in other for run in one)


def without_races(counted):
    """Answers without what depends on which client comes first, and their heads by this."""
    plain, heads = collections.Counter(), set()
    for answer, times in counted.items():
        head, end, body = answer.partition("\r\n\r\n")
        status = head.split("\r\n", 1)[0]
        values = tuple(NUMBER.sub("N", DETAIL.sub("detail", value)) for value in CACHE_STATUS.findall(head))
        names = NAME.findall(head)
        if not any("; hit" in value for value in values):
            # Who has waited for more than a second is told the age.
            names = [name for name in names if name.lower() != "age"]
        heads.add((status, values, tuple(names)))
        plain[RACED.sub("", head + "\r\n") + end + body] += times
    return plain, heads


def of_request(one, other):
    """The relation of the answers to one request: those in each run with one sender, and with the other."""
    # Where time decides whether a request is made, its answers need not repeat either.
    do_repeat = repeats(one) and repeats(other)
    one, other = [run for run in one if run], [run for run in other if run]
    if not one or not other:
        return "one_alone"
    if share(one, other):
        return "by_requests"
    if do_repeat:
        return "different"
    if set().union(*one) == set().union(*other):
        return "by_sets"
    one, other = ([without_races(run)[0] for run in runs] for runs in (one, other))
    return "by_races" if share(one, other) or set().union(*one) == set().union(*other) else "different"


def heads(runs):
    """The heads of all answers of some runs, by `Cache-Status`."""
    return set().union(*(without_races(counted)[1] for run in runs for counted in run.values()))


def kinds(runs):
    return {NUMBER.sub("N", request) for run in runs for request in run}


def relation(one, other, heads_alone=False):
    """How the runs of a test with one sender are equal to those with the other, and the requests with the weakest
    relation."""
    if share(one, other):
        return "by_connections", []
    enough = min(len(one), len(other)) >= REPEATS
    one, other = [answers(run) for run in one], [answers(run) for run in other]
    of = {
        request: of_request([run[request] for run in one], [run[request] for run in other])
        for request in sorted(set().union(*one, *other))
    }
    weakest = max(of.values(), key=STRICTEST_FIRST.index)
    requests = [request for request, its in of.items() if its == weakest]
    if weakest == "one_alone":
        known = kinds(one) & kinds(other)
        alone = [request for request in requests if NUMBER.sub("N", request) not in known]
        weakest = "different" if alone or not enough else "by_races"
        requests = alone or requests
    if weakest == "by_races" and heads(one) != heads(other):
        weakest = "different"
    if weakest == "different" and heads_alone and enough and heads(one) == heads(other):
        weakest = "by_heads"
    return weakest, requests
