"""Names of the columns of the arrays in `etasim.noc.spec.NocState`."""

# vcs, one row per input VC. HEAD, NEXT, COUNT: its ring of slots. PENDING, ACTIVE: output ports that wait for a VC or hold one,
# as bits; SENT: flits of the front packet that are released; READY: when its head may ask for a VC; TABLE_ROW: its
# route; SPECULATIVE: ports for which it also asks for the switch, as bits. TAKEN: a packet upstream owns this VC. TAKEN_CHANGED: cycle in
# which it was taken or set free last, TAKEN_HISTORY: the cycles in which that happened, as bits, bit n being n cycles earlier.
# INPUT_GRANT, OUTPUT_GRANT: what the VC allocator granted last, -1 for nothing. JOIN: input VCs of the router whose packets the front
# packet waits for, to be added to them, as bits.
HEAD, NEXT, COUNT, PENDING, ACTIVE, SENT, READY, TABLE_ROW = range(8)
TAKEN, TAKEN_CHANGED, TAKEN_HISTORY, SPECULATIVE, INPUT_GRANT, OUTPUT_GRANT, JOIN = range(8, 15)
# slots of an input VC: cycle in which the flit is there, cycle from which the sender may reuse the slot
AT, FREE, PACKET = range(3)
# branches, one row per input VC and output port: the input VC downstream, flits sent, when the next flit may ask for the switch,
# how often its head has asked for a VC
TARGET, BRANCH_SENT, BRANCH_READY, BRANCH_ASKED = range(4)
# ports, one row per port group: what the switch allocator granted last, -1 for nothing
OUTPUT_OF_INPUT, INPUT_OF_OUTPUT, VC_OFFSET = range(3)
# interfaces, one row each
CURRENT, CURRENT_SENT, INJECTION_VC, EJECTION_VC = range(4)
# packets; FLITS: on the links of their class, BITS: of their message
ROUTE, FLITS, WORD2, WORD3, COPIES, CLASS, OFFERED_AT, BITS = range(8)
# rows of scratch, which lives within one router step: winners of the output arbiters by output VC, then by port
VC_WINNER, VC_DISTANCE, VC_ASKED, VC_PORT, LANE_OF_OUTPUT, WINNER, DISTANCE, WINNER_LANE = range(8)
