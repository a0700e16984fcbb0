// Plays a cluster's side of a recorded run: what arrives and when others take, line by line; prints what the cluster does.
`timescale 1ns/1ns
module cluster_tb;
  parameter LANES = 2, COLUMNS = 4, PES = 2, WORD = 16, DEPTH = 8, ACC = 48, SEGMENTED = 1, SV = 1024, TV = 1024, PIPELINE = 4, QUEUE = 2;
  parameter PACKETS = 4, MESSAGES = 4;
  reg clk = 0;
  integer now = 0, file, n, cycle, end_cycle, a, b, c, d, e, layout;
  reg [7:0] kind;
  reg [8*WORD-1:0] data;
  reg eject_push, command_push, drain_push, completion_pop, inject_pop;
  reg [2+16+16+8+8*WORD-1:0] eject_in;
  reg [31:0] command_in, drain_in;
  wire eject_popped, command_popped, drain_popped, completion_pushed, inject_pushed, sweep_begins;
  wire [31:0] completion, inject_packet, sweep_row, sweep_number;
  wire [8*WORD-1:0] inject_data;
  cluster #(LANES, COLUMNS, PES, WORD, DEPTH, ACC, SEGMENTED, SV, TV, PIPELINE, QUEUE, PACKETS, MESSAGES) dut (
    clk, eject_push, eject_in, eject_popped, command_push, command_in, command_popped, drain_push, drain_in, drain_popped,
    completion_pop, completion_pushed, completion, inject_pop, inject_pushed, inject_packet, inject_data,
    sweep_begins, sweep_row, sweep_number);
  initial begin
    $readmemh("chunks.hex", dut.chunks);
    $readmemh("drains.hex", dut.drains);
    $readmemh("taps.hex", dut.taps);
    file = $fopen("stimuli.txt", "r");
    n = $fscanf(file, "%d", end_cycle);
    n = $fscanf(file, "%d %c", cycle, kind);
    while (now < end_cycle) begin
      {eject_push, command_push, drain_push, completion_pop, inject_pop} = 0;
      while (n == 2 && cycle == now) begin
        case (kind)
          "W": begin
            n = $fscanf(file, "%d %d %d %d %d %h", a, b, layout, d, e, data);
            eject_push = 1;
            eject_in = {a[0], b[0], layout[15:0], d[15:0], e[7:0], data};
          end
          "C": begin n = $fscanf(file, "%d", a); command_push = 1; command_in = a; end
          "D": begin n = $fscanf(file, "%d", a); drain_push = 1; drain_in = a; end
          "c": completion_pop = 1;
          "i": inject_pop = 1;
        endcase
        n = $fscanf(file, "%d %c", cycle, kind);
      end
      #1;
      if (eject_popped) $display("%0d received", now);
      if (command_popped) $display("%0d accepted", now);
      if (drain_popped) $display("%0d drain_accepted", now);
      if (sweep_begins) $display("%0d sweep %0d %0d", now, sweep_row, sweep_number);
      if (completion_pushed) $display("%0d completed %0d", now, completion);
      if (inject_pushed) $display("%0d drained %0d %h", now, inject_packet, inject_data);
      clk = 1;
      #1 clk = 0;
      now = now + 1;
    end
    $display("count stream_writes %0d", dut.uncharged_stream_writes);
    $display("count stationary_writes %0d", dut.uncharged_stationary_writes);
    $display("count drain_reads %0d", dut.uncharged_drain_reads);
    $display("count stream_vectors %0d", dut.used_stream_vectors);
    $finish;
  end
endmodule
