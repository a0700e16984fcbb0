"""The references of tests/validation/data/dram: exact where the policy is configured literally, legal everywhere."""

import csv
import gzip
import hashlib
import json
import re
from collections import Counter

import pytest
from command_line import invoke

from etasim.config.catalog import shipped_folder
from etasim.config.errors import InputError
from etasim.memory import replay
from etasim.memory.dram.checker import check
from etasim.memory.dram.parts import reference_parameters
from etasim.memory.dram.traces import GEOMETRIES, reference_trace
from etasim.memory.dram.validate import DRAMSIM3, SIMULATORS, not_compared, recorded_commands, rows, rules_of

DATA = shipped_folder("references") / "dram"
with gzip.open(DATA / "reference_runs.csv.gz", "rt") as file:
    RUNS = list(csv.DictReader(file))
STREAMS = sorted((DATA / "commands").glob("*.csv.gz"))


def name_of(run):
    return f"{run['params']}-{run['refresh']}-{run['trace']}-{run['sim'].rpartition('-')[2]}"


@pytest.mark.parametrize("run", RUNS, ids=name_of)
def test_simulators_are_matched_exactly(run):
    """DRAMsim3 and Ramulator 2.0 end with the last read data, or with the last acceptance if there is none.

    DRAMsim3 leaves writes unissued. The one run in which ours differs: Ramulator 2.0, DDR4, random 2R:1W, by 0.02 % in cycles.
    """
    simulator = SIMULATORS[run["sim"]]
    result = replay(run["params"], run["mapping"], run["trace"], run["mode"], refresh=run["refresh"] == "True", **simulator.choices)
    ours = {
        "cycles": result.cycles, "max_rd_lat": result.max_read_latency_cycles, "act": result.commands["ACT"],
        "pre": result.commands["PRE"] + result.commands["PREA"], "ref": result.commands["REF"],
        "rd": result.commands["RD"], "wr": result.commands["WR"],
    }
    if simulator.ends_with_reads:
        ours["cycles"] = result.read_cycles or result.accept_cycles
    if (run["params"], run["trace"], run["sim"]) == ("DDR4_2400R", "rnd_rw21", "ramulator2.0a-FRFCFS"):
        assert ours["cycles"] == pytest.approx(int(run["cycles"]), rel=3e-4)
        return
    if run["sim"] == DRAMSIM3 and result.commands["WR"]:
        assert int(run["wr"]) <= ours.pop("wr") <= int(run["wr"]) + 32 + 8 * 16
        for name in ("act", "pre", "ref"):
            assert int(run[name]) <= ours.pop(name)
    assert ours == {key: int(run[key] or value) for key, value in ours.items()}
    assert (result.average_read_latency_cycles or 0) == pytest.approx(float(run["avg_rd_lat"]), abs=5.1e-5)
    if run["sim"].startswith("ramulator2.1"):
        assert result.row_hit_rate == pytest.approx(float(run["row_hit"]), abs=5.1e-6)


def test_every_run_was_compared():
    expected = {"ramulator2.1-FRFCFS": 63, "ramulator2.1-FRFCFSRowHit": 48, "ramulator2.0a-FRFCFS": 48, "dramsim3": 63}
    assert Counter(run["sim"] for run in RUNS) == expected
    assert not_compared() == []


def test_validation_rows_pass():
    table = rows()
    assert [row["name"] for row in table if not row["pass"]] == []
    assert [row["name"] for row in table if row["error_percent"]] == ["DDR4_2400R RoBaCo refresh rnd_rw21 ramulator2.0a-FRFCFS cycles"]
    assert len(table) == 4 * 16 + len(RUNS) + 3 * 20
    assert sum("average latency" in row["name"] for row in table) == 2 * 16


def test_a_wrong_model_misses_its_bars(tmp_path):
    folder = tmp_path / "dram"
    folder.mkdir()
    parameters = json.loads((DATA / "parameters.json").read_text())
    parameters["DDR3_1866M"]["nCL"] += 1
    (folder / "parameters.json").write_text(json.dumps(parameters))
    (folder / "exact_without_refresh.json").write_text(json.dumps({"DDR3_1866M/RoBaCo": json.loads(
        (DATA / "exact_without_refresh.json").read_text())["DDR3_1866M/RoBaCo"]}))
    assert not any(row["pass"] for row in rows(tmp_path))


def test_a_folder_without_references_gives_no_rows(tmp_path):
    assert rows(tmp_path) == []


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.name.removesuffix(".csv.gz"))
def test_recorded_stream_is_accepted_and_tight(path):
    rules, commands = rules_of(reference_parameters("DDR3_1866M")), recorded_commands(path)
    verdict = check(commands, rules)
    assert verdict.violations == ()
    tight = [i for i, (command, bound) in enumerate(zip(commands, verdict.bounds, strict=True)) if bound and bound[1] == command.clock]
    for i in tight[:: len(tight) // 20]:
        early = commands[: i + 1]
        early[i] = early[i]._replace(clock=early[i].clock - 1)
        assert verdict.bounds[i][0] in {violation.rule for violation in check(early, rules).violations}


def test_recorded_streams_reach_every_rule():
    reached = Counter()
    for path in STREAMS:
        commands = recorded_commands(path)
        bounds = check(commands, rules_of(reference_parameters("DDR3_1866M"))).bounds
        reached.update(bound[0] for command, bound in zip(commands, bounds, strict=True) if bound and bound[1] == command.clock)
    wanted = {"RCD", "RCDWR", "RAS to PRE", "RTP to PRE", "WR recovery to PRE", "RC", "RP", "RP to REF", "RFC", "RRDS", "FAW", "data bus",
              "read to write", "WTRS", "RAS to PREA", "command bus"}
    assert wanted <= set(reached)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_traces_have_the_recorded_digests(geometry):
    meta = json.loads((DATA / "trace_meta.json").read_text())
    for key in (key for key in meta if key.startswith(geometry + "/")):
        bursts, writes = reference_trace(key.partition("/")[2], geometry, 1)
        text = "".join("RW"[w] + f" {t:x}\n" for t, w in zip(bursts.tolist(), writes.tolist(), strict=True))
        assert hashlib.sha256(text.encode()).hexdigest() == meta[key]["sha256"]


DEPTHS = [(4, 1338), (8, 861), (16, 690), (32, 552), (64, 483)]


@pytest.mark.parametrize(("depth", "kilocycles"), DEPTHS)
def test_queue_depth_of_colliding_streams(depth, kilocycles):
    result = replay("DDR3_1866M", "RoBaCo", "stream3_c1", "sat", read_queue=depth, write_queue=depth)
    assert round(result.cycles / 1000) == kilocycles


def test_bad_references_are_listed_with_their_places(tmp_path):
    folder = tmp_path / "dram"
    folder.mkdir()
    parameters = json.loads((DATA / "parameters.json").read_text())
    parameters["DDR3_1866M"] |= {"nRC": 40, "nFAW": 4}
    del parameters["DDR4_2400R"]["nCL"]
    path = folder / "parameters.json"
    path.write_text(json.dumps(parameters, indent=1))
    with pytest.raises(InputError) as caught:
        rows(tmp_path)
    found = [str(problem).removeprefix(f"{path}:") for problem in caught.value.problems]
    assert found[0] == "2: DDR3_1866M: timing_clocks.RC: 40, must be at least RAS + RP = 45"
    assert found[1] == "2: DDR3_1866M: timing_clocks.FAW: 4, must be at least RRDS = 5"
    assert found[2].endswith("DDR4_2400R: parameters.nCL: missing")
    assert len(found) == 3


def test_bad_runs_are_listed_with_their_lines(tmp_path):
    folder = tmp_path / "dram"
    folder.mkdir()
    (folder / "parameters.json").write_text((DATA / "parameters.json").read_text())
    lines = ["params,mapping,refresh,trace,mode,sim,tag,cycles", "DDR3_1866M,RoXX,True,seq_rd,sat,dramsim3,,5",
             "DDR3_1866M,RoBaCo,True,seq,sat,dramsim3,,5", "DDR3_1866M,RoBaCo,True,seq_rd,fast,dramsim3,,5"]
    (folder / "reference_runs.csv").write_text("\n".join(lines))
    with pytest.raises(InputError) as caught:
        rows(tmp_path)
    assert [(problem.line, problem.message.partition(":")[0]) for problem in caught.value.problems] == [
        (2, "dram.mapping"), (3, "trace"), (4, "mode")]


HEADER = "params,mapping,refresh,trace,mode,sim,tag,cycles"
RUN = "DDR3_1866M,RoBaCo,False,dep_seq,dep,dramsim3,,95935"
BAD_FOLDERS = [
    ("parameters.json", '{\n "DDR3": }', "parameters.json:2: Expecting value"),
    ("parameters.json", "[]", "parameters.json:1: must be an object by name"),
    ("parameters.json", '{"DDR5": 3}', "parameters.json:1: DDR5: has not the form of a reference"),
    ("parameters.json", json.dumps({"X": reference_parameters("DDR3_1866M") | {"kind": "GDDR6"}}), "unknown DRAM standard 'GDDR6'"),
    ("parameters.json", b"\xff", "parameters.json: cannot be read"),
    ("reference_runs.csv", "", "reference_runs.csv:1: columns missing: params, mapping"),
    ("reference_runs.csv", f"{HEADER}\n{RUN.replace('DDR3_1866M', 'DDR9')}", "csv:2: params: unknown parameter set 'DDR9'"),
    ("reference_runs.csv", f"{HEADER}\n{RUN}\n{RUN}x", "csv:3: cycles: '95935x', must be a whole number of at least 1"),
    ("reference_runs.csv", f"{HEADER}\n{RUN.replace('False', 'no')}", "csv:2: refresh: 'no', must be True or False"),
    ("reference_runs.csv", f"{HEADER}\nDDR3_1866M,RoBaCo", "csv:2: refresh: '', must be True or False"),
    ("reference_runs.csv.gz", "no gzip", "reference_runs.csv.gz: cannot be read: Not a gzipped file"),
    ("exact_without_refresh.json", "{", "exact_without_refresh.json:1: Expecting property name"),
    ("exact_without_refresh.json", "[" * 100_000, "exact_without_refresh.json:1: nested more than 32 deep"),
    ("exact_without_refresh.json", "[" * 900 + "]" * 900, "exact_without_refresh.json:1: nested more than 32 deep"),
    ("exact_without_refresh.json", '{"a":\n' + "9" * 5000 + "}", "exact_without_refresh.json:1: Exceeds the limit"),
    ("exact_without_refresh.json", '{"DDR3_1866M/RoBaCo": {"dep_seq": {"cycles_r21": NaN}}}', "refresh.json:1: NaN is no number"),
    ("parameters.json", '{"X":' * 100_000, "parameters.json:1: nested more than 32 deep"),
    ("exact_without_refresh.json", '{"DDR3_1866M": {}}', "DDR3_1866M: must be PARAMETERS/MAPPING with figures by trace"),
    ("exact_without_refresh.json", '{"DDR9/RoBaCo": {"dep_seq": {"cycles_r21": 1}}}', "DDR9/RoBaCo: params: unknown parameter set"),
    ("exact_without_refresh.json", '{"DDR3_1866M/RoBaCo": {"dep": {"cycles_r21": 1}}}', "trace: unknown reference trace 'dep'"),
    ("exact_without_refresh.json", '{"DDR3_1866M/RoBaCo": {"dep_seq": {"cycles_r21": "1"}}}', "dep_seq: cycles_r21 must be numbers"),
    ("commands/DDR3_1866M.csv.gz", "", "must be named PARAMETERS__TRACE__SOURCE.csv.gz"),
    ("commands/DDR9__seq_rd__r21.csv", "cycle,cmd,bg,ba,row", "params: unknown parameter set 'DDR9'"),
    ("commands/DDR3_1866M__seq_rd__r21.csv", "cycle,cmd,bg,ba,row\n1,ACT,0,0,0\n2,NOP,0,0,0", "csv:3: cmd: unknown command"),
    ("commands/DDR3_1866M__seq_rd__r21.csv", "cycle,cmd", "csv:1: columns missing: bg, ba, row"),
]


@pytest.mark.parametrize(("name", "content", "message"), BAD_FOLDERS)
def test_damaged_references_are_refused_with_their_place(tmp_path, name, content, message):
    path = tmp_path / "dram" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=re.escape(message)):
        rows(tmp_path)
    result = invoke("validate", "dram", "--references", str(tmp_path), "--json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


def test_part_of_a_folder_is_enough(tmp_path):
    """Runs alone are compared, with the parameter sets that are shipped; what cannot be compared is said, and a miss is exit 1."""
    folder = tmp_path / "dram"
    folder.mkdir()
    lines = [HEADER, RUN, RUN.replace("dramsim3,", "dramsim9,"), RUN.replace("dramsim3,,", "dramsim3,q8,")]
    (folder / "reference_runs.csv").write_text("\n".join(lines))
    assert [row["ours"] for row in rows(tmp_path)] == [95935]
    assert not_compared(tmp_path) == [
        "1 runs of dramsim9: its policy is not modelled", "1 runs tagged 'q8': what the tag changes is not spelled out"]
    command = ["validate", "dram", "--references", str(tmp_path), "--json"]
    assert invoke(*command).exit_code == 0
    (folder / "reference_runs.csv").write_text("\n".join([HEADER, RUN.replace("95935", "95936")]))
    missed = invoke(*command)
    assert (missed.exit_code, json.loads(missed.stdout)["failed"]) == (1, 1)
