// A global buffer (docs/models/buffers_dma.md): word w lies in bank w mod BANKS; each cycle the oldest request of every requester is
// granted if its bank has a port left, from the requester whose turn it is; it is answered LATENCY cycles later.
module buffer #(
  parameter N = 2, BANKS = 4, DEPTH = 64, WORD = 16, LATENCY = 2, READS = 1, WRITES = 1, BOTH = 2, QUEUE = 4, ANSWERS = 32, TAG = 64
) (
  input clk,
  input [N-1:0] push, input [N*32-1:0] word, input [N-1:0] is_write, input [N*8*WORD-1:0] data, input [N*WORD-1:0] mask, input [N*TAG-1:0] tag,
  // A second request of the same requester in the same cycle: the model's DMA engines push two (docs/deviations.md).
  input [N-1:0] push_also, input [N*32-1:0] also_word, input [N-1:0] also_is_write, input [N*8*WORD-1:0] also_data, input [N*WORD-1:0] also_mask,
  output [N-1:0] room, output reg [N-1:0] granted,
  output [N-1:0] answered, output [N*8*WORD-1:0] answer, output [N*TAG-1:0] answer_tag, input [N-1:0] pop
);
  localparam REQUEST = 32 + 1 + 8 * WORD + WORD + TAG;
  reg [8*WORD-1:0] banks [0:BANKS*DEPTH-1];
  wire [REQUEST-1:0] head [0:N-1];
  wire [N-1:0] waits;
  integer second_requests = 0;  // that the model does not charge
  integer turn = 0, i, q, bank, k;
  reg [N-1:0] any;
  reg [3:0] used_reads [0:BANKS-1], used_writes [0:BANKS-1];
  genvar r;
  initial for (k = 0; k < BANKS * DEPTH; k = k + 1) banks[k] = 0;
  always @* begin
    granted = 0;
    for (i = 0; i < BANKS; i = i + 1) begin used_reads[i] = 0; used_writes[i] = 0; end
    for (i = 0; i < N; i = i + 1) begin
      q = i + turn >= N ? i + turn - N : i + turn;
      if (waits[q]) begin
        bank = head[q][0 +: 32] % BANKS;
        if (used_reads[bank] + used_writes[bank] < BOTH && (head[q][32] ? used_writes[bank] < WRITES : used_reads[bank] < READS)) begin
          granted[q] = 1;
          if (head[q][32]) used_writes[bank] = used_writes[bank] + 1;
          else used_reads[bank] = used_reads[bank] + 1;
        end
      end
    end
  end
  always @(posedge clk) begin
    for (i = 0; i < N; i = i + 1) if (push_also[i]) second_requests = second_requests + 1;
    if (granted != 0) turn <= turn + 1 < N ? turn + 1 : 0;
    for (i = 0; i < N; i = i + 1) if (granted[i] && head[i][32])
      for (k = 0; k < WORD; k = k + 1) if (head[i][33+8*WORD+k])
        banks[(head[i][0 +: 32] % BANKS) * DEPTH + head[i][0 +: 32] / BANKS][8*k +: 8] <= head[i][33+8*k +: 8];
  end
  generate
    for (r = 0; r < N; r = r + 1) begin : requester
      fifo_two #(REQUEST, QUEUE) requests (clk, push[r], {tag[TAG*r +: TAG], mask[WORD*r +: WORD], data[8*WORD*r +: 8*WORD], is_write[r], word[32*r +: 32]},
        push_also[r], {{TAG{1'b0}}, also_mask[WORD*r +: WORD], also_data[8*WORD*r +: 8*WORD], also_is_write[r], also_word[32*r +: 32]},
        granted[r], room[r], waits[r], head[r]);
      // The access takes a cycle, its way back the rest.
      reg [8*WORD+TAG:0] way [1:LATENCY];
      integer s;
      wire [8*WORD-1:0] found = banks[(head[r][0 +: 32] % BANKS) * DEPTH + head[r][0 +: 32] / BANKS];
      initial for (s = 1; s <= LATENCY; s = s + 1) way[s] = 0;
      wire [8*WORD+TAG:0] fresh = {granted[r], head[r][33+9*WORD +: TAG], found};
      wire [8*WORD+TAG:0] arrives = LATENCY == 1 ? fresh : way[LATENCY-1];
      always @(posedge clk) begin
        way[1] <= fresh;
        for (s = 2; s <= LATENCY; s = s + 1) way[s] <= way[s-1];
      end
      fifo #(8*WORD+TAG, ANSWERS) answers (clk, arrives[8*WORD+TAG], arrives[0 +: 8*WORD+TAG], pop[r], , answered[r],
        {answer_tag[TAG*r +: TAG], answer[8*WORD*r +: 8*WORD]});
    end
  endgenerate
endmodule
