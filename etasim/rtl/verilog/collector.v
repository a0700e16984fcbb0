// A collector (docs/models/buffers_dma.md): writes the segments of a packet of results where the drain's table says; segments of one word are
// written together, one word a cycle. The last word's acknowledgement completes the drain.
module collector #(parameter WORD = 16, SEGMENT = 4, PACKETS = 4, OUTSTANDING = 16, ENGINES = 2, ROWS = 4096, OFFSETS = 65536, TAG = 96) (
  input clk,
  input eject_push, input [64+8*WORD-1:0] eject_in, output eject_popped,      // row, packet, data
  input room, output write, output [31:0] write_word, output reg [8*WORD-1:0] write_data, output reg [WORD-1:0] write_mask, output [TAG-1:0] write_tag,
  input answered, input [TAG-1:0] answer_tag, output take,
  input [ENGINES-1:0] completion_room, output [ENGINES-1:0] completed
);
  // packets, segments, segments per packet, place in the table, buffer address, engine
  reg [8*32-1:0] drains [0:ROWS-1];
  reg [31:0] offsets [0:OFFSETS-1];
  wire some;
  wire [64+8*WORD-1:0] head;
  fifo #(64+8*WORD, PACKETS) eject (clk, eject_push, eject_in, eject_popped, , some, head);
  wire [8*32-1:0] drain = drains[head[8*WORD+32 +: 32]];
  wire [31:0] packet = head[8*WORD +: 32];
  wire [31:0] packets = drain[0 +: 32], segments = drain[32 +: 32], per_packet = drain[64 +: 32], place = drain[96 +: 32], base = drain[128 +: 32];
  wire [31:0] first = packet * per_packet;
  wire [31:0] stop = segments - first < per_packet ? segments - first : per_packet;
  integer segment = 0, waiting = 0, i, k, last;
  wire [31:0] at [0:WORD/SEGMENT-1];
  genvar s;
  generate
    for (s = 0; s < WORD / SEGMENT; s = s + 1) begin : spot
      assign at[s] = base + offsets[place + first + s];
    end
  endgenerate
  assign write_word = at[segment] / WORD;
  reg [31:0] here;
  reg together;
  always @* begin
    last = segment;
    together = 1;
    write_data = 0; write_mask = 0;
    for (i = 0; i < WORD / SEGMENT; i = i + 1) begin
      here = at[i];
      if (i >= segment && i < stop && together) begin
        together = here / WORD == write_word;
        if (together) begin
          last = i;
          for (k = 0; k < SEGMENT; k = k + 1) begin
            write_mask[here % WORD + k] = 1;
            write_data[8*(here % WORD + k) +: 8] = head[8*(SEGMENT*i+k) +: 8];
          end
        end
      end
    end
  end
  wire is_last = last + 1 == stop;
  wire completes = is_last && packet + 1 == packets;
  wire [31:0] engine = answer_tag[1 +: 31];
  assign take = answered && (!answer_tag[0] || completion_room[engine]);
  assign completed = take && answer_tag[0] ? 1 << engine : 0;
  assign write = some && waiting - take < OUTSTANDING && room;
  assign write_tag = {drain[160 +: 31], completes};
  assign eject_popped = write && is_last;
  always @(posedge clk) begin
    waiting <= waiting - take + write;
    if (write) segment <= is_last ? 0 : last + 1;
  end
endmodule
