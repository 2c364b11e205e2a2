"""Runs the cases against one server, and makes their table."""

import time

import compression  # noqa: F401  (registers its cases, as do the next three)
import framing  # noqa: F401
import messages  # noqa: F401
import streams  # noqa: F401
from verdicts import CASES, Lab, OtherCode
from wire import Wrong

# Where a server does something else, and why that is accepted. Any other outcome fails the run, also that a server
# does what the RFC demands where this says that it does not.
NGINX = """
3.3: HTTP/1.1 on the same port
3.4: a preface that is not followed by SETTINGS
4.2: DATA longer than MAX_FRAME_SIZE
4.2: HEADERS longer than MAX_FRAME_SIZE
4.2: SETTINGS longer than MAX_FRAME_SIZE
4.2: an unknown frame longer than MAX_FRAME_SIZE
4.3: a block that ends inside of a field
4.3: a header block that is no HPACK
5.1: DATA behind RST_STREAM
5.1: DATA on a closed stream
5.1: DATA on a half-closed stream
5.1: DATA on an idle stream
5.1: HEADERS on a half-closed stream
5.1: PRIORITY on a half-closed stream
5.1: RST_STREAM on an idle stream
5.1: WINDOW_UPDATE on a half-closed stream
5.1: WINDOW_UPDATE on an idle stream
5.5: an unknown frame on a half-closed stream
6.8: GOAWAY of the client: its requests in flight are answered
6.9.1: a window of a stream beyond 2147483647
6.9.2: INITIAL_WINDOW_SIZE changes the windows of open streams
6.9.2: INITIAL_WINDOW_SIZE that takes an open window beyond 2147483647
8.1: GET with a body
8.1: POST with a body
8.1.1: less DATA than Content-Length
8.1.1: more DATA than Content-Length
8.2.1: a name with a byte above ASCII
8.2.1: a value that begins with a space
8.2.1: a value that ends with a tab
8.2.2: connection: close
8.2.2: connection: keep-alive
8.2.2: keep-alive: timeout=5
8.2.2: proxy-connection: close
8.2.2: te: gzip
8.2.2: te: trailers, deflate;q=0.5
8.2.2: transfer-encoding: chunked
8.2.2: upgrade: websocket
8.3: a pseudo-header field behind another field
8.3.1: Host beside :authority, equal to it
8.3.1: a :path with a fragment
8.3.1: user information in :authority
RFC 7541, 4.1: the table has the size that its fields have: name, value and 32 bytes each
RFC 7541, 4.2: a change of the table's size behind a field
RFC 7541, 5.1: an integer without its end
RFC 7541, 5.2: Huffman's code with more than 7 bits of padding
RFC 7541, 5.2: a string longer than the block
RFC 9218, 10: the most urgent answer overtakes others that wait for the socket
RFC 9218, 10: the most urgent answer overtakes others that wait for the window of the connection
"""
# The crate h2 does not look for SETTINGS behind the preface, and drops pseudo-header fields of trailers unseen; the crate
# http drops the fragment before the gateway sees the path.
GATEWAY = """
3.4: a preface that is not followed by SETTINGS
8.1: GET with trailers that have a pseudo-header field
8.3.1: a :path with a fragment
"""
# Of the requests that must be refused: those of which the wrong part is dropped.
REACH_THE_STORE = ["8.1: GET with trailers that have a pseudo-header field", "8.3.1: a :path with a fragment"]
DEVIATIONS = {"gateway": GATEWAY, "nginx": NGINX}


def run(server, name, bodies, only=""):
    """The number of cases by section, of those that end with a general code, and of those that deviate; the failures; and
    seconds."""
    lab = Lab(server, bodies)
    known = DEVIATIONS[name].strip().splitlines()
    names = {f"{section}: {title}" for section, title, _ in CASES}
    failures = [f"a known deviation that is no case: {each}" for each in known if each not in names]
    counts, begun = {}, time.monotonic()
    for section, title, test in CASES:
        if only not in f"{section} {title}":
            continue
        try:
            problem = None
            test(lab)
            if wrong := [what for connection in lab.opened for what in connection.violations]:
                problem = f"the server itself: {wrong}"
        except Wrong as error:
            problem = error
        except (KeyError, OSError) as error:
            problem = f"{type(error).__name__}: {error}"
        finally:
            for connection in lab.opened:
                connection.close()
            lab.opened.clear()
        place = counts.setdefault(chapter(section), [0, 0, 0])
        place[0] += 1
        deviates = f"{section}: {title}" in known
        if isinstance(problem, OtherCode) and name == "gateway":
            place[1] += 1
        elif bool(problem) != deviates:
            failures.append(f"{section} {title}: {problem or 'as the RFC demands, but listed as a deviation'}")
        place[2] += deviates
    return dict(sorted(counts.items(), key=order)), failures, time.monotonic() - begun


def order(count):
    """RFC 9113 first, then by number."""
    rfc, section = count[0].split(", ")
    return rfc != "RFC 9113", rfc, int(section)


def chapter(section):
    """`RFC 9113, 6` of `6.9.1`, `RFC 7541, 4` of `RFC 7541, 4.2`."""
    section = section if section.startswith("RFC") else f"RFC 9113, {section}"
    return section.split(".")[0]
