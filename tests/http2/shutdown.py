"""SIGTERM: clients are told to go (RFC 9113, 6.8), and what they asked for before is answered whole."""

from verdicts import HUGE, SMALL
from wire import INITIAL_WINDOW_SIZE, NO_ERROR, PATIENCE, Connection, Wrong, request


def run(server, bodies):
    busy = Connection(server.tls_port, own={INITIAL_WINDOW_SIZE: 1000}, replenish=False).open()
    busy.pump(request(1, server.prefix + HUGE), lambda: 1 in busy.answers and busy.answers[1].received == 1000)
    idle = Connection(server.tls_port).open()
    if idle.get(server.prefix + SMALL).status != 200:
        raise Wrong(f"no answer to begin with: {idle}")
    server.terminate()
    for name, connection in [("idle", idle), ("busy", busy)]:
        connection.pump(until=lambda connection=connection: connection.goaway is not None)
        if connection.goaway is None or connection.goaway[1] != NO_ERROR:
            raise Wrong(f"the {name} connection: no GOAWAY NO_ERROR after SIGTERM: {connection}")
    idle.pump(until=lambda: idle.closed)
    if not idle.closed:
        raise Wrong("the idle connection remains open")
    if busy.ended(1) or busy.closed:
        raise Wrong(f"the request in flight was cut: {busy}")
    busy.replenish = True
    busy.grant(0, 1000)
    busy.grant(1, 65535)
    busy.pump(until=lambda: busy.ended(1))
    if bytes(busy.answers[1].body) != bodies[HUGE]:
        raise Wrong(f"the request in flight: {busy.answers[1].received} bytes; {busy}")
    busy.pump(until=lambda: busy.closed)
    if not busy.closed:
        raise Wrong("the busy connection remains open after its last answer")
    server.process.wait(PATIENCE)
    if server.process.returncode:
        raise Wrong(f"the process ended with {server.process.returncode}")
    if wrong := busy.violations + idle.violations:
        raise Wrong(str(wrong))
    return "both connections were told to go; the answer in flight was whole"
