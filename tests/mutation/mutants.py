"""Seeded faults of the machine: one wrong line each, of the kinds that people make."""

from typing import NamedTuple


class Mutant(NamedTuple):
    """``old`` stands once in ``file`` (of the package) and becomes ``new``. ``test``: one that fails of it where a run's laws and values do
    not notice; empty where they do."""

    name: str
    file: str
    old: str
    new: str
    test: str = ""


MUTANTS = (
    # The PE array and the unified core
    Mutant("a sweep begins one streamed word early", "pe/cluster.py", "if state.arrived[c, STREAM] < stream_words:",
           "if state.arrived[c, STREAM] < stream_words - 1:"),
    Mutant("a sweep is one cycle short", "pe/cluster.py", 'work["sweep_ends_at"] = now + sweep', 'work["sweep_ends_at"] = now - 1 + sweep'),
    Mutant("a third pass does not wait for the first one's drain", "pe/cluster.py", 'passes["drained"] >= 2:', 'passes["drained"] >= 3:'),
    Mutant("a drain does not wait for the pipeline", "pe/cluster.py", "% 2] = now + spec.pipeline_depth", "% 2] = now"),
    Mutant("conflict cycles are counted as busy too", "pe/cluster.py",
           'c, BUSY] -= command["conflict_cycles"]', "c, BUSY] -= 0"),
    Mutant("a group begins before its operands", "pe/unified.py",
           '["answered"] < _needed(vector["words"][s], group,', '["answered"] < _needed(vector["words"][s], group - 1,'),
    Mutant("a pass ends with its last group in the pipeline", "pe/unified.py",
           'if state.work[0]["done"] < vector["n_groups"]:', 'if state.work[0]["done"] < vector["n_groups"] - 1:'),
    # Memory
    Mutant("a word goes to the next bank", "memory/buffer.py", "bank = remainder(word, spec", "bank = remainder(word + 1, spec"),
    Mutant("a bank serves one access too many", "memory/buffer.py",
           "used[access] >= spec.ports", "used[access] > spec.ports"),
    Mutant("a buffer answers a cycle late", "memory/buffer.py",
           "now + spec.latency_cycles[buffer],", "now + 1 + spec.latency_cycles[buffer],",
           "tests/unit/memory/test_memory_buffer.py"),
    Mutant("a buffer answers a cycle early", "memory/buffer.py",
           "now + spec.latency_cycles[buffer],", "now - 1 + spec.latency_cycles[buffer],"),
    Mutant("a command is complete with a burst under way", "memory/dma.py", 'flight["pending"] > 0 or', 'flight["pending"] > 1 or'),
    Mutant("a burst misses its last word", "memory/dma.py", ", spec.word_bytes) - first_word + 1", ", spec.word_bytes) - first_word"),
    Mutant("a store does not wait until the DRAM has it", "memory/dma.py", "now * spec.core_ticks) < state.target[e, w, h]:",
           "now * spec.core_ticks) < 0 * state.target[e, w, h]:"),
    Mutant("a slot is lost", "memory/dma.py", "state.n_free[e] += 1", "state.n_free[e] += slot != 1"),
    Mutant("the host has no latency", "memory/host.py", "= now + spec.latency_cycles", "= now"),
    Mutant("the host reports a burst early", "memory/host.py", "spec.core_ticks) < state.target[h, w, channel]:",
           "spec.core_ticks) < state.target[h, w, channel] - 1:"),
    Mutant("a mover skips the end of a word", "memory/mover.py", "max(source % spec.word_bytes, target % spec.word_bytes)",
           "target % spec.word_bytes"),
    Mutant("a mover writes the word behind", "memory/mover.py", 'piece["target"] // spec.word_bytes, 1,',
           '1 + piece["target"] // spec.word_bytes, 1,'),
    Mutant("a fill does not wait for what lay there", "mapping/second_copies.py",
           "(held.region.blockers, held.place.readers if waits else {})", "(held.place.readers if waits else {},)"),
    Mutant("a copy out of the second level does not wait", "mapping/second_copies.py",
           "        waits = held.place.written(there.block, there.plane, there.piece)\n        done",
           "        waits: dict[int, int] = {}\n        done"),
    Mutant("a feeder reads one word further", "memory/feeder.py", 'start = feeds[row]["buffer_address"]',
           'start = spec.word_bytes + feeds[row]["buffer_address"]'),
    Mutant("a collector writes each segment by itself", "memory/collector.py",
           "while i < stop and quotient(base", "while i < i and quotient(base"),
    Mutant("a drain is complete with a packet to come", "memory/collector.py", 'packet == drains[row]["n_packets"] - 1',
           'packet == max(drains[row]["n_packets"] - 2, 0)'),
    Mutant("a refresh is skipped", "memory/dram/controller.py", '"refreshes_due"] += spec.refreshes_at_once',
           '"refreshes_due"] += spec.refreshes_at_once * (at % 4 > 0)'),
    Mutant("data are read a clock before the row is open", "memory/dram/standards.py",
           'Constraint("bank", ("ACT",), ("RD",), "RCD")', 'Constraint("bank", ("ACT",), ("RD",), "RCD - 1")'),
    Mutant("writes turn into reads too soon", "memory/dram/standards.py",
           'Constraint("rank", ("WR",), ("RD",), "CWL + BL + WTRS")', 'Constraint("rank", ("WR",), ("RD",), "CWL + BL")'),
    Mutant("banks and rows are cut a bit too high", "memory/dram/address.py",
           "(address >> table[s, _SHIFT])", "(address >> table[s, _SHIFT] + 1)"),
    Mutant("a request is counted at each of its commands", "memory/dram/issue.py", '["seen"] = 1', '["seen"] = 0'),
    Mutant("a merged write is counted twice", "memory/dram/controller.py", '["merged_writes"] += 1', '["merged_writes"] += 2'),
    # The network
    Mutant("a credit is lost", "noc/buffers.py",
           "slots[vc, slot, col.FREE] = free_at", "slots[vc, slot, col.FREE] = free_at if slot != 2 else NEVER"),
    Mutant("a link is a cycle too fast", "noc/assembly.py", "noc.link_latency + 2, np.int64)", "noc.link_latency + 1, np.int64)"),
    Mutant("a hop is counted for each of two networks", "noc/router.py", '["flit_hops"] += 1', '["flit_hops"] += 2'),
    Mutant("a VC is taken from its owner", "noc/router.py", "if vcs[target, col.TAKEN]:", "if vcs[target, col.TAKEN] > 1:",
           "tests/unit/noc/test_noc_network.py"),
    # The mapping
    Mutant("a stride meets the next residue class", "schedule/patterns.py", "if y % layer.stride_height == 0 and",
           "if y % layer.stride_height == layer.stride_height - 1 and"),
    Mutant("a command does not wait for what fills its operand", "program/builder.py",
           "            merge(waits, region.writers)\n        for region in writes:",
           "            pass\n        for region in writes:"),
    Mutant("the last sweep of a chunk is left out", "mapping/convolution.py", "clears, n_sweeps = first, reads.n_sweeps",
           "clears, n_sweeps = first, max(reads.n_sweeps - 1, 1)"),
    Mutant("a copied chunk reads the half of the first one", "program/repeats.py",
           'chunks["operand_half"] ^= moved', 'chunks["operand_half"] ^= 0 * moved'),
    Mutant("a pass has a vector group too few", "mapping/steps.py",
           "max(ceil_div(step.n_lane_operations * max(self.slots(done.each), 1), self.n), 1)",
           "max(step.n_lane_operations * max(self.slots(done.each), 1) // self.n, 1)",
           "tests/unit/pe/test_lane_work.py::test_groups_are_rounded_up"),
    # The machine
    Mutant("a command does not wait for the last one that it needs", "machine/controller.py",
           'state.done[program.dependencies[d]["engine"]] < program.dependencies[d]["count"]',
           'state.done[program.dependencies[d]["engine"]] < program.dependencies[d]["count"] - 1'),
    Mutant("the score of an operation misses its first command", "machine/controller.py",
           'if state.counters[operation]["first_issue_at"] < 0:', 'if state.counters[operation]["first_issue_at"] < 1:'),
    Mutant("reads of the DRAM are shown as writes", "machine/rows.py", 'f"dram_{access}_{name}_bytes": int(n) * burst_bytes',
           'f"dram_{access}_{name}_bytes": int(moved.read_bursts[i].sum()) * burst_bytes'),
    Mutant("the DRAM is a core cycle late", "memory/dram/part.py", "(now + 1) * spec.core_ticks", "now * spec.core_ticks",
           "tests/unit/memory/test_memory_dma.py"),
    Mutant("all buffers have the ports of the first", "machine/elaborate.py", "np.array([buffer.PORTS[x.ports] for x in each], np.int64)",
           "np.array([buffer.PORTS[b.activation.ports] for x in each], np.int64)"),
)  # fmt: skip
