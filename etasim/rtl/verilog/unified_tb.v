// Plays the error buffer's side of a unified core as recorded.
module unified_tb;
  parameter WORD = 16, LANES = 2, PIPELINE = 4, FIFO = 12, QUEUE = 2, MESSAGES = 4, ANSWERS = 32, REQUESTS = 4, BATCH = 2, BYTES = 1 << 20;
  reg clk = 0;
  integer now = 0, file, n, cycle, end_cycle, a, q;
  reg [7:0] kind;
  reg [8*WORD-1:0] value;
  integer m;
  reg command_push, completion_pop;
  reg [31:0] command_in;
  reg [6:0] request_pop, answer_push;
  wire command_popped, completed, begins;
  wire [6:0] asked, answered;
  wire [7*32-1:0] word;
  wire [31:0] row, group;
  unified #(WORD, LANES, PIPELINE, FIFO, QUEUE, MESSAGES, ANSWERS, REQUESTS, BATCH, 4096, 104, BYTES) core (
    clk, command_push, command_in, command_popped, request_pop, asked, word, answer_push, answered, completion_pop, completed,
    begins, row, group);
  initial begin
    $readmemh("passes.hex", core.passes);
    $readmemh("operands.hex", core.operands);
    $readmemh("reciprocals.hex", core.reciprocals);
    $readmemh("sums.hex", core.drained_sums);
    $readmemh("valid.hex", core.valid);
    file = $fopen("stimuli.txt", "r");
    n = $fscanf(file, "%d", end_cycle);
    n = $fscanf(file, "%d %c", cycle, kind);
    while (now < end_cycle) begin
      command_push = 0; completion_pop = 0; request_pop = 0; answer_push = 0;
      while (n == 2 && cycle == now) begin
        case (kind)
          "C": begin n = $fscanf(file, "%d", a); command_push = 1; command_in = a; end
          "c": completion_pop = 1;
          "r": begin n = $fscanf(file, "%d", q); request_pop[q] = 1; end
          "a": begin n = $fscanf(file, "%d", q); answer_push[q] = 1; end
        endcase
        n = $fscanf(file, "%d %c", cycle, kind);
      end
      #1;
      if (command_popped) $display("%0d accepted", now);
      for (q = 0; q < 7; q = q + 1) begin
        if (answered[q]) $display("%0d answered.%0d", now, q);
        if (asked[q] && q < 4) $display("%0d asked.%0d %0d", now, q, word[32*q +: 32]);
        if (asked[q] && q >= 4) $display("%0d written.%0d %0d", now, q, word[32*q +: 32]);
      end
      if (begins) $display("%0d group %0d %0d", now, row, group);
      if (completed) begin
        $display("%0d completed", now);
        for (q = 0; q < 3; q = q + 1) if (q < core.n_writes) for (a = 0; a < core.pass[32*(7+q) +: 32]; a = a + 1) begin
          for (m = 0; m < WORD; m = m + 1) value[8*m +: 8] = core.results[q * core.RESULT_BYTES + a * WORD + m];
          $display("%0d result.%0d %0d %0d %h", now, q, row, a, value);
        end
      end
      clk = 1;
      #1 clk = 0;
      now = now + 1;
    end
    $display("count early_operands %0d", core.early_operands);
    $display("count early_results %0d", core.early_results);
    $finish;
  end
endmodule
