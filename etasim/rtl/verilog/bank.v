// A bank of a buffer or a scratchpad (docs/models/buffers_dma.md): a word written and a word read a cycle, the read one a cycle later.
module bank #(parameter DEPTH = 512, WIDTH = 64) (
  input clk, input write, input [$clog2(DEPTH)-1:0] write_at, input [WIDTH-1:0] in, input read, input [$clog2(DEPTH)-1:0] read_at,
  output reg [WIDTH-1:0] out
);
  (* ram_style = "block" *) reg [WIDTH-1:0] words [0:DEPTH-1];
  always @(posedge clk) begin
    if (write) words[write_at] <= in;
    if (read) out <= words[read_at];
  end
endmodule
