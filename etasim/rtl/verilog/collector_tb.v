// The error buffer, its collectors, and everyone else who asks it as recorded.
module collector_tb;
  parameter N = 4, FIRST = 2, COLLECTORS = 2, ENGINES = 2, BANKS = 4, DEPTH = 64, WORD = 16, SEGMENT = 4, LATENCY = 2, READS = 1, WRITES = 1, BOTH = 2;
  parameter QUEUE = 4, ANSWERS = 32, PACKETS = 4, MESSAGES = 4, OUTSTANDING = 16;
  localparam TAG = 96;
  reg clk = 0;
  integer now = 0, file, n, cycle, end_cycle, a, b, q;
  reg [7:0] kind;
  reg [8*WORD-1:0] value;
  reg [N-1:0] push, is_write, pop, push_also, also_is_write;
  reg [N*32-1:0] word, also_word;
  reg [COLLECTORS-1:0] eject_push;
  reg [64+8*WORD-1:0] eject_in [0:COLLECTORS-1];
  reg [ENGINES-1:0] completion_pop;
  wire [N-1:0] room, granted, answered;
  wire [N*8*WORD-1:0] answer;
  wire [N*TAG-1:0] answer_tag;
  wire [COLLECTORS-1:0] write, take, popped;
  wire [COLLECTORS*32-1:0] write_word;
  wire [COLLECTORS*8*WORD-1:0] write_data;
  wire [COLLECTORS*WORD-1:0] write_mask;
  wire [COLLECTORS*TAG-1:0] write_tag;
  wire [ENGINES-1:0] completion_room;
  wire [ENGINES-1:0] completed [0:COLLECTORS-1];
  reg [ENGINES-1:0] any_completed;
  integer k;
  always @* begin
    any_completed = 0;
    for (k = 0; k < COLLECTORS; k = k + 1) any_completed = any_completed | completed[k];
  end
  wire [N-1:0] all_push, all_write, all_pop;
  wire [N*32-1:0] all_word;
  wire [N*8*WORD-1:0] all_data;
  wire [N*WORD-1:0] all_mask;
  wire [N*TAG-1:0] all_tag;
  genvar g;
  generate
    for (g = 0; g < N; g = g + 1) begin : ports
      if (g >= FIRST && g < FIRST + COLLECTORS) begin : own
        assign all_push[g] = write[g-FIRST], all_write[g] = 1, all_pop[g] = take[g-FIRST];
        assign all_word[32*g +: 32] = write_word[32*(g-FIRST) +: 32], all_data[8*WORD*g +: 8*WORD] = write_data[8*WORD*(g-FIRST) +: 8*WORD];
        assign all_mask[WORD*g +: WORD] = write_mask[WORD*(g-FIRST) +: WORD], all_tag[TAG*g +: TAG] = write_tag[TAG*(g-FIRST) +: TAG];
      end else begin : played
        assign all_push[g] = push[g], all_write[g] = is_write[g], all_pop[g] = pop[g], all_word[32*g +: 32] = word[32*g +: 32];
        assign all_data[8*WORD*g +: 8*WORD] = 0, all_mask[WORD*g +: WORD] = 0, all_tag[TAG*g +: TAG] = 0;
      end
    end
    for (g = 0; g < COLLECTORS; g = g + 1) begin : each
      collector #(WORD, SEGMENT, PACKETS, OUTSTANDING, ENGINES, 4096, 65536, TAG) part (
        clk, eject_push[g], eject_in[g], popped[g], room[FIRST+g], write[g], write_word[32*g +: 32], write_data[8*WORD*g +: 8*WORD],
        write_mask[WORD*g +: WORD], write_tag[TAG*g +: TAG], answered[FIRST+g], answer_tag[TAG*(FIRST+g) +: TAG], take[g],
        completion_room, completed[g]);
      initial begin
        $readmemh("drains.hex", part.drains);
        $readmemh("offsets.hex", part.offsets);
      end
    end
    for (g = 0; g < ENGINES; g = g + 1) begin : engine
      fifo #(1, MESSAGES) completions (clk, any_completed[g], 1'b0, completion_pop[g], completion_room[g], , );
    end
  endgenerate
  buffer #(N, BANKS, DEPTH, WORD, LATENCY, READS, WRITES, BOTH, QUEUE, ANSWERS, TAG) store (
    clk, all_push, all_word, all_write, all_data, all_mask, all_tag,
    push_also, also_word, also_is_write, {8*N*WORD{1'b0}}, {N*WORD{1'b0}}, room, granted, answered, answer, answer_tag, all_pop);
  initial begin
    file = $fopen("stimuli.txt", "r");
    n = $fscanf(file, "%d", end_cycle);
    n = $fscanf(file, "%d %c", cycle, kind);
    while (now < end_cycle) begin
      push_also = 0; also_word = 0; also_is_write = 0; push = 0; is_write = 0; pop = 0; word = 0; eject_push = 0; completion_pop = 0;
      while (n == 2 && cycle == now) begin
        case (kind)
          "R": begin
            n = $fscanf(file, "%d %d %d", q, a, b);
            if (push[q]) begin push_also[q] = 1; also_is_write[q] = b; also_word[32*q +: 32] = a; end
            else begin push[q] = 1; is_write[q] = b; word[32*q +: 32] = a; end
          end
          "A": begin n = $fscanf(file, "%d", q); pop[q] = 1; end
          "P": begin n = $fscanf(file, "%d %d %d %h", q, a, b, value); eject_push[q] = 1; eject_in[q] = {a, b, value}; end
          "c": begin n = $fscanf(file, "%d", q); completion_pop[q] = 1; end
        endcase
        n = $fscanf(file, "%d %c", cycle, kind);
      end
      #1;
      for (q = 0; q < N; q = q + 1) begin
        if (granted[q]) $display("%0d granted.%0d", now, q);
        if (all_pop[q] && !answered[q]) $display("%0d early_answer.%0d", now, q);
      end
      for (q = 0; q < COLLECTORS; q = q + 1) begin
        if (popped[q]) $display("%0d taken.%0d", now, q);
        if (write[q]) $display("%0d written.%0d %0d %h %h", now, q, write_word[32*q +: 32], write_mask[WORD*q +: WORD], write_data[8*WORD*q +: 8*WORD]);
      end
      for (q = 0; q < ENGINES; q = q + 1) if (any_completed[q]) $display("%0d completed.%0d", now, q);
      clk = 1;
      #1 clk = 0;
      now = now + 1;
    end
    $display("count second_requests %0d", store.second_requests);
    $finish;
  end
endmodule
