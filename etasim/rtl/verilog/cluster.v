// A cluster of PEs (docs/models/array.md): scratchpads with a gather, chunks of sweeps, two halves of psums and their drain.
// Everything that a chunk does follows from its geometry: nothing here is told how long a sweep takes or for which word it waits.
module cluster #(
  parameter LANES = 2, COLUMNS = 4, PES = 2, WORD = 16, DEPTH = 8, ACC = 48, SEGMENTED = 1, STREAM_VECTORS = 4096, STATIONARY_VECTORS = 4096,
  PIPELINE = 4, QUEUE = 2, PACKETS = 4, MESSAGES = 4, BITS = 32, FIELDS = 32
) (
  input clk,
  // Operands from the network: scratchpad, half, layout (row of the chunk), first vector, vectors, data.
  input eject_push, input [2+16+16+8+8*WORD-1:0] eject_in, output eject_popped,
  input command_push, input [BITS-1:0] command_in, output command_popped,
  input drain_push, input [BITS-1:0] drain_in, output drain_popped,
  input completion_pop, output completion_pushed, output [BITS-1:0] completion,
  input inject_pop, output inject_pushed, output [BITS-1:0] inject_packet, output [8*WORD-1:0] inject_data,
  output sweep_begins, output [BITS-1:0] sweep_row, output [BITS-1:0] sweep_number
);
  localparam BLOCKS = PES / LANES, COLUMN_BLOCKS = COLUMNS / LANES, VECTORS = WORD / LANES, LEVELS = $clog2(LANES);
  localparam ROWS = 4096, SEGMENT = 2 * LANES;
  // Programs: a chunk, the layout of its operands, a drain; kernel positions as (dy, dx, dy / stride, dx / stride, dx mod stride).
  reg [FIELDS*32-1:0] chunks [0:ROWS-1];
  reg [16*32-1:0] drains [0:ROWS-1];
  reg [6*32-1:0] taps [0:ROWS-1];
  // Costs that the model does not charge, counted and not paid.
  integer uncharged_stream_writes = 0, uncharged_stationary_writes = 0, uncharged_drain_reads = 0, used_stream_vectors = 0;

  // Channels ------------------------------------------------------------------------------------------------------
  wire eject_some, command_some, drain_some, completion_room, inject_room;
  wire [2+16+16+8+8*WORD-1:0] word;
  wire [BITS-1:0] next_row, next_drain;
  wire finish, accept;
  reg drain_accept, drain_send;
  fifo #(2+16+16+8+8*WORD, PACKETS) eject (clk, eject_push, eject_in, eject_some, , eject_some, word);
  fifo #(BITS, QUEUE) commands (clk, command_push, command_in, accept, , command_some, next_row);
  fifo #(BITS, QUEUE) drain_commands (clk, drain_push, drain_in, drain_accept, , drain_some, next_drain);
  fifo #(1, MESSAGES) completions (clk, finish, 1'b0, completion_pop, completion_room, , );
  fifo #(1, PACKETS) inject (clk, drain_send, 1'b0, inject_pop, inject_room, , );
  assign eject_popped = eject_some, command_popped = accept, drain_popped = drain_accept;

  // Scratchpads ---------------------------------------------------------------------------------------------------
  localparam SV = STREAM_VECTORS, TV = STATIONARY_VECTORS;
  reg [8*LANES-1:0] stream_banks [0:2*COLUMNS*SV-1];      // [half][bank][vector]
  reg [8*LANES-1:0] stationary_banks [0:2*PES*TV-1];      // [half][block of a slice, row][vector]
  reg [31:0] filled [0:3];                                // [scratchpad][half] vectors, in order
  wire word_pad = word[8*WORD+41], word_half = word[8*WORD+40];
  wire [15:0] word_layout = word[8*WORD+24 +: 16], word_first = word[8*WORD+8 +: 16];
  wire [7:0] word_vectors = word[8*WORD +: 8];
  wire [FIELDS*32-1:0] layout = chunks[word_layout];
  `define FIELD(from, n) from[32*(n) +: 32]
  `define CHUNK_FIELDS(from) \
    wg = `FIELD(from, 0), transposes = `FIELD(from, 1), result_blocks = `FIELD(from, 2), stream_blocks = `FIELD(from, 3), \
    samples = `FIELD(from, 4), first_i = `FIELD(from, 5), first_j = `FIELD(from, 6), pixels = `FIELD(from, 7), cols = `FIELD(from, 8), \
    step_y = `FIELD(from, 9), step_x = `FIELD(from, 10), in_height = `FIELD(from, 11), in_width = `FIELD(from, 12), \
    first_row = `FIELD(from, 13), row_step = `FIELD(from, 14), rows = `FIELD(from, 15), first_tap = `FIELD(from, 16), \
    n_taps = `FIELD(from, 17), class_y = `FIELD(from, 18), class_x = `FIELD(from, 19), turn_row = `FIELD(from, 20), \
    turn_sample = `FIELD(from, 21), pitch = `FIELD(from, 22), first_class_row = `FIELD(from, 23)
  // Where the vectors of a word go. The counters stand for the vector that comes next: [block][sample][row][column].
  integer wb [0:1], ws [0:1], wy [0:1], wq [0:1], wx [0:1], wr [0:1], wv [0:1];
  integer i, k, bank, at, load, most, first_v;
  integer lb, ls, ly, lq, lx, lr;
  integer written [0:(PES > COLUMNS ? PES : COLUMNS)-1];
  reg [8*LANES-1:0] vector;
  wire [31:0] lay_wg = `FIELD(layout, 0), lay_results = `FIELD(layout, 2), lay_samples = `FIELD(layout, 4), lay_pixels = `FIELD(layout, 7);
  wire [31:0] lay_width = `FIELD(layout, 12), lay_first = `FIELD(layout, 13), lay_row_step = `FIELD(layout, 14), lay_rows = `FIELD(layout, 15);
  wire [31:0] lay_taps = `FIELD(layout, 17), lay_cy = `FIELD(layout, 18), lay_cx = `FIELD(layout, 19), lay_turn_row = `FIELD(layout, 20);
  wire [31:0] lay_turn_sample = `FIELD(layout, 21), lay_pitch = `FIELD(layout, 22);
  integer units, unit, slices_;
  always @(posedge clk) if (eject_some) begin
    for (i = 0; i < (PES > COLUMNS ? PES : COLUMNS); i = i + 1) written[i] = 0;
    most = 1;
    if (!word_pad) begin
      if (word_first == 0) begin lb = 0; ls = 0; ly = 0; lx = 0; end
      for (i = 0; i < VECTORS; i = i + 1) if (i < word_vectors) begin
        vector = word[8*LANES*i +: 8*LANES];
        k = lay_first + ly * lay_row_step;  // row of the map
        lq = lx / lay_cx;
        lr = (k % lay_cy) * lay_cx + lx % lay_cx;
        bank = k / lay_cy * lay_turn_row + lq + ls * lay_turn_sample;
        at = lay_wg ? lb / COLUMN_BLOCKS : lb;
        at = ((at * lay_samples + ls) * lay_rows + ly) * lay_cx + lx % lay_cx;
        at = at * lay_pitch + (lay_wg ? lq / LANES : lq / COLUMNS);
        bank = lay_wg ? lb % COLUMN_BLOCKS * LANES + bank % LANES : bank % COLUMNS;
        stream_banks[(word_half * COLUMNS + bank) * SV + at] = vector;
        if (at >= SV) $display("scratchpad too small: %0d", at);
        if (at + 1 > used_stream_vectors) used_stream_vectors = at + 1;
        written[bank] = written[bank] + 1;
        if (written[bank] > most) most = written[bank];
        lx = lx + 1;
        if (lx == lay_width) begin lx = 0; ly = ly + 1; end
        if (ly == lay_rows) begin ly = 0; ls = ls + 1; end
        if (ls == lay_samples) begin ls = 0; lb = lb + 1; end
      end
      uncharged_stream_writes = uncharged_stream_writes + most - 1;
    end else begin
      units = lay_wg ? lay_samples * lay_pixels : lay_taps * LANES;
      slices_ = (lay_results + BLOCKS - 1) / BLOCKS;
      for (i = 0; i < VECTORS; i = i + 1) if (i < word_vectors) begin
        vector = word[8*LANES*i +: 8*LANES];
        k = (word_first + i) / units;  // FF and BP: [stream block][result block], WG: [result block]
        unit = (word_first + i) % units;
        bank = k % lay_results % BLOCKS * LANES + unit % LANES;
        at = (k / lay_results * slices_ + k % lay_results / BLOCKS) * ((units + LANES - 1) / LANES) + unit / LANES;
        stationary_banks[(word_half * PES + bank) * TV + at] = vector;
        if (at >= TV) $display("scratchpad too small: %0d", at);
        written[bank] = written[bank] + 1;
        if (written[bank] > most) most = written[bank];
      end
      uncharged_stationary_writes = uncharged_stationary_writes + most - 1;
    end
  end

  // The chunk under way, and the sweep ------------------------------------------------------------------------------
  reg active = 0;
  reg [BITS-1:0] row = 0;
  integer sweep = 0, sweeps = 0;        // next sweep, and sweeps of the chunk
  integer part = 0, slice = 0, step = 0;
  reg sweeping = 0;
  integer begun = 0, computed = 0, drained = 0;
  integer wait_half [0:1];
  initial begin
    wait_half[0] = 0; wait_half[1] = 0;
    for (k = 0; k < 4; k = k + 1) filled[k] = 0;
    for (k = 0; k < 2 * COLUMNS * SV; k = k + 1) stream_banks[k] = 0;      // a simulator's unknown times zero is unknown
    for (k = 0; k < 2 * PES * TV; k = k + 1) stationary_banks[k] = 0;
  end
  assign finish = active && !sweeping && sweep == sweeps && completion_room;
  assign accept = (!active || finish) && command_some;
  wire [BITS-1:0] this_row = accept ? next_row : row;
  wire [FIELDS*32-1:0] chunk = chunks[this_row];
  wire [31:0] `CHUNK_FIELDS(chunk);
  wire first = `FIELD(chunk, 24), last = `FIELD(chunk, 25), operand_half = `FIELD(chunk, 26), psum_half = `FIELD(chunk, 27);
  wire clears = `FIELD(chunk, 28);
  wire [FIELDS*32-1:0] old_chunk = chunks[row];
  wire old_last = `FIELD(old_chunk, 25), old_half = `FIELD(old_chunk, 26), old_any = `FIELD(old_chunk, 17) != 0;
  wire has = active && !finish || accept;
  wire [31:0] n_pixels = samples * pixels;
  wire [31:0] groups = (n_pixels + COLUMNS - 1) / COLUMNS;
  wire [31:0] n_slices = (result_blocks + BLOCKS - 1) / BLOCKS;
  wire [31:0] column_slices = (stream_blocks + COLUMN_BLOCKS - 1) / COLUMN_BLOCKS;
  wire [31:0] n_steps = wg ? (n_pixels + LANES - 1) / LANES : n_taps;
  wire [31:0] n_parts = wg ? 1 : stream_blocks;
  wire [31:0] n_sweeps = n_taps == 0 ? 1 : n_parts * n_slices * n_steps;
  wire [31:0] this_sweep = accept ? 0 : sweep, this_part = accept ? 0 : part, this_slice = accept ? 0 : slice, this_step = accept ? 0 : step;
  // What the sweep reads last, as vectors in the order of arrival.
  wire [31:0] last_block = (this_slice + 1) * BLOCKS < result_blocks ? (this_slice + 1) * BLOCKS - 1 : result_blocks - 1;
  wire [31:0] last_pixel = (this_step + 1) * LANES < n_pixels ? (this_step + 1) * LANES : n_pixels;
  wire [31:0] stationary_needed = n_taps == 0 ? 0 : wg ? last_block * n_pixels + last_pixel
    : ((this_part * result_blocks + last_block) * n_taps + this_step + 1) * LANES;
  wire [31:0] plane = samples * rows * in_width;
  wire [31:0] stream_needed = n_taps == 0 ? 0 : (wg ? stream_blocks : this_part + 1) * plane;
  wire [31:0] stream_there = eject_some && !word_pad && word_half == operand_half ? word_first + word_vectors : filled[operand_half];
  wire [31:0] stationary_there = eject_some && word_pad && word_half == operand_half ? word_first + word_vectors : filled[2 + operand_half];
  wire drained_now = drain_send && drain_packet + 1 == `FIELD(drain, 1);
  wire room = !(this_sweep == 0 && first && begun - drained - drained_now >= 2);
  wire begins = has && !sweeping && this_sweep < n_sweeps && room && stream_there >= stream_needed && stationary_there >= stationary_needed;
  assign sweep_begins = begins, sweep_row = this_row, sweep_number = this_sweep;
  assign completion_pushed = finish, completion = row;

  // A group: the columns' pixels (FF, BP), or LANES pixels for each channel block (WG) -------------------------------
  integer group = 0, tap = 0, column_slice = 0;       // the group that is next
  integer gs = 0, gi = 0, gj = 0;                     // its first pixel: sample, row, column of the grid
  integer gf = 0;                                     // and its number among the pixels of the chunk
  reg [COLUMNS-1:0] served = 0;                       // columns whose operand has been read
  // In the cycle in which a sweep begins it works on its first group.
  integer cg, ct, cc, cs, ci, cj, cf;
  reg [COLUMNS-1:0] pending, serving;
  integer n, width, y, x, yq, xq, xr, ry, pe_entry;
  integer ps, pi, pj;
  reg [31:0] address [0:COLUMNS-1], place [0:COLUMNS-1];
  reg [COLUMNS-1:0] meets;
  reg [COLUMNS-1:0] bank_used;
  reg group_done, sweep_done;
  integer s_dy, s_dx, s_dyq, s_dxq, s_dxr;
  wire working = sweeping || begins;
  integer wanted;
  wire [31:0] tap_at = first_tap + (wg ? (begins ? 0 : tap) : this_step);
  wire [6*32-1:0] position = taps[tap_at];
  always @* begin
    cg = begins ? 0 : group; ct = begins ? 0 : tap; cc = begins ? 0 : column_slice;
    cs = gs; ci = gi; cj = gj; cf = gf;
    if (begins && !(wg && this_step != 0)) begin cs = 0; ci = first_i; cj = first_j; cf = 0; end
    s_dy = `FIELD(position, 0); s_dx = `FIELD(position, 1); s_dyq = `FIELD(position, 2); s_dxq = `FIELD(position, 3);
    s_dxr = `FIELD(position, 4);
    width = wg ? LANES : COLUMNS;
    ps = cs; pi = ci; pj = cj;
    meets = 0;
    for (n = 0; n < COLUMNS; n = n + 1) begin
      address[n] = 0; place[n] = 0;
    end
    for (n = 0; n < width; n = n + 1) begin
      y = pi * $signed(step_y) + s_dy;
      x = pj * $signed(step_x) + s_dx;
      if (cf + n < n_pixels && n_taps != 0 && y >= 0 && y < $signed(in_height) && x >= 0 && x < $signed(in_width)) begin
        meets[n] = 1;
        yq = class_y == 1 ? y : pi + s_dyq;
        xq = class_x == 1 ? x : pj + s_dxq;
        xr = class_x == 1 ? 0 : s_dxr;
        ry = row_step == 1 ? y - first_row : pi + s_dyq - first_class_row;
        place[n] = yq * turn_row + xq + ps * turn_sample;
        address[n] = (((wg ? cc : this_part) * samples + ps) * rows + ry) * class_x + xr;
        address[n] = address[n] * pitch + (wg ? xq / LANES : xq / COLUMNS);
        place[n] = wg ? place[n] % LANES : place[n] % COLUMNS;
      end
      pj = pj + 1;
      if (pj == cols) begin pj = 0; pi = pi + 1; end
      if (pi * $signed(cols) + pj == first_i * cols + first_j + pixels) begin pi = first_i; pj = first_j; ps = ps + 1; end
    end
    // Each bank serves one column a cycle.
    pending = meets & ~(begins ? {COLUMNS{1'b0}} : served);
    serving = 0; bank_used = 0;
    for (n = 0; n < width; n = n + 1) if (pending[n] && !bank_used[place[n]]) begin
      bank_used[place[n]] = 1;
      serving[n] = 1;
    end
    group_done = (pending & ~serving) == 0;
    sweep_done = group_done && (n_taps == 0 ? cg + 1 == n_slices * groups : wg ? cc + 1 == column_slices && ct + 1 == n_taps : cg + 1 == groups);
    pe_entry = n_taps == 0 ? cg : wg ? (this_slice * column_slices + cc) * n_taps + ct : this_slice * groups + cg;
  end
  always @(posedge clk) begin
    for (k = 0; k < 2; k = k + 1) if (wait_half[k] > 0) wait_half[k] <= wait_half[k] - 1;
    if (eject_some) filled[{word_pad, word_half}] <= word_first + word_vectors;
    if (finish) begin
      if (old_any) begin filled[old_half] <= 0; filled[2 + old_half] <= 0; end
      if (old_last) begin
        wait_half[computed % 2] <= PIPELINE - 1;
        computed <= computed + 1;
      end
    end
    if (finish || accept) active <= accept;
    if (accept) begin row <= next_row; sweep <= 0; part <= 0; slice <= 0; step <= 0; sweeps <= n_sweeps; end
    if (begins && this_sweep == 0 && first) begun <= begun + 1;
    if (working) begin
      served <= group_done ? {COLUMNS{1'b0}} : (begins ? {COLUMNS{1'b0}} : served) | serving;
      sweeping <= !sweep_done;
      group <= cg; tap <= ct; column_slice <= cc; gs <= cs; gi <= ci; gj <= cj; gf <= cf;
      if (group_done) begin
        if (wg && ct + 1 < n_taps) tap <= ct + 1;
        else begin
          tap <= 0;
          if (wg && cc + 1 < column_slices) column_slice <= cc + 1;
          else begin
            column_slice <= 0;
            group <= cg + 1;
            gs <= ps; gi <= pi; gj <= pj; gf <= cf + width;
          end
        end
      end
      if (sweep_done) begin
        sweep <= this_sweep + 1;
        step <= this_step + 1 < n_steps ? this_step + 1 : 0;
        if (this_step + 1 >= n_steps) begin
          slice <= this_slice + 1 < n_slices ? this_slice + 1 : 0;
          if (this_slice + 1 >= n_slices) part <= this_part + 1;
          if (wg) begin gs <= 0; gi <= first_i; gj <= first_j; gf <= 0; end
        end else begin step <= this_step + 1; slice <= this_slice; part <= this_part; end
        if (this_step + 1 >= n_steps && this_slice + 1 < n_slices) part <= this_part;
      end
    end
  end

  // Operand read: from the banks into the columns' registers, one read a bank -----------------------------------------
  reg [COLUMNS-1:0] r_serving, r_meets;
  reg [31:0] r_address [0:COLUMNS-1], r_place [0:COLUMNS-1];
  reg r_go = 0, r_wg, r_transposes, r_half, r_psum_half, r_clear;
  reg [31:0] r_entry, r_stationary;
  reg x_go = 0, x_wg, x_clear, x_psum_half;
  reg [31:0] x_entry;
  reg [8*LANES-1:0] columns [0:COLUMNS-1];   // by column, in WG by [block][pixel]
  reg [8*LANES-1:0] held [0:PES-1];          // by row of the block
  reg x_transposes;
  always @(posedge clk) begin
    r_go <= working && group_done;
    r_serving <= working ? serving : 0;
    r_meets <= meets;
    for (k = 0; k < COLUMNS; k = k + 1) begin r_address[k] <= address[k]; r_place[k] <= place[k]; end
    r_wg <= wg; r_transposes <= transposes; r_half <= operand_half; r_psum_half <= psum_half; r_entry <= pe_entry;
    r_clear <= clears && (n_taps == 0 || this_part == 0 && this_step == 0);
    r_stationary <= wg ? this_slice * n_steps + this_step : (this_part * n_slices + this_slice) * n_taps + this_step;
    // A cycle later.
    x_go <= r_go; x_wg <= r_wg; x_transposes <= r_transposes; x_clear <= r_clear; x_psum_half <= r_psum_half; x_entry <= r_entry;
    for (k = 0; k < COLUMNS; k = k + 1)
      if (r_wg) begin
        if (r_serving[k % LANES])
          columns[k] <= stream_banks[(r_half * COLUMNS + k / LANES * LANES + r_place[k % LANES]) * SV + r_address[k % LANES]];
        else if (!r_meets[k % LANES]) columns[k] <= 0;
      end else if (r_serving[k]) columns[k] <= stream_banks[(r_half * COLUMNS + r_place[k]) * SV + r_address[k]];
      else if (!r_meets[k]) columns[k] <= 0;
    for (k = 0; k < PES; k = k + 1) held[k] <= stationary_banks[(r_half * PES + k) * TV + r_stationary];
  end

  // The PEs -----------------------------------------------------------------------------------------------------------
  reg [8*LANES*COLUMNS-1:0] stream;
  reg [8*LANES-1:0] stationary [0:PES-1];
  integer c, l, e;
  always @* begin
    for (c = 0; c < COLUMNS; c = c + 1)
      for (l = 0; l < LANES; l = l + 1)
        stream[8*(LANES*c+l) +: 8] = x_wg ? columns[c / LANES * LANES + l][8*(c % LANES) +: 8] : columns[c][8*l +: 8];
    for (e = 0; e < PES; e = e + 1)
      for (l = 0; l < LANES; l = l + 1)
        stationary[e][8*l +: 8] = x_transposes ? held[e][8*l +: 8] : held[e / LANES * LANES + l][8*(e % LANES) +: 8];
  end
  localparam A = $clog2(DEPTH) + 1, READS = WORD / SEGMENT;
  reg [READS*A-1:0] read_at;
  wire [READS*COLUMNS*ACC-1:0] sums [0:PES-1];
  genvar p;
  generate
    for (p = 0; p < PES; p = p + 1) begin : pes
      pe #(LANES, COLUMNS, ACC, DEPTH, SEGMENTED, 1, READS) element (clk, x_go, x_clear, x_psum_half, x_entry[A-2:0], stationary[p], stream,
        read_at, sums[p], 2'd0, {6*COLUMNS{1'b0}});
    end
  endgenerate

  // Drain -------------------------------------------------------------------------------------------------------------
  reg draining = 0;
  reg [BITS-1:0] drain_row = 0;
  integer drain_packet = 0;
  wire [16*32-1:0] drain = drains[drain_row];
  wire [31:0] d_wg = `FIELD(drain, 0), d_packets = `FIELD(drain, 1), d_segments = `FIELD(drain, 2), d_per_packet = `FIELD(drain, 3);
  wire [31:0] d_pixels = `FIELD(drain, 4), d_taps = `FIELD(drain, 5), d_streams = `FIELD(drain, 6), d_half = `FIELD(drain, 7);
  wire signed [31:0] d_shift = `FIELD(drain, 8);
  wire [31:0] d_limit = `FIELD(drain, 9);
  always @* begin
    drain_accept = !draining && drain_some;
    drain_send = draining && computed > drained && wait_half[drained % 2] == 0 && inject_room;
  end
  // clip(v / 2^s to nearest even, limit), of docs/models/arithmetic.md.
  function signed [15:0] rounded(input signed [ACC-1:0] v, input signed [31:0] s, input [31:0] limit);
    reg signed [63:0] wide, half;
    begin
      wide = v;
      if (s > 62) wide = 0;
      else if (s > 0) begin
        half = (64'sd1 <<< (s - 1)) - 1 + ((wide >>> s) & 1);
        wide = (wide + half) >>> s;
      end else if (s < 0) wide = (wide > 0 ? wide : -wide) > $signed({32'd0, limit}) >>> -s ? (wide > 0 ? 64'sd1 <<< 40 : -(64'sd1 <<< 40)) : wide <<< -s;
      if (wide > $signed({32'd0, limit})) wide = limit;
      if (wide < -$signed({32'd0, limit})) wide = -$signed({32'd0, limit});
      rounded = wide[15:0];
    end
  endfunction
  // A packet's segments, each a row of lanes: through a port of the psum memories of its own, because they can lie in different entries.
  integer q, m, segment, block, place_in, pixel, entry, d_groups, d_column_slices, extra, other;
  integer segment_pe [0:READS-1], segment_column [0:READS-1], segment_entry [0:READS-1];
  reg [8*WORD-1:0] packet;
  always @* begin
    d_groups = (d_pixels + COLUMNS - 1) / COLUMNS;
    d_column_slices = (d_streams + COLUMN_BLOCKS - 1) / COLUMN_BLOCKS;
    extra = 0; read_at = 0;
    for (q = 0; q < READS; q = q + 1) begin
      segment = drain_packet * d_per_packet + q;
      place_in = segment % (d_wg ? d_streams * d_taps * LANES : d_pixels);
      block = segment / (d_wg ? d_streams * d_taps * LANES : d_pixels);
      pixel = place_in / LANES / d_taps;  // WG: the streamed block
      segment_pe[q] = block % BLOCKS * LANES + (d_wg ? place_in % LANES : 0);
      segment_column[q] = d_wg ? pixel % COLUMN_BLOCKS * LANES : place_in % COLUMNS;
      segment_entry[q] = d_wg ? (block / BLOCKS * d_column_slices + pixel / COLUMN_BLOCKS) * d_taps + place_in / LANES % d_taps
        : block / BLOCKS * d_groups + place_in / COLUMNS;
      read_at[A*q +: A] = {d_half[0], segment_entry[q][A-2:0]};
      if (q < d_per_packet && segment < d_segments) begin
        other = 0;
        for (m = 0; m < q; m = m + 1)
          if (segment_column[m] == segment_column[q] && segment_pe[m] / LANES == segment_pe[q] / LANES && segment_entry[m] != segment_entry[q])
            other = other + 1;
        extra = other > extra ? other : extra;
      end
    end
  end
  always @* for (m = 0; m < LANES * READS; m = m + 1)
    if (m / LANES < d_per_packet && drain_packet * d_per_packet + m / LANES < d_segments)
      packet[16*m +: 16] = rounded(d_wg
        ? sums[segment_pe[m / LANES]][ACC*(COLUMNS*(m / LANES) + segment_column[m / LANES] + m % LANES) +: ACC]
        : sums[segment_pe[m / LANES] + m % LANES][ACC*(COLUMNS*(m / LANES) + segment_column[m / LANES]) +: ACC], d_shift, d_limit);
    else packet[16*m +: 16] = 0;
  always @(posedge clk) begin
    if (drain_accept) begin draining <= 1; drain_row <= next_drain; drain_packet <= 0; end
    if (drain_send) begin
      uncharged_drain_reads = uncharged_drain_reads + extra;
      drain_packet <= drain_packet + 1;
      if (drained_now) begin draining <= 0; drained <= drained + 1; end
    end
  end
  assign inject_data = packet;
  assign inject_pushed = drain_send, inject_packet = drain_packet;
endmodule
