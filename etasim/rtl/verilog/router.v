// A router of docs/models/noc.md: input queues of VCS virtual channels, separable round-robin allocators of one cycle each, look-ahead routes,
// speculation for the switch, multicast by branches. What it decides in a cycle it decides at the clock's edge.
module router #(parameter PORTS = 5, VCS = 2, DEPTH = 4, FLIT = 64, SPECULATIVE = 1, ROUTES = 64) (
  input clk,
  input [PORTS-1:0] arrives, input [PORTS*8-1:0] arrives_lane, input [PORTS*16-1:0] arrives_route, input [PORTS*8-1:0] arrives_length,
  input [PORTS*FLIT-1:0] arrives_data,
  input [PORTS*VCS-1:0] credit,                                // of the queues behind the outputs
  output reg [PORTS-1:0] sent, output reg [PORTS*8-1:0] sent_lane, output reg [PORTS*16-1:0] sent_route, output reg [PORTS*8-1:0] sent_length,
  output [PORTS*FLIT-1:0] sent_data,
  output reg [PORTS*VCS-1:0] released                          // slots of the queues here
);
  localparam N = PORTS * VCS, B = $clog2(DEPTH);
  // Ports of each route here, and the VCs that it may take of each.
  reg [PORTS-1:0] route_ports [0:ROUTES-1];
  reg [N-1:0] route_vcs [0:ROUTES-1];
  // Queues.
  reg [FLIT-1:0] slots [0:N*DEPTH-1];
  reg [15:0] slot_route [0:N*DEPTH-1];
  reg [7:0] slot_length [0:N*DEPTH-1];
  reg [B-1:0] first [0:N-1], last [0:N-1];
  reg [B:0] count [0:N-1];
  // Packets at the front.
  reg [N-1:0] opened;
  reg [PORTS-1:0] pending [0:N-1], active [0:N-1];
  reg [7:0] gone [0:N-1], passed [0:N*PORTS-1];                // flits released, and sent by each branch
  reg [7:0] target [0:N*PORTS-1];                              // output VC of each branch
  reg [7:0] length [0:N-1];
  reg [15:0] route [0:N-1];
  reg [N-1:0] taken;
  reg [B:0] credits [0:N-1];
  // What the allocators granted last; N or PORTS: nothing yet.
  reg [7:0] vc_input_grant [0:N-1], vc_output_grant [0:N-1], output_of_input [0:PORTS-1], input_of_output [0:PORTS-1], lane_first [0:PORTS-1];
  // A cycle's work.
  reg [PORTS-1:0] speculates [0:N-1], fresh [0:N-1];
  reg [PORTS-1:0] ready, asked, asked_before, outputs, contested, wishes;
  reg [7:0] lane_of [0:PORTS-1], winner [0:PORTS-1], winner_lane [0:PORTS-1], distance [0:PORTS-1], turn, start, pick, best;
  reg [7:0] vc_winner [0:N-1], vc_distance [0:N-1];
  reg [N-1:0] vc_asked;
  reg [N-1:0] allowed;
  reg found, first_port_found, all_sent;
  reg [B-1:0] slot;
  integer i, p, v, o, k, lane, from, at;
  // Crossbar.
  reg [B-1:0] sent_slot [0:PORTS-1];
  reg [7:0] sent_from [0:PORTS-1];
  reg [FLIT-1:0] crossed [0:PORTS-1];
  genvar g;
  generate
    for (g = 0; g < PORTS; g = g + 1) assign sent_data[FLIT*g +: FLIT] = crossed[g];
  endgenerate
  initial begin
    opened = 0; taken = 0;
    for (i = 0; i < N; i = i + 1) begin
      first[i] = 0; last[i] = 0; count[i] = 0; pending[i] = 0; active[i] = 0; gone[i] = 0; credits[i] = DEPTH;
      vc_input_grant[i] = N; vc_output_grant[i] = N - 1;
    end
    for (p = 0; p < PORTS; p = p + 1) begin output_of_input[p] = PORTS - 1; input_of_output[p] = PORTS - 1; lane_first[p] = 0; end
  end
  reg busy = 0;                                                // a flit is here
  always @(posedge clk) begin
    sent = 0; released = 0; sent_lane = 0; sent_route = 0; sent_length = 0;
    if (busy) begin
    // A head that has come to the front asks for VCs at once.
    for (i = 0; i < N; i = i + 1) begin
      fresh[i] = 0;
      if (!opened[i] && count[i] != 0) begin
        opened[i] = 1;
        route[i] = slot_route[i * DEPTH + first[i]];
        length[i] = slot_length[i * DEPTH + first[i]];
        pending[i] = route_ports[route[i]];
        active[i] = 0; gone[i] = 0;
        for (p = 0; p < PORTS; p = p + 1) passed[i * PORTS + p] = 0;
      end
      speculates[i] = 0;
    end
    // VC allocation: each branch picks a free VC, each VC an input.
    vc_asked = 0;
    for (i = 0; i < N; i = i + 1) begin
      allowed = route_vcs[route[i]];
      for (p = 0; p < PORTS; p = p + 1) if (opened[i] && pending[i][p]) begin
        start = vc_input_grant[i] >= p * VCS && vc_input_grant[i] < p * VCS + VCS - 1 ? vc_input_grant[i] - p * VCS + 1 : 0;
        found = 0;
        for (k = 0; k < VCS; k = k + 1) begin
          lane = start + k >= VCS ? start + k - VCS : start + k;
          if (allowed[p * VCS + lane] && !taken[p * VCS + lane]) begin
            if (credits[p * VCS + lane] != 0) speculates[i][p] = SPECULATIVE;
            if (!found) begin found = 1; pick = p * VCS + lane; end
          end
        end
        if (found) begin
          turn = i > vc_output_grant[pick] ? i - vc_output_grant[pick] - 1 : i + N - vc_output_grant[pick] - 1;
          if (!vc_asked[pick] || turn < vc_distance[pick]) begin vc_winner[pick] = i; vc_distance[pick] = turn; end
          vc_asked[pick] = 1;
        end
      end
    end
    for (o = 0; o < N; o = o + 1) if (vc_asked[o]) begin
      i = vc_winner[o];
      vc_input_grant[i] = o;
      vc_output_grant[o] = i;
      pending[i][o / VCS] = 0;
      fresh[i][o / VCS] = 1;
      taken[o] = 1;
      target[i * PORTS + o / VCS] = o;
    end
    // Switch allocation: each input picks an output and a VC, those that hold a VC first; each output an input.
    contested = 0;
    for (p = 0; p < PORTS; p = p + 1) begin
      outputs = 0;
      // Held VCs first; with none, those that speculate.
      for (k = 0; k < 1 + SPECULATIVE; k = k + 1) if (outputs == 0)
        for (v = 0; v < VCS; v = v + 1) begin
          i = p * VCS + v;
          ready = 0;
          for (o = 0; o < PORTS; o = o + 1) if (active[i][o] && passed[i * PORTS + o] - gone[i] < count[i] && credits[target[i * PORTS + o]] != 0)
            ready[o] = 1;
          if (v == 0) asked_before = 0;
          asked = k == 1 ? speculates[i] : ready;
          for (o = 0; o < PORTS; o = o + 1) if (asked[o]) begin
            turn = v >= lane_first[p] ? v - lane_first[p] : v + VCS - lane_first[p];
            best = lane_of[o] >= lane_first[p] ? lane_of[o] - lane_first[p] : lane_of[o] + VCS - lane_first[p];
            if (!asked_before[o] || turn < best) lane_of[o] = v;
          end
          asked_before = asked_before | asked;
          if (v == VCS - 1) outputs = asked_before;
        end
      contest(p);
    end
    for (o = 0; o < PORTS; o = o + 1) if (contested[o]) begin
      p = winner[o];
      i = p * VCS + winner_lane[o];
      output_of_input[p] = o;
      input_of_output[o] = p;
      lane_first[p] = winner_lane[o] + 1 < VCS ? winner_lane[o] + 1 : 0;
      if ((active[i][o] || fresh[i][o]) && credits[target[i * PORTS + o]] != 0) begin
        at = passed[i * PORTS + o] - gone[i];
        slot = first[i] + at >= DEPTH ? first[i] + at - DEPTH : first[i] + at;
        sent[o] = 1;
        sent_lane[8*o +: 8] = target[i * PORTS + o] - o * VCS;
        sent_route[16*o +: 16] = route[i];
        sent_length[8*o +: 8] = length[i];
        crossed[o] = slots[i * DEPTH + slot];
        credits[target[i * PORTS + o]] = credits[target[i * PORTS + o]] - 1;
        passed[i * PORTS + o] = passed[i * PORTS + o] + 1;
      end
    end
    // Branches that have sent the tail are done; a slot is free when all branches have sent it.
    for (i = 0; i < N; i = i + 1) begin
      active[i] = active[i] | fresh[i];
      for (o = 0; o < PORTS; o = o + 1) if (active[i][o] && passed[i * PORTS + o] == length[i]) begin
        active[i][o] = 0;
        taken[target[i * PORTS + o]] = 0;
      end
      all_sent = opened[i] && pending[i] == 0;
      for (o = 0; o < PORTS; o = o + 1) if (active[i][o] && passed[i * PORTS + o] <= gone[i]) all_sent = 0;
      if (all_sent) begin
        released[i] = 1;
        first[i] = first[i] + 1 < DEPTH ? first[i] + 1 : 0;
        count[i] = count[i] - 1;
        gone[i] = gone[i] + 1;
        if (gone[i] == length[i]) opened[i] = 0;
      end
    end
    end
    // What arrives for the next cycle.
    for (p = 0; p < PORTS; p = p + 1) if (arrives[p]) begin
      i = p * VCS + arrives_lane[8*p +: 8];
      slots[i * DEPTH + last[i]] = arrives_data[FLIT*p +: FLIT];
      slot_route[i * DEPTH + last[i]] = arrives_route[16*p +: 16];
      slot_length[i * DEPTH + last[i]] = arrives_length[8*p +: 8];
      last[i] = last[i] + 1 < DEPTH ? last[i] + 1 : 0;
      count[i] = count[i] + 1;
    end
    for (i = 0; i < N; i = i + 1) if (credit[i]) credits[i] = credits[i] + 1;
    busy = 0;
    for (i = 0; i < N; i = i + 1) busy = busy | count[i] != 0;
  end
  // Input port p nominates the VC lane_of[o] for one of its `outputs`, or for all branches of the packet that are at the same flit.
  reg [7:0] chosen, chosen_lane;
  reg is_speculative;
  integer c, x, y;
  task contest(input integer p);
    begin
      is_speculative = 0;
      if (outputs != 0) begin
        // The first output after the one granted last.
        chosen = PORTS;
        for (c = PORTS; c > 0; c = c - 1) begin
          x = output_of_input[p] + c >= PORTS ? output_of_input[p] + c - PORTS : output_of_input[p] + c;
          if (outputs[x]) chosen = x;
        end
        chosen_lane = lane_of[chosen];
        y = p * VCS + chosen_lane;
        ready = 0;
        for (c = 0; c < PORTS; c = c + 1)
          if (active[y][c] && passed[y * PORTS + c] - gone[y] < count[y] && credits[target[y * PORTS + c]] != 0) ready[c] = 1;
        is_speculative = !ready[chosen];
        wishes = 0;
        for (c = 0; c < PORTS; c = c + 1)
          wishes[c] = is_speculative ? speculates[y][c] : ready[c] && passed[y * PORTS + c] == passed[y * PORTS + chosen];
        for (c = 0; c < PORTS; c = c + 1) if (wishes[c]) begin
          turn = p > input_of_output[c] ? p - input_of_output[c] - 1 : p + PORTS - input_of_output[c] - 1;
          if (is_speculative) turn = turn + PORTS;
          if (!contested[c] || turn < distance[c]) begin winner[c] = p; winner_lane[c] = chosen_lane; distance[c] = turn; end
          contested[c] = 1;
        end
      end
    end
  endtask
endmodule
