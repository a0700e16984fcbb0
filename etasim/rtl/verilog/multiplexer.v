// One output of a crossbar between requesters and banks: a word of one of INPUTS (up to 64), registered; a tree of four-to-one multiplexers.
module multiplexer #(parameter INPUTS = 4, WIDTH = 64) (
  input clk, input [$clog2(INPUTS)-1:0] chosen, input [INPUTS*WIDTH-1:0] in, output reg [WIDTH-1:0] out
);
  localparam FIRST = (INPUTS + 3) / 4, SECOND = (FIRST + 3) / 4;
  wire [5:0] select = chosen;
  wire [64*WIDTH-1:0] all = in;
  wire [16*WIDTH-1:0] first;
  wire [4*WIDTH-1:0] second;
  genvar i;
  generate
    for (i = 0; i < 16; i = i + 1) assign first[WIDTH*i +: WIDTH] = i < FIRST ? all[WIDTH*(4*i+select[1:0]) +: WIDTH] : {WIDTH{1'b0}};
    for (i = 0; i < 4; i = i + 1) assign second[WIDTH*i +: WIDTH] = i < SECOND ? first[WIDTH*(4*i+select[3:2]) +: WIDTH] : {WIDTH{1'b0}};
  endgenerate
  always @(posedge clk) out <= second[WIDTH*select[5:4] +: WIDTH];
endmodule
