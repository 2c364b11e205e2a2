"""What a player does that seeks: it asks from a place to the end of the file, reads a little, and leaves."""

import http.client
import urllib.parse

STARTS = [place * 6_100_003 for place in (5, 1, 9, 3, 7, 0, 8, 2, 6, 4)]
LENGTH = 1000


def read(url, options):
    parts = urllib.parse.urlsplit(url)
    found = []
    for start in STARTS:
        connection = http.client.HTTPConnection(parts.netloc, timeout=60)
        connection.request("GET", parts.path, headers={"Range": f"bytes={start}-"})
        found.append(connection.getresponse().read(LENGTH))
        connection.close()
    return found
