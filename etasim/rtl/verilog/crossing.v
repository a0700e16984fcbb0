// A channel between two clocks: a queue whose pointers cross in Gray code, each through STAGES flip-flops of the other clock.
// STAGES 1: what the model charges, a pointer is seen at the first edge at or after its change. Two are what a safe crossing takes.
module crossing #(parameter WIDTH = 34, DEPTH = 4, STAGES = 1) (
  input write_clk, input write_sample, input push, input [WIDTH-1:0] in, output can_push,
  input read_clk, input read_sample, input pop, output can_pop, output [WIDTH-1:0] head, output [31:0] seen
);
  localparam B = $clog2(DEPTH) + 1;
  reg [WIDTH-1:0] slots [0:(1<<(B-1))-1];
  reg [B-1:0] pushed = 0, popped = 0;
  reg [B-1:0] pushed_gray [0:STAGES-1], popped_gray [0:STAGES-1];
  integer k;
  initial for (k = 0; k < STAGES; k = k + 1) begin pushed_gray[k] = 0; popped_gray[k] = 0; end
  function [B-1:0] gray(input [B-1:0] n); gray = n ^ (n >> 1); endfunction
  function [B-1:0] binary(input [B-1:0] g);
    integer i;
    begin
      binary[B-1] = g[B-1];
      for (i = B - 2; i >= 0; i = i - 1) binary[i] = binary[i+1] ^ g[i];
    end
  endfunction
  wire [B-1:0] pushed_there = binary(pushed_gray[STAGES-1]), popped_there = binary(popped_gray[STAGES-1]);
  wire [B-1:0] held = pushed - popped_there, waiting = pushed_there - popped;
  assign can_push = held < DEPTH, can_pop = waiting != 0, seen = waiting;
  assign head = slots[popped[B-2:0]];
  always @(posedge write_clk) if (push) begin slots[pushed[B-2:0]] <= in; pushed <= pushed + 1; end
  always @(posedge read_clk) if (pop) popped <= popped + 1;
  always @(posedge read_sample) begin
    pushed_gray[0] <= gray(pushed);
    for (k = 1; k < STAGES; k = k + 1) pushed_gray[k] <= pushed_gray[k-1];
  end
  always @(posedge write_sample) begin
    popped_gray[0] <= gray(popped);
    for (k = 1; k < STAGES; k = k + 1) popped_gray[k] <= popped_gray[k-1];
  end
endmodule
