"""Names of the columns of the arrays in `etasim.noc.spec.NocState`."""

# vcs, one row per input VC: ring buffer, ports that wait for a VC or hold one (bits), flits released of the packet at the front
HEAD, NEXT, COUNT, PENDING, ACTIVE, SENT, READY, ALLOWED, TAKEN, SPECULATIVE, INPUT_GRANT, OUTPUT_GRANT = range(12)
# slots of an input VC
AT, FREE, PACKET = range(3)
# branches, one row per input VC and output port
TARGET, BRANCH_SENT, BRANCH_READY = range(3)
# ports, one row per port group: what the round-robin arbiters granted last
OUTPUT_OF_INPUT, INPUT_OF_OUTPUT, VC_OFFSET = range(3)
# sites, one row per router and per network interface
BUSY, WAKE = range(2)
# interfaces, one row per node
CURRENT, CURRENT_SENT, INJECTION_VC, EJECTION_VC = range(4)
# packets
ROUTE, FLITS, WORD2, WORD3, COPIES, CLASS = range(6)
# rows of scratch, which lives within one router step: winners of the output arbiters by output VC, then by port
VC_WINNER, VC_DISTANCE, VC_ASKED, LANE_OF_OUTPUT, WINNER, DISTANCE, WINNER_LANE = range(7)
