// A bank and a multiplexer beside what they are to do, with random accesses; synthesised only if nothing is wrong.
module block_tb;
  parameter DEPTH = 512, WIDTH = 64, INPUTS = 4, CYCLES = 4000;
  reg clk = 0, write, read, was_read = 0, is_known = 0;
  reg [$clog2(DEPTH)-1:0] write_at, read_at;
  reg [WIDTH-1:0] in, due, shadow [0:DEPTH-1];
  reg [DEPTH-1:0] written = 0;
  reg [INPUTS*WIDTH-1:0] inputs;
  reg [$clog2(INPUTS)-1:0] chosen;
  reg [WIDTH-1:0] expected;
  wire [WIDTH-1:0] out, picked;
  integer i, k, wrong = 0;
  bank #(DEPTH, WIDTH) b (clk, write, write_at, in, read, read_at, out);
  multiplexer #(INPUTS, WIDTH) m (clk, chosen, inputs, picked);
  initial begin
    for (i = 0; i < CYCLES; i = i + 1) begin
      write = $random; read = $random;
      write_at = $unsigned($random) % DEPTH; read_at = $unsigned($random) % DEPTH % 16;
      if (i % 2) write_at = write_at % 16;
      for (k = 0; k < WIDTH; k = k + 32) in[k +: 32] = $random;
      for (k = 0; k < INPUTS * WIDTH; k = k + 32) inputs[k +: 32] = $random;
      chosen = $unsigned($random) % INPUTS;
      expected = inputs[WIDTH*chosen +: WIDTH];
      if (read) begin due = shadow[read_at]; is_known = written[read_at]; end
      #1 clk = 1;
      #1 clk = 0;
      if (is_known && out !== due) wrong = wrong + 1;
      if (picked !== expected) wrong = wrong + 1;
      if (write) begin shadow[write_at] = in; written[write_at] = 1; end
    end
    $display("count wrong %0d", wrong);
    $finish;
  end
endmodule
