// One output of a crossbar between requesters and banks: a word of one of INPUTS (up to 64), registered; a tree of four-to-one multiplexers.
module multiplexer #(parameter INPUTS = 4, WIDTH = 64) (
  input clk, input [$clog2(INPUTS)-1:0] chosen, input [INPUTS*WIDTH-1:0] in, output reg [WIDTH-1:0] out
);
  localparam FIRST = (INPUTS + 3) / 4, SECOND = (FIRST + 3) / 4;
  wire [5:0] select = chosen;
  wire [4*FIRST*WIDTH-1:0] all = in;
  wire [4*SECOND*WIDTH-1:0] first;
  wire [4*WIDTH-1:0] second;
  genvar i;
  generate
    for (i = 0; i < 4 * SECOND; i = i + 1) begin : level
      if (i < FIRST) begin : four
        wire [4*WIDTH-1:0] inputs = all[4*WIDTH*i +: 4*WIDTH];
        assign first[WIDTH*i +: WIDTH] = inputs[WIDTH*select[1:0] +: WIDTH];
      end else assign first[WIDTH*i +: WIDTH] = {WIDTH{1'b0}};
    end
    for (i = 0; i < 4; i = i + 1) begin : next
      if (i < SECOND) begin : four
        wire [4*WIDTH-1:0] inputs = first[4*WIDTH*i +: 4*WIDTH];
        assign second[WIDTH*i +: WIDTH] = inputs[WIDTH*select[3:2] +: WIDTH];
      end else assign second[WIDTH*i +: WIDTH] = {WIDTH{1'b0}};
    end
  endgenerate
  always @(posedge clk) out <= second[WIDTH*select[5:4] +: WIDTH];
endmodule
