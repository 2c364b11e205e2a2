"""What the client of the end-to-end suite has recorded (tests/support/answers.rs), as text that can be compared."""

import collections
import functools
import json
import re

# What two requests to one sender do not share. Order matters: the special before the general.
VARIABLE = [
    (re.compile(pattern), replacement)
    for pattern, replacement in [
        (r"(?im)^(date|age|last-modified|expires|x-request-id): [^\r\n]*", r"\1: *"),
        (r"(?im)^((?:retry-after|x-slow): )(?:\d+|x+)", r"\1*"),
        (r"dur=[0-9.]+", "dur=*"),
        (r"ttl=-?[0-9]+", "ttl=*"),
        (r"max-age=[0-9]+", "max-age=*"),
        (r"boundary=[0-9a-zA-Z\"-]+", "boundary=*"),
        # The id of the request by which the suite knows that the log is complete: it counts all tests of a process.
        (r"settle-\d+", "settle-*"),
        (r"127\.0\.0\.\d+:\d+", "*"),
        (r"localhost:\d+", "localhost:*"),
        (r"gateway\.test:\d+", "gateway.test:*"),
        (r"@sky:\d+", "@sky:*"),
        # The store's id of a request.
        (r"tx[0-9a-f]{21}-", "*-"),
        # The host and process of a replica.
        (r"\"[\w.-]+/\d+\"", "\"*\""),
        # What a purge has removed by the time of its answer.
        (r"\"removed\":\{[^}]*\}", "\"removed\":*"),
        (r"-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "-uuid"),
        (r"\b[0-9a-f]{8}-uuid", "*"),
        (r"\be2e-\d+-\d+", "*"),
        (r"\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)?", "*"),
        (r"\w\w\w, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", "*"),
        (r"\b[0-9a-f]{32}\b", "*"),
        (r"/tmp/\.tmp\w+", "*"),
    ]
]
# Reports of the process: what they say differs from moment to moment, as does how often a test asks for them.
REPORT = re.compile(r"(?:GET|HEAD|POST|DELETE|PURGE) (?:/metrics|/status|/profiles|/cache|/requests|/ )")
# Of a request without a body.
HEAD = re.compile(r"[A-Z]+ \S+ HTTP/1\.[01]\r\n(?!.*(?:content-length|transfer-encoding|expect))", re.I | re.S)
LENGTH = re.compile(r"(content-length: )\d+", re.IGNORECASE)

Exchange = collections.namedtuple("Exchange", "request answer")


@functools.lru_cache(maxsize=1 << 16)
def without_variables(text):
    for pattern, replacement in VARIABLE:
        text = pattern.sub(replacement, text)
    return text


def requests(sent):
    """These bytes as requests, if that is what they are; else as one."""
    heads = [head for head in sent.split("\r\n\r\n") if head]
    are_requests = sent.endswith("\r\n\r\n") and all(HEAD.match(head) for head in heads)
    return [head + "\r\n\r\n" for head in heads] if are_requests else [sent]


def exchanges(steps):
    """The requests and answers of one connection, in order. Reports without their bodies, and equal ones once."""
    found, waiting = [], []
    for step in steps:
        if "head" in step:
            # Clients may send several requests before they read.
            waiting += requests(without_variables(step["sent"])) if step["sent"] else []
            request, answer = waiting.pop(0) if waiting else "", without_variables(step["head"])
            is_report = bool(REPORT.match(request))
            if is_report:
                answer = LENGTH.sub(r"\1*", answer)
            found.append((request, answer, is_report))
        elif found and not found[-1][2]:
            request, answer, _ = found.pop()
            body = f"{without_variables(step['body'])} [{step['ending']}]"
            if '"removed":*' in body:
                answer = LENGTH.sub(r"\1*", answer)
            found.append((request, answer + body, False))
    kept = []
    for request, answer, is_report in found:
        exchange = Exchange(request, answer)
        # A gateway that starts or ends does not answer who asks whether it serves.
        if is_report and (not answer or exchange in kept):
            continue
        kept.append(exchange)
    return tuple(kept)


def connections(folder):
    """The connections of each test in these records, counted. Those that bring reports alone count once."""
    tests = collections.defaultdict(collections.Counter)
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.open(encoding="utf-8"):
            record = json.loads(line)
            of, connection = tests[record["test"]], exchanges(record["steps"])
            only_reports = all(REPORT.match(exchange.request) for exchange in connection)
            if connection:
                of[connection] = 1 if only_reports else of[connection] + 1
    return tests
