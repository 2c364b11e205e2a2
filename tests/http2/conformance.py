"""Runs the cases against one server, and makes their table."""

import collections
import time

import compression  # noqa: F401  (registers its cases, as do the next two)
import framing  # noqa: F401
import messages  # noqa: F401
from verdicts import CASES, Lab
from wire import Wrong

# Where a server does something else, and why that is accepted. Any other outcome fails the run, also that a server
# does what the RFC demands where this says that it does not.
DEVIATIONS = {"gateway": {}, "nginx": {}}


def run(server, name, bodies, only=""):
    """The number of cases by section, and of those that deviate; and the failures."""
    lab = Lab(server.tls_port, server.port, server.prefix, bodies, name == "gateway")
    known = DEVIATIONS[name]
    counts, failures, begun = collections.OrderedDict(), [], time.monotonic()
    for section, title, test in CASES:
        if only not in f"{section} {title}":
            continue
        try:
            problem = None
            test(lab)
            if wrong := [what for connection in lab.opened for what in connection.violations]:
                problem = f"the server itself: {wrong}"
        except (Wrong, KeyError, OSError) as error:
            problem = f"{type(error).__name__}: {error}" if not isinstance(error, Wrong) else str(error)
        finally:
            for connection in lab.opened:
                connection.close()
            lab.opened.clear()
        place = counts.setdefault(chapter(section, test), [0, 0])
        place[0] += 1
        deviates = (section, title) in known
        if bool(problem) != deviates:
            failures.append(f"{section} {title}: {problem or 'as the RFC demands, but listed as a deviation'}")
        place[1] += deviates
    return counts, failures, time.monotonic() - begun


def chapter(section, test):
    if section.startswith("RFC"):
        return section.split(",")[0]
    if test.__module__ == "compression" or test.__globals__["__name__"] == "compression":
        return f"RFC 7541, {section.split('.')[0]}"
    return f"RFC 9113, {section.split('.')[0]}"
