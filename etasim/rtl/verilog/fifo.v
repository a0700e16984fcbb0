// A channel of docs/contract.md: what is pushed in a cycle is seen in the next, and so is the room that a pop leaves.
module fifo #(parameter WIDTH = 8, DEPTH = 4) (
  input clk, input push, input [WIDTH-1:0] in, input pop,
  output can_push, output can_pop, output [WIDTH-1:0] head
);
  reg [WIDTH-1:0] slots [0:DEPTH-1];
  integer first = 0, last = 0, count = 0;
  assign can_pop = count > 0;
  assign can_push = count < DEPTH;
  assign head = slots[first];
  always @(posedge clk) begin
    if (push) begin
      slots[last] <= in;
      last <= last + 1 < DEPTH ? last + 1 : 0;
    end
    if (pop) first <= first + 1 < DEPTH ? first + 1 : 0;
    count <= count + (push ? 1 : 0) - (pop ? 1 : 0);
  end
endmodule

// A channel into which two messages can be pushed in a cycle, `also` behind `in`.
module fifo_two #(parameter WIDTH = 8, DEPTH = 4) (
  input clk, input push, input [WIDTH-1:0] in, input push_also, input [WIDTH-1:0] also, input pop,
  output can_push, output can_pop, output [WIDTH-1:0] head
);
  reg [WIDTH-1:0] slots [0:DEPTH-1];
  integer first = 0, last = 0, count = 0;
  wire [31:0] next = last + 1 < DEPTH ? last + 1 : 0, after_next = next + 1 < DEPTH ? next + 1 : 0;
  assign can_pop = count > 0;
  assign can_push = count < DEPTH;
  assign head = slots[first];
  always @(posedge clk) begin
    if (push) slots[last] <= in;
    if (push_also) slots[next] <= also;
    if (push) last <= push_also ? after_next : next;
    if (pop) first <= first + 1 < DEPTH ? first + 1 : 0;
    count <= count + (push ? 1 : 0) + (push_also ? 1 : 0) - (pop ? 1 : 0);
  end
endmodule
