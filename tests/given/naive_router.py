"""A mesh of input-queued routers in the plainest form: every stage keeps a queue of requests with the cycle in which they are answered.

Written from the published behaviour of the reference's router, without time stamps, skipped cycles or bit sets, to be compared with
`etasim.noc` flit by flit.
"""

from collections import deque
from dataclasses import dataclass

EJECTION = 4  # ports: +x, -x, +y, -y, endpoint
LOST, NOT_YET = -1, None


@dataclass
class Flit:
    """``packet``: its number; ``to``: the node."""

    packet: int
    to: int
    is_head: bool
    is_tail: bool


@dataclass
class Request:
    """Of the input VC (``port``, ``lane``); ``answered_at`` is set when the request is taken up, ``answer`` then or later."""

    port: int
    lane: int
    answered_at: int | None = None
    answer: int | None = NOT_YET


class Arbiter:
    """Round robin, higher priority first."""

    def __init__(self, size):
        self.size, self.first = size, 0

    def choose(self, wishes):
        """The winner among (index, priority)."""
        return min(wishes, key=lambda wish: (-wish[1], (wish[0] - self.first) % self.size))[0]

    def accept(self, winner):
        self.first = (winner + 1) % self.size


class Allocator:
    """Separable, input first; pointers move where both sides agree."""

    def __init__(self, n_inputs, n_outputs):
        self.inputs, self.outputs = [Arbiter(n_outputs) for _ in range(n_inputs)], [Arbiter(n_inputs) for _ in range(n_outputs)]

    def match(self, wishes):
        """Output of each input that gets one; ``wishes`` {(input, output): priority}."""
        chosen, matched = {}, {}
        for asking in sorted({asking for asking, _ in wishes}):
            output = self.inputs[asking].choose([(o, priority) for (i, o), priority in wishes.items() if i == asking])
            chosen.setdefault(output, []).append((asking, wishes[asking, output]))
        for output, rivals in chosen.items():
            winner = self.outputs[output].choose(rivals)
            matched[winner] = output
            self.inputs[winner].accept(output)
            self.outputs[output].accept(winner)
        return matched


class Router:
    """One router; ``send(port, lane, flit)`` and ``give_credit(port, lane)`` tell the network what leaves it."""

    def __init__(self, parameters, port_to, send, give_credit):
        self.stages, self.n_vcs = parameters.router, parameters.virtual_channels
        self.port_to, self.send, self.give_credit = port_to, send, give_credit
        lanes = [(port, lane) for port in range(5) for lane in range(self.n_vcs)]
        self.buffer, self.state, self.output = {at: deque() for at in lanes}, dict.fromkeys(lanes, "idle"), {}
        self.credits, self.owned = dict.fromkeys(lanes, parameters.buffer_depth), set()
        self.for_vcs, self.for_switch = Allocator(5 * self.n_vcs, 5 * self.n_vcs), Allocator(5, 5)
        self.next_lane = [0] * 5
        self.routing, self.vc_requests, self.switch_requests = deque(), deque(), deque()

    def receive(self, port, lane, flit):
        self.buffer[port, lane].append(flit)
        if self.state[port, lane] == "idle":
            self._open(port, lane)
        elif self.state[port, lane] == "active" and len(self.buffer[port, lane]) == 1:
            self.switch_requests.append(Request(port, lane))

    def step(self, now):
        for request in self.routing:
            if request.answered_at is None:
                request.answered_at = now + self.stages.routing_delay - 1
        matched = self._take_up_vcs(now)
        self._take_up_switch(now)
        self._withdraw(now, matched)
        for request in self._answered(self.routing, now):
            self._ask(request.port, request.lane)
        for request in self._answered(self.vc_requests, now):
            self._grant_vc(request)
        for request in self._answered(self.switch_requests, now):
            self._cross(request)

    def _open(self, port, lane):
        self.state[port, lane] = "routing"
        if self.stages.routing_delay:
            self.routing.append(Request(port, lane))
        else:
            self._ask(port, lane)

    def _ask(self, port, lane):
        self.state[port, lane] = "waiting"
        self.vc_requests.append(Request(port, lane))
        if self.stages.speculative:
            self.switch_requests.append(Request(port, lane))

    @staticmethod
    def _answered(requests, now):
        while requests and requests[0].answered_at is not None and requests[0].answered_at <= now:
            yield requests.popleft()

    def _free_lanes(self, output):
        return [lane for lane in range(self.n_vcs) if (output, lane) not in self.owned]

    def _wanted_output(self, request):
        return self.port_to(self.buffer[request.port, request.lane][0].to)

    def _take_up_vcs(self, now):
        new, wishes = [request for request in self.vc_requests if request.answered_at is None], {}
        for request in new:
            output = self._wanted_output(request)
            for lane in self._free_lanes(output):
                wishes[request.port * self.n_vcs + request.lane, output * self.n_vcs + lane] = 0
        matched = self.for_vcs.match(wishes)
        for request in new:
            request.answered_at = now + self.stages.vc_allocation_delay - 1
            request.answer = matched.get(request.port * self.n_vcs + request.lane, LOST)
        return matched

    def _priority(self, request):
        """0 for a VC that may send, -1 for one that speculates, None for one that cannot."""
        port, lane = request.port, request.lane
        if self.state[port, lane] == "active":
            return 0 if self.credits[self.output[port, lane]] else None
        output = self._wanted_output(request)
        return -1 if any(self.credits[output, lane] for lane in self._free_lanes(output)) else None

    def _take_up_switch(self, now):
        new, wishes, lanes = [request for request in self.switch_requests if request.answered_at is None], {}, {}
        for request in new:
            request.answered_at, request.answer = now + self.stages.switch_allocation_delay - 1, LOST
            priority, pair = self._priority(request), (request.port, self._wanted_output(request))
            if priority is None:
                continue
            turn = (-priority, (request.lane - self.next_lane[request.port]) % self.n_vcs)
            if pair not in lanes or turn < lanes[pair][0]:
                lanes[pair], wishes[pair] = (turn, request.lane), priority
        for port, output in self.for_switch.match(wishes).items():
            lane = lanes[port, output][1]
            self.next_lane[port] = (lane + 1) % self.n_vcs
            next(request for request in new if (request.port, request.lane) == (port, lane)).answer = output

    def _withdraw(self, now, matched):
        """Answers that come too late: the VC has gone meanwhile, or the switch was given to a head without a VC or a credit."""
        for request in self.vc_requests:
            if request.answered_at == now and request.answer != LOST and divmod(request.answer, self.n_vcs) in self.owned:
                request.answer = LOST
        for request in self.switch_requests:
            if request.answered_at == now and request.answer != LOST:
                output_vc = self.output.get((request.port, request.lane))
                if self.state[request.port, request.lane] == "waiting":
                    given = matched.get(request.port * self.n_vcs + request.lane)
                    output_vc = None if given is None else divmod(given, self.n_vcs)
                if output_vc is None or not self.credits[output_vc]:
                    request.answer = LOST

    def _grant_vc(self, request):
        if request.answer == LOST:
            self.vc_requests.append(Request(request.port, request.lane))
            return
        self.output[request.port, request.lane] = divmod(request.answer, self.n_vcs)
        self.owned.add(self.output[request.port, request.lane])
        self.state[request.port, request.lane] = "active"
        if not self.stages.speculative:
            self.switch_requests.append(Request(request.port, request.lane))

    def _cross(self, request):
        port, lane = request.port, request.lane
        if request.answer == LOST:
            self.switch_requests.append(Request(port, lane))
            return
        flit, output_vc = self.buffer[port, lane].popleft(), self.output[port, lane]
        self.credits[output_vc] -= 1
        self.send(*output_vc, flit)
        self.give_credit(port, lane)
        if flit.is_tail:
            self.owned.remove(output_vc)
            self.state[port, lane] = "idle"
            if self.buffer[port, lane]:
                self._open(port, lane)
        elif self.buffer[port, lane]:
            self.switch_requests.append(Request(port, lane))


class Mesh:
    """Routers, links and interfaces; ``arrivals`` [packet] the cycle in which its tail was ejected."""

    def __init__(self, parameters, packets):
        self.columns, self.n_vcs = parameters.columns, parameters.virtual_channels
        self.hop_cycles, self.now, self.arrivals, self.due = parameters.link_latency + 2, 0, {}, {}
        nodes = range(parameters.columns * parameters.rows)
        self.routers = [self._router(parameters, node) for node in nodes]
        self.offers, self.sending = [deque() for _ in nodes], [deque() for _ in nodes]
        self.injection_credits = [[parameters.buffer_depth] * self.n_vcs for _ in nodes]
        self.injection_lane, self.ejection_lane = [-1 for _ in nodes], [-1 for _ in nodes]
        self.ejection = [[deque() for _ in range(self.n_vcs)] for _ in nodes]
        for number, (at, source, to, n_flits) in enumerate(packets):
            flits = [Flit(number, to, i == 0, i == n_flits - 1) for i in range(n_flits)]
            self.offers[source].append((at, flits))

    def _later(self, cycles, function, *arguments):
        self.due.setdefault(self.now + cycles, []).append((function, arguments))

    def _router(self, parameters, node):
        def port_to(target):
            dx, dy = target % self.columns - node % self.columns, target // self.columns - node // self.columns
            return (0 if dx > 0 else 1) if dx else (2 if dy > 0 else 3) if dy else EJECTION

        def neighbour(port):
            return self.routers[node + (1, -1, self.columns, -self.columns)[port]]

        def send(port, lane, flit):
            if port == EJECTION:
                self._later(3, self.ejection[node][lane].append, flit)
            else:
                self._later(self.hop_cycles, neighbour(port).receive, port ^ 1, lane, flit)

        def give_credit(port, lane):
            if port == EJECTION:
                self._later(2, self._credit, self.injection_credits[node], lane)
            else:
                self._later(self.hop_cycles, self._credit, neighbour(port).credits, (port ^ 1, lane))

        return Router(parameters, port_to, send, give_credit)

    @staticmethod
    def _credit(credits, index):
        credits[index] += 1

    def _turns(self, last):
        return [(last + step) % self.n_vcs for step in range(1, self.n_vcs + 1)]

    def _eject(self, node):
        for lane in self._turns(self.ejection_lane[node]):
            if self.ejection[node][lane]:
                flit = self.ejection[node][lane].popleft()
                self.ejection_lane[node] = lane
                self._later(3, self._credit, self.routers[node].credits, (EJECTION, lane))
                if flit.is_tail:
                    self.arrivals[flit.packet] = self.now
                return

    def _inject(self, node):
        credits = self.injection_credits[node]
        if not self.sending[node] and self.offers[node] and self.offers[node][0][0] <= self.now:
            lane = next((lane for lane in self._turns(self.injection_lane[node]) if credits[lane]), None)
            if lane is not None:
                self.injection_lane[node] = lane
                self.sending[node].extend(self.offers[node].popleft()[1])
        lane = self.injection_lane[node]
        if self.sending[node] and credits[lane]:
            credits[lane] -= 1
            self._later(2, self.routers[node].receive, EJECTION, lane, self.sending[node].popleft())

    def step(self):
        for function, arguments in self.due.pop(self.now, []):
            function(*arguments)
        for node in range(len(self.routers)):
            self._eject(node)
            self._inject(node)
        for router in self.routers:
            router.step(self.now)
        self.now += 1
