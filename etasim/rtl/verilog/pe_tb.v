// A PE beside what its sums are to be: vectors from a file, each into an entry of its own twice, cleared and then added to.
module pe_tb;
  parameter LANES = 4, COLUMNS = 2, ACC = 64, DEPTH = 64, SEGMENTED = 0, FLOAT = 1, SCALED = 0;
  localparam ENTRY = $clog2(DEPTH), WAIT = $clog2(LANES) + 4;
  reg clk = 0, valid = 0, clear = 0;
  reg [ENTRY-1:0] entry = 0;
  reg [2+6*COLUMNS+8*LANES*(COLUMNS+1)-1:0] given [0:DEPTH-1];
  reg [COLUMNS*ACC-1:0] expected [0:DEPTH-1];
  reg [1:0] wide = 0;
  reg [6*COLUMNS-1:0] shifts = 0;
  reg [8*LANES-1:0] stationary = 0;
  reg [8*LANES*COLUMNS-1:0] stream = 0;
  reg [ENTRY:0] read_at = 0;
  wire [COLUMNS*ACC-1:0] sums;
  integer i, k, t, wrong = 0;
  pe #(LANES, COLUMNS, ACC, DEPTH, SEGMENTED, 1, 1, FLOAT, SCALED) element (
    clk, valid, clear, 1'b0, entry, stationary, stream, read_at, sums, wide, shifts);
  initial begin
    $readmemh("given.hex", given);
    $readmemh("expected.hex", expected);
    for (i = 0; i < DEPTH; i = i + 1) begin
      {wide, shifts, stationary, stream} = given[i];
      entry = i;
      for (k = 0; k < 2; k = k + 1) begin
        valid = 1; clear = k == 0;
        for (t = 0; t < WAIT; t = t + 1) begin #1 clk = 1; #1 clk = 0; valid = 0; end
      end
    end
    for (i = 0; i < DEPTH; i = i + 1) begin
      read_at = i;
      #1 if (sums !== expected[i]) wrong = wrong + 1;
    end
    $display("count wrong %0d", wrong);
    $finish;
  end
endmodule
