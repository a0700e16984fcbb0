// All channels of requests to, or of responses from, a DRAM between its clock and the core's, in ticks that divide both.
module crossing_tb;
  parameter N = 4, DEPTH = 4, WRITE_TICKS = 10, READ_TICKS = 3, STAGES = 1;
  localparam WIDTH = 64;
  integer now, file, n, cycle, q, k;
  integer end_tick;
  reg [7:0] kind;
  reg write_clk = 0, read_clk = 0, write_sample = 0, read_sample = 0;
  reg [N-1:0] push = 0, pop = 0;
  reg [WIDTH-1:0] in [0:N-1], value;
  wire [N-1:0] room, some;
  wire [WIDTH-1:0] head [0:N-1];
  wire [31:0] waiting [0:N-1];
  integer told [0:N-1];
  genvar g;
  generate
    for (g = 0; g < N; g = g + 1) begin : channel
      crossing #(WIDTH, DEPTH, STAGES) c (write_clk, write_sample, push[g], in[g], room[g], read_clk, read_sample, pop[g], some[g], head[g], waiting[g]);
    end
  endgenerate
  initial begin
    file = $fopen("stimuli.txt", "r");
    n = $fscanf(file, "%d", end_tick);
    n = $fscanf(file, "%d %c", cycle, kind);
    for (q = 0; q < N; q = q + 1) told[q] = 0;
    for (now = 0; now < end_tick; now = now + 1) begin
      // Edges: what was decided in the cycle that ends here; then both sides look.
      if (now % WRITE_TICKS == 0) write_clk = 1;
      if (now % READ_TICKS == 0) read_clk = 1;
      #1;
      if (now % WRITE_TICKS == 0) begin write_sample = 1; push = 0; end
      if (now % READ_TICKS == 0) begin read_sample = 1; pop = 0; end
      #1;
      if (now % READ_TICKS == 0) for (q = 0; q < N; q = q + 1) begin
        // A message that has come to be seen in this cycle of the reader.
        for (k = told[q]; k < waiting[q]; k = k + 1) $display("%0d seen.%0d", now, q);
        told[q] = waiting[q];
      end
      while (n == 2 && cycle == now) begin
        case (kind)
          "P": begin
            n = $fscanf(file, "%d %h", q, value);
            push[q] = 1; in[q] = value;
            if (!room[q]) $display("%0d full.%0d", now, q);
          end
          "R": begin
            n = $fscanf(file, "%d", q);
            pop[q] = 1;
            told[q] = told[q] - 1;
            $display("%0d taken.%0d %0d %h", now, q, some[q], head[q]);
          end
        endcase
        n = $fscanf(file, "%d %c", cycle, kind);
      end
      {write_clk, read_clk, write_sample, read_sample} = 0;
      #1;
    end
    $finish;
  end
endmodule
