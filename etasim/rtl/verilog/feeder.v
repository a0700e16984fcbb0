// A feeder (docs/models/buffers_dma.md): asks a buffer for the words that the runs of a command touch, one a cycle and OUTSTANDING under way,
// and injects the bytes of the run that lie in each as a packet.
module feeder #(parameter WORD = 16, QUEUE = 4, PACKETS = 4, MESSAGES = 4, OUTSTANDING = 16, ROWS = 4096, TAG = 96) (
  input clk,
  input command_push, input [31:0] command_in, output command_popped,
  input room, output request, output [31:0] request_word, output [TAG-1:0] request_tag,
  input answered, input [8*WORD-1:0] answer, input [TAG-1:0] answer_tag, output take,
  input inject_pop, output [31:0] packet_row, output [31:0] packet_first, output [7:0] packet_bytes, output [8*WORD-1:0] packet,
  input completion_pop, output completed
);
  // buffer address, run bytes, four counts, four strides
  reg [10*32-1:0] feeds [0:ROWS-1];
  wire some, inject_room, completion_room;
  wire [31:0] next_row;
  wire accept;
  fifo #(32, QUEUE) commands (clk, command_push, command_in, accept, , some, next_row);
  fifo #(1, PACKETS) inject (clk, take, 1'b0, inject_pop, inject_room, , );
  fifo #(1, MESSAGES) completions (clk, completed, 1'b0, completion_pop, completion_room, , );
  reg active = 0;
  reg [31:0] row = 0, start = 0, word = 0, sent = 0;         // byte at which the run starts, word of it, bytes of the runs before
  reg [31:0] index [0:3];
  integer waiting = 0, d;
  initial for (d = 0; d < 4; d = d + 1) index[d] = 0;
  // Inject.
  wire last_of_command = answer_tag[0];
  assign take = answered && inject_room && (!last_of_command || completion_room);
  assign completed = take && last_of_command;
  assign packet_row = answer_tag[1 +: 31], packet_first = answer_tag[32 +: 32], packet_bytes = answer_tag[72 +: 8];
  assign packet = answer >> 8 * answer_tag[64 +: 8];
  // Ask.
  assign accept = !active && some, command_popped = accept;
  wire working = active || accept;
  wire [31:0] this_row = accept ? next_row : row;
  wire [10*32-1:0] feed = feeds[this_row];
  wire [31:0] run = feed[32 +: 32];
  wire [31:0] this_start = accept ? feed[0 +: 32] : start, this_word = accept ? 0 : word, this_sent = accept ? 0 : sent;
  wire [31:0] first = this_start / WORD, last = (this_start + run - 1) / WORD;
  wire [31:0] from = this_word == 0 ? this_start % WORD : 0;
  wire [31:0] until_ = first + this_word == last ? (this_start + run - 1) % WORD + 1 : WORD;
  wire run_ends = first + this_word == last;
  assign request = working && waiting - take < OUTSTANDING && room;
  assign request_word = first + this_word;
  reg command_ends;
  reg [31:0] next_index [0:3];
  reg [31:0] next_start;
  integer k;
  always @* begin
    command_ends = run_ends;
    next_start = feed[0 +: 32];
    for (k = 3; k >= 0; k = k - 1) begin
      next_index[k] = accept ? 0 : index[k];
      if (command_ends) begin
        next_index[k] = next_index[k] + 1;
        if (next_index[k] < feed[32*(2+k) +: 32]) command_ends = 0;
        else next_index[k] = 0;
      end
      next_start = next_start + next_index[k] * feed[32*(6+k) +: 32];
    end
  end
  wire [31:0] offset_in_run = this_word == 0 ? 0 : this_word * WORD - this_start % WORD;
  wire [7:0] n_bytes = until_ - from;
  assign request_tag = {16'd0, n_bytes, from[7:0], this_sent + offset_in_run, this_row[30:0], run_ends && command_ends};
  always @(posedge clk) begin
    waiting <= waiting - take + request;
    if (accept) begin
      active <= 1; row <= next_row; start <= this_start; word <= 0; sent <= 0;
      for (d = 0; d < 4; d = d + 1) index[d] <= 0;
    end
    if (request) begin
      if (!run_ends) word <= this_word + 1;
      else begin
        word <= 0; start <= next_start; sent <= this_sent + run;
        for (d = 0; d < 4; d = d + 1) index[d] <= next_index[d];
        if (command_ends) active <= 0;
      end
    end
  end
endmodule
