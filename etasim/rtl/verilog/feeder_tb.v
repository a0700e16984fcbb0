// A global buffer whose loads are played as recorded, and the feeder that reads it.
module feeder_tb;
  parameter N = 2, FEEDER = 1, BANKS = 4, DEPTH = 64, WORD = 16, LATENCY = 2, READS = 1, WRITES = 1, BOTH = 2, QUEUE = 4, ANSWERS = 32;
  parameter COMMANDS = 2, PACKETS = 4, MESSAGES = 4, OUTSTANDING = 16;
  localparam TAG = 96;
  reg clk = 0;
  integer now = 0, file, n, cycle, end_cycle, a, q;
  reg [7:0] kind;
  reg [8*WORD-1:0] value;
  reg [WORD-1:0] bytes;
  reg [N-1:0] push, is_write, pop, push_also, also_is_write;
  reg [N*32-1:0] word, also_word;
  reg [N*8*WORD-1:0] data, also_data;
  reg [N*WORD-1:0] mask, also_mask;
  wire [N-1:0] room, granted, answered;
  wire [N*8*WORD-1:0] answer;
  wire [N*TAG-1:0] answer_tag;
  reg command_push, inject_pop, completion_pop;
  reg [31:0] command_in;
  wire command_popped, request, take, completed;
  wire [31:0] request_word, packet_row, packet_first;
  wire [TAG-1:0] request_tag;
  wire [7:0] packet_bytes;
  wire [8*WORD-1:0] packet;
  // The feeder is the last requester but those behind it.
  wire [N-1:0] all_push = push | (request ? 1 << FEEDER : 0), all_pop = pop | (take ? 1 << FEEDER : 0);
  wire [N*32-1:0] all_word = word | (request ? {{N*32{1'b0}}, request_word} << 32 * FEEDER : 0);
  wire [N*TAG-1:0] all_tag = {{N*TAG{1'b0}}, request_tag} << TAG * FEEDER;
  buffer #(N, BANKS, DEPTH, WORD, LATENCY, READS, WRITES, BOTH, QUEUE, ANSWERS, TAG) store (
    clk, all_push, all_word, is_write, data, mask, all_tag,
    push_also, also_word, also_is_write, also_data, also_mask, room, granted, answered, answer, answer_tag, all_pop);
  feeder #(WORD, COMMANDS, PACKETS, MESSAGES, OUTSTANDING, 4096, TAG) feed (
    clk, command_push, command_in, command_popped, room[FEEDER], request, request_word, request_tag,
    answered[FEEDER], answer[8*WORD*FEEDER +: 8*WORD], answer_tag[TAG*FEEDER +: TAG], take,
    inject_pop, packet_row, packet_first, packet_bytes, packet, completion_pop, completed);
  initial begin
    $readmemh("feeds.hex", feed.feeds);
    file = $fopen("stimuli.txt", "r");
    n = $fscanf(file, "%d", end_cycle);
    n = $fscanf(file, "%d %c", cycle, kind);
    while (now < end_cycle) begin
      push_also = 0; also_word = 0; also_is_write = 0; also_data = 0; also_mask = 0; push = 0; is_write = 0; pop = 0; word = 0; data = 0; mask = 0; command_push = 0; inject_pop = 0; completion_pop = 0;
      while (n == 2 && cycle == now) begin
        case (kind)
          "W": begin  // a load writes
            n = $fscanf(file, "%d %d %h %h", q, a, bytes, value);
            if (push[q]) begin
              push_also[q] = 1; also_is_write[q] = 1;
              also_word[32*q +: 32] = a; also_data[8*WORD*q +: 8*WORD] = value; also_mask[WORD*q +: WORD] = bytes;
            end else begin
              push[q] = 1; is_write[q] = 1;
              word[32*q +: 32] = a; data[8*WORD*q +: 8*WORD] = value; mask[WORD*q +: WORD] = bytes;
            end
          end
          "A": begin n = $fscanf(file, "%d", q); pop[q] = 1; end
          "C": begin n = $fscanf(file, "%d", a); command_push = 1; command_in = a; end
          "i": inject_pop = 1;
          "c": completion_pop = 1;
        endcase
        n = $fscanf(file, "%d %c", cycle, kind);
      end
      #1;
      if (command_popped) $display("%0d accepted", now);
      if (request) $display("%0d asked %0d", now, request_word);
      for (q = 0; q < N; q = q + 1) begin
        if (granted[q]) $display("%0d granted.%0d", now, q);
        if (pop[q] && !answered[q]) $display("%0d early_answer.%0d", now, q);
      end
      if (take) begin
        value = 0;
        for (q = 0; q < WORD; q = q + 1) if (q < packet_bytes) value[8*q +: 8] = packet[8*q +: 8];
        $display("%0d sent %0d %0d %0d %h", now, packet_row, packet_first, packet_bytes, value);
      end
      if (completed) $display("%0d completed", now);
      clk = 1;
      #1 clk = 0;
      now = now + 1;
    end
    $display("count second_requests %0d", store.second_requests);
    $finish;
  end
endmodule
