"""A validator of traces, written from the format's documentation ("Trace Event Format", Google, 2016), and what it found in one.

Perfetto's import drops a slice that crosses another of its track, an "f" without an "s", and a counter without a number; here they are
errors. It reads times as whole nanoseconds; so does this.
"""

import gzip
import json
from collections import defaultdict
from numbers import Real

REQUIRED = {
    "X": {"name", "cat", "pid", "tid", "ts", "dur"}, "M": {"name", "pid", "args"}, "C": {"name", "pid", "ts", "args"},
    "s": {"name", "cat", "id", "pid", "tid", "ts"}, "f": {"name", "cat", "id", "pid", "tid", "ts", "bp"},
}  # fmt: skip


def nanoseconds(microseconds):
    ns = round(microseconds * 1000)
    assert abs(ns - microseconds * 1000) < 1e-6 * max(1, ns), f"{microseconds} us is no whole number of nanoseconds"
    return ns


class Trace:
    """A trace that keeps to the format. ``tracks`` [pid, tid]: (begin ns, end ns, depth, event); ``names``: of processes and tracks."""

    def __init__(self, path):
        text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        self.whole = json.loads(text)
        self.events = self.whole["traceEvents"]
        for event in self.events:
            missing = REQUIRED[event["ph"]] - event.keys()
            assert not missing, (missing, event)
        named = [event for event in self.events if event["name"] in ("process_name", "thread_name")]
        self.names = {(event["pid"], event.get("tid")): event["args"]["name"] for event in named}
        self.slices = [event for event in self.events if event["ph"] == "X"]
        self.counters = [event for event in self.events if event["ph"] == "C"]
        self.tracks = self._tracks()
        self._check_counters()
        self.flows = self._flows()

    def track(self, name):
        """Slices of the track with this name."""
        (place,) = [place for place, each in self.names.items() if each == name and place[1] is not None]
        return self.tracks.get(place, [])

    def _tracks(self):
        tracks = defaultdict(list)
        for event in self.slices:
            assert (event["pid"], event["tid"]) in self.names, "a slice on a track without a name"
            begin = nanoseconds(event["ts"])
            tracks[event["pid"], event["tid"]].append((begin, begin + nanoseconds(event["dur"]), event))
        return {place: self._nested(each) for place, each in tracks.items()}

    @staticmethod
    def _nested(slices):
        found, open_until = [], []
        for begin, end, event in sorted(slices, key=lambda each: (each[0], -each[1])):
            assert begin <= end
            while open_until and open_until[-1] <= begin:
                open_until.pop()
            assert not open_until or end <= open_until[-1], f"{event} crosses the slice that it begins in"
            found.append((begin, end, len(open_until), event))
            open_until.append(end)
        return found

    def _check_counters(self):
        last = {}
        for event in self.counters:
            assert event["args"]
            assert all(isinstance(value, Real) for value in event["args"].values())
            assert last.get(event["name"], -1) < nanoseconds(event["ts"])
            last[event["name"]] = nanoseconds(event["ts"])

    def _flows(self):
        """(slice that an arrow leaves, slice that it comes to)."""
        starts = {event["id"]: event for event in self.events if event["ph"] == "s"}
        ends = {event["id"]: event for event in self.events if event["ph"] == "f"}
        assert starts.keys() == ends.keys()
        assert all(event["bp"] == "e" for event in ends.values())
        return [tuple(self._around(each[number]) for each in (starts, ends)) for number in starts]

    def _around(self, event):
        at = nanoseconds(event["ts"])
        around = [found for found in self.tracks[event["pid"], event["tid"]] if found[0] <= at < found[1]]
        assert around, f"an arrow in no slice: {event}"
        return around[-1][3]
