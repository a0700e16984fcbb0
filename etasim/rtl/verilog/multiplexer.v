// One output of a crossbar between requesters and banks: a word of one of INPUTS, registered.
module multiplexer #(parameter INPUTS = 4, WIDTH = 64) (
  input clk, input [$clog2(INPUTS)-1:0] chosen, input [INPUTS*WIDTH-1:0] in, output reg [WIDTH-1:0] out
);
  always @(posedge clk) out <= in[WIDTH*chosen +: WIDTH];
endmodule
