// The unified core (docs/models/unified_core.md): a queue of passes, four operand streams, three result streams, a pipeline of PIPELINE stages.
// Elements go through the lanes with the groups; what they become is docs/models/arithmetic.md.
module unified #(
  parameter WORD = 16, LANES = 2, PIPELINE = 4, FIFO = 12, QUEUE = 2, MESSAGES = 4, ANSWERS = 32, REQUESTS = 4, BATCH = 2,
  ROWS = 4096, FIELDS = 104, BYTES = 1 << 20, RESULT_BYTES = 1 << 16, PLANES = 8192
) (
  input clk,
  input command_push, input [31:0] command_in, output command_popped,
  input [6:0] request_pop, output [6:0] asked, output [7*32-1:0] word,
  input [6:0] answer_push, output [6:0] answer_popped,
  input completion_pop, output completed, output begins, output [31:0] row_begun, output [31:0] group_begun
);
  `include "arithmetic.vh"
  reg [FIELDS*32-1:0] passes [0:ROWS-1];
  reg [7:0] operands [0:BYTES-1];                    // what the words of each pass's operands hold
  reg [15:0] reciprocals [0:255];
  reg signed [63:0] drained_sums [0:PLANES*LANES-1];
  integer early_operands = 0, early_results = 0;     // that the model's proportions do not charge
  `define F(n) $signed(pass[32*(n) +: 32])

  // Channels --------------------------------------------------------------------------------------------------------
  wire some, completion_room;
  wire [31:0] next_row;
  wire [6:0] room, answered;
  reg accept, finish;
  reg [6:0] push;
  genvar s;
  fifo #(32, QUEUE) commands (clk, command_push, command_in, accept, , some, next_row);
  fifo #(1, MESSAGES) completions (clk, finish, 1'b0, completion_pop, completion_room, , );
  generate
    for (s = 0; s < 7; s = s + 1) begin : streams
      fifo #(1, REQUESTS) requests (clk, push[s], 1'b0, request_pop[s], room[s], , );
      fifo #(1, ANSWERS) answers (clk, answer_push[s], 1'b0, answered[s], , answered[s], );
    end
  endgenerate
  assign command_popped = accept, answer_popped = answered, asked = push, completed = finish;

  // Groups ----------------------------------------------------------------------------------------------------------
  reg active = 0;
  reg [31:0] row = 0;
  wire [FIELDS*32-1:0] pass = passes[row];
  reg signed [63:0] begun = 0, done = 0;
  reg signed [63:0] count_asked [0:6], count_answered [0:6];
  reg [PIPELINE-1:0] stages = 0;                     // which of the last cycles began a group
  wire signed [63:0] groups = `F(0);
  wire [31:0] n_reads = `F(1), n_writes = `F(2);
  function automatic signed [63:0] needed(input signed [63:0] words, input signed [63:0] group, input signed [63:0] of);
    needed = (group * words + of - 1) / of;
  endfunction
  reg retires, starts;
  reg signed [63:0] now_done, now_begun, now_asked [0:6], now_answered [0:6], ready, space;
  integer k;
  reg used;
  always @* begin
    accept = !active && some;
    push = 0; retires = 0; starts = 0; finish = 0;
    now_done = done; now_begun = begun;
    for (k = 0; k < 7; k = k + 1) begin
      now_asked[k] = count_asked[k];
      now_answered[k] = count_answered[k] + answered[k];
    end
    if (active) begin
      for (k = 4; k < 7; k = k + 1) if (k - 4 < n_writes) begin
        ready = done == groups ? `F(3 + k) : done * `F(3 + k) / groups;
        if (count_asked[k] < ready && room[k]) begin push[k] = 1; now_asked[k] = count_asked[k] + 1; end
      end
      retires = stages[PIPELINE-1];
      now_done = done + retires;
      starts = begun < groups && begun - now_done < PIPELINE + 1;
      for (k = 0; k < 4; k = k + 1) if (k < n_reads && now_answered[k] < needed(`F(3 + k), begun + 1, groups)) starts = 0;
      for (k = 4; k < 7; k = k + 1) if (k - 4 < n_writes && needed(`F(3 + k), begun + 1, groups) - now_asked[k] > FIFO
        && needed(`F(3 + k), begun, groups) > now_asked[k]) starts = 0;
      now_begun = begun + starts;
      for (k = 0; k < 4; k = k + 1) if (k < n_reads) begin
        space = needed(`F(3 + k), now_begun, groups) + FIFO;
        if (needed(`F(3 + k), now_begun + 1, groups) > space) space = needed(`F(3 + k), now_begun + 1, groups);
        if (`F(3 + k) < space) space = `F(3 + k);
        if (count_asked[k] < space && room[k]) begin push[k] = 1; now_asked[k] = count_asked[k] + 1; end
      end
      finish = now_done == groups && completion_room;
      for (k = 4; k < 7; k = k + 1) if (k - 4 < n_writes && now_answered[k] < `F(3 + k)) finish = 0;
    end
  end
  assign begins = starts, row_begun = row, group_begun = now_begun;
  generate
    for (s = 0; s < 7; s = s + 1) begin : ports
      assign word[32*s +: 32] = `F(10 + s) + count_asked[s];
    end
  endgenerate
  // A result's words, as the lanes have filled them.
  reg [7:0] results [0:3*RESULT_BYTES-1];

  // Lanes: the elements of a group, when it begins ------------------------------------------------------------------
  reg signed [63:0] sums [0:PLANES*LANES-1], deviations [0:PLANES*LANES-1], error_sums [0:3*PLANES*LANES-1], statistics [0:2*PLANES*LANES-1];
  reg signed [63:0] parameters [0:2*PLANES*LANES-1], gradients [0:2*PLANES*LANES-1];
  reg signed [63:0] mean [0:LANES-1], spread [0:LANES-1], m [0:LANES-1], sh [0:LANES-1], average [0:LANES-1], slope [0:LANES-1], tilt [0:LANES-1];
  // Lanes of a channel block that exist.
  reg [31:0] valid [0:PLANES-1];
  reg signed [63:0] existing;
  reg signed [63:0] e, plane, at, pixels, total, v, d, x, y, xn, count, count2, value, weight, unit_, best, first_lane, end_lane, greatest_;
  reg signed [63:0] iy, ix, oy, ox, rr, tt, where, position, ox_width;
  integer i, lane, l, sample, block, block_row, plane_row, n, g;
  // Element `at` of the plane's run of operand i; byte and bit of the pass's operands.
  function automatic signed [63:0] element(input integer i, input signed [63:0] run, input signed [63:0] at, input signed [63:0] lane_at);
    reg [31:0] bits, form;
    reg signed [63:0] byte_at, raw;
    begin
      bits = `F(24 + i);
      form = `F(28 + i);           // 0 unsigned, 1 signed, 2 code
      byte_at = `F(20 + i) + run * ((`F(32 + i) * bits + 7) / 8) + (bits < 8 ? at * bits / 8 : at * (bits / 8));
      if (bits < 8) raw = (operands[byte_at] >> (at * bits % 8)) & ((1 << bits) - 1);
      else if (bits == 8) raw = operands[byte_at];
      else if (bits == 16) raw = {operands[byte_at + 1], operands[byte_at]};
      else raw = {operands[byte_at + 3], operands[byte_at + 2], operands[byte_at + 1], operands[byte_at]};
      if (form == 1 && raw[bits-1]) raw = raw - (64'sd1 <<< bits);
      if (form == 2) begin
        value_m = `F(36 + i);
        raw = ((raw & ((64'sd1 <<< value_m) - 1)) <<< (value_m * ((raw & ((64'sd1 <<< (bits - 1)) - 1)) >>> value_m))) * (raw[bits-1] ? -64'sd1 : 64'sd1);
      end
      // Words that have not come yet.
      if ((byte_at - `F(20 + i)) / WORD >= now_answered[i]) early_operands = early_operands + 1;
      element = `F(40 + i) && lane_at >= existing ? 64'sd0 : raw;
    end
  endfunction
  integer value_m;
  // Integers of a result: stored in `bits`, or as codes.
  task put(input integer i, input signed [63:0] run, input signed [63:0] at, input signed [63:0] v, input signed [63:0] s, input integer raw);
    reg [31:0] bits, segments;
    reg signed [63:0] byte_at, out;
    begin
      bits = `F(44 + i);
      segments = `F(47 + i);
      out = raw ? v : segments != 0 ? encode(v, s, `F(50 + i), segments, bits) : stored(v, s, (64'sd1 <<< (bits - 1)) - 1);
      byte_at = i * RESULT_BYTES + run * ((`F(55 + i) * bits + 7) / 8) + (bits < 8 ? at * bits / 8 : at * (bits / 8));
      if (bits < 8) results[byte_at] = at * bits % 8 == 0 ? out & ((1 << bits) - 1) : results[byte_at] | ((out & ((1 << bits) - 1)) << (at * bits % 8));
      else for (n = 0; n < bits / 8; n = n + 1) results[byte_at + n] = out >>> (8 * n);
      if (byte_at % RESULT_BYTES / WORD < count_asked[4 + i] && !raw_late) early_results = early_results + 1;
      last_put = out;
    end
  endtask
  reg signed [63:0] last_put;
  reg raw_late = 0;
  task load_reciprocals;
    for (l = 0; l < LANES; l = l + 1) begin
      m[l] = 0; sh[l] = 0;
      if (l < existing) begin
        if (`F(59)) begin
          sh[l] = bit_length(spread[l]) - 1;
          m[l] = reciprocals[((spread[l] <<< 8) >>> sh[l]) - 256];
          sh[l] = 16 + sh[l];
        end else begin
          x = 5134 * spread[l];
          y = bit_length(x) - 1;
          m[l] = 1 << 15;
          sh[l] = 15 + y - 12 + (x * x >= (64'sd1 <<< (2 * y + 1)));
        end
      end
    end
  endtask
  // Means over the lanes of a group of channels.
  task begin_plane;
    begin
      for (l = 0; l < LANES; l = l + 1) begin
        mean[l] = 0; spread[l] = 0; average[l] = 0; slope[l] = 0; tilt[l] = 0;
      end
      if (`F(60) == 5 || `F(60) == 6) begin
        for (l = 0; l < existing; l = l + 1) begin
          first_lane = l - l % `F(58);
          end_lane = first_lane + `F(58) < existing ? first_lane + `F(58) : existing;
          total = 0; count = 0;
          for (n = first_lane; n < end_lane; n = n + 1) begin
            total = total + (`F(61) ? drained_sums[`F(62) * LANES + plane * LANES + n] : sums[plane_row * LANES + n]);
            count = count + deviations[plane_row * LANES + n];
          end
          mean[l] = clip(div(total, (end_lane - first_lane) * pixels), 32767);
          spread[l] = clip(div(count, (end_lane - first_lane) * pixels), 32767);
          if (spread[l] < 1) spread[l] = 1;
        end
        load_reciprocals;
      end
      if (`F(60) == 9 || `F(60) == 10) begin
        for (l = 0; l < existing; l = l + 1) begin
          mean[l] = statistics[(2 * plane_row) * LANES + l];
          spread[l] = statistics[(2 * plane_row + 1) * LANES + l];
        end
        load_reciprocals;
      end
      if (`F(60) == 10) begin
        greatest_ = 0;
        for (l = 0; l < existing; l = l + 1) begin
          first_lane = l - l % `F(58);
          end_lane = first_lane + `F(58) < existing ? first_lane + `F(58) : existing;
          total = 0; count = 0; count2 = 0;
          for (n = first_lane; n < end_lane; n = n + 1) begin
            total = total + error_sums[(3 * plane_row) * LANES + n];
            count = count + error_sums[(3 * plane_row + 1) * LANES + n];
            count2 = count2 + error_sums[(3 * plane_row + 2) * LANES + n];
          end
          average[l] = div(total, (end_lane - first_lane) * pixels);
          slope[l] = div(round_shift(count, 12), (end_lane - first_lane) * pixels);
          tilt[l] = div(count2 * 4096, (end_lane - first_lane) * pixels);
          if (sh[l] > greatest_) greatest_ = sh[l];
        end
        for (l = 0; l < existing; l = l + 1) begin m[l] = m[l] <<< (greatest_ - sh[l]); sh[l] = greatest_; end
      end
    end
  endtask
  // Operands as D: contributions limited, partial sums as they are, zero where the mask is.
  task sum_contributions;
    begin
      d = 0;
      for (i = 0; i < 4; i = i + 1) if (i < n_reads) begin
        if (`F(64 + i) == 1) d = d + stored(element(i, plane, at, lane), `F(68 + i), `F(63));
        if (`F(64 + i) == 2) d = d + element(i, plane, at, lane);
      end
      for (i = 0; i < 4; i = i + 1) if (i < n_reads && `F(64 + i) == 3) d = d * element(i, plane, at, lane);
    end
  endtask
  task write_gradients;
    if (`F(72) >= 0 && sample == `F(19) - 1 && at == `F(17) - 1) begin
      raw_late = 1;
      for (l = 0; l < LANES; l = l + 1) begin
        put(`F(72), block, l, gradients[(2 * block_row) * LANES + l], `F(73), 0);
        put(`F(72), block, LANES + l, gradients[(2 * block_row + 1) * LANES + l], `F(74), 0);
        gradients[(2 * block_row) * LANES + l] = 0;
        gradients[(2 * block_row + 1) * LANES + l] = 0;
      end
      raw_late = 0;
    end
  endtask
  // Results that leave at the activation: mask, code.
  task finish_output(input integer out);
    begin
      if (`F(75)) begin
        if (`F(76) >= 0) put(`F(76), plane, at, v > 0, 0, 1);
        v = v > 0 ? v : 0;
      end
      put(out, plane, at, v, `F(77), 0);
    end
  endtask
  task windows;
    begin
      // F(80..): in height, in width, out height, out width, kernel h, w, stride h, w, pad h, w; 90: factor
      pixels = `F(60) == 13 || `F(60) == 15 ? `F(81) : `F(83);      // width of the result
      where = (`F(78) + at) / LANES;
      oy = where / pixels; ox = where % pixels;
      v = `F(60) == 12 ? -(64'sd1 <<< 62) : 64'sd0;
      position = 0;
      for (rr = 0; rr < `F(84); rr = rr + 1) for (tt = 0; tt < `F(85); tt = tt + 1) begin
        if (`F(60) == 12 || `F(60) == 14) begin
          iy = oy * `F(86) - `F(88) + rr; ix = ox * `F(87) - `F(89) + tt;
          if (iy >= 0 && iy < `F(80) && ix >= 0 && ix < `F(81)) begin
            x = element(0, plane, (iy * `F(81) + ix) * LANES + lane - `F(79), lane);
            if (`F(60) == 14) v = v + `F(90) * x;
            else if (x > v) begin v = x; position = rr * `F(85) + tt; end
          end
        end else begin
          iy = oy + `F(88) - rr; ix = ox + `F(89) - tt;
          if (iy >= 0 && ix >= 0 && iy % `F(86) == 0 && ix % `F(87) == 0 && iy / `F(86) < `F(82) && ix / `F(87) < `F(83)) begin
            y = ((iy / `F(86)) * `F(83) + ix / `F(87)) * LANES + lane;
            if (`F(60) == 15) v = v + `F(90) * element(0, plane, y - `F(79), lane);
            else if (element(1, plane, y - `F(91), lane) == rr * `F(85) + tt) v = v + element(0, plane, y - `F(79), lane);
          end
        end
      end
      if (`F(60) == 12 || `F(60) == 14) put(0, plane, at, v, `F(77), 0);
      else put(0, plane, at, stored(v, `F(68), `F(63)), 0, 1);
      if (`F(60) == 12 && `F(76) >= 0) put(`F(76), plane, at, lane < existing ? position : 64'sd0, 0, 1);
    end
  endtask
  task process;
    begin
      plane = e / `F(17);
      at = e % `F(17);
      block = plane / `F(19); sample = plane % `F(19);
      block_row = `F(92) + block;
      plane_row = block_row * BATCH + `F(93) + sample;
      lane = (`F(60) >= 12 ? at : `F(18) + at) % LANES;
      pixels = `F(94);
      existing = valid[block_row];
      if (at == 0 && `F(60) < 12) begin_plane;
      case (`F(60))
        1: statistics[(2 * plane_row + at / LANES) * LANES + at % LANES] = element(0, plane, at, lane);
        2: parameters[(2 * block_row + at / LANES) * LANES + at % LANES] = element(0, block, at, lane);
        3: begin
          v = 0;
          for (i = 0; i < 4; i = i + 1) if (i < n_reads) v = v + round_shift(element(i, plane, at, lane), `F(68 + i));
          if (`F(73)) v = v + round_shift(parameters[(2 * block_row + 1) * LANES + lane], `F(74));
          finish_output(`F(95));
        end
        4: sums[plane_row * LANES + lane] = sums[plane_row * LANES + lane] + element(0, plane, at, lane);
        5: deviations[plane_row * LANES + lane] = deviations[plane_row * LANES + lane] + magnitude(element(0, plane, at, lane) - mean[lane]);
        6: begin
          xn = clip(round_shift((element(0, plane, at, lane) - mean[lane]) * m[lane], sh[lane] - 12), (64'sd1 <<< 23) - 1);
          v = parameters[(2 * block_row) * LANES + lane] * xn + (parameters[(2 * block_row + 1) * LANES + lane] <<< 12);
          finish_output(`F(95));
          if (`F(72) >= 0 && at == `F(17) - 1) begin
            raw_late = 1;
            for (l = 0; l < LANES; l = l + 1) begin
              put(`F(72), plane, l, mean[l], 0, 1);
              put(`F(72), plane, LANES + l, spread[l], 0, 1);
            end
            raw_late = 0;
          end
        end
        7: begin sum_contributions; put(`F(95), plane, at, d, 0, 1); end
        8: begin
          sum_contributions;
          gradients[(2 * block_row + 1) * LANES + lane] = gradients[(2 * block_row + 1) * LANES + lane] + d;
          put(`F(95), plane, at, d, `F(77), 0);
          write_gradients;
        end
        9, 10: begin
          sum_contributions;
          for (i = 0; i < 4; i = i + 1) if (i < n_reads && `F(64 + i) == 4) x = element(i, plane, at, lane);
          y = round_shift(parameters[(2 * block_row) * LANES + lane] * d, 12);
          if (`F(60) == 9) begin
            xn = clip(round_shift((x - mean[lane]) * m[lane], sh[lane] - 12), (64'sd1 <<< 23) - 1);
            gradients[(2 * block_row) * LANES + lane] = gradients[(2 * block_row) * LANES + lane] + d * xn;
            gradients[(2 * block_row + 1) * LANES + lane] = gradients[(2 * block_row + 1) * LANES + lane] + d;
            error_sums[(3 * plane_row) * LANES + lane] = error_sums[(3 * plane_row) * LANES + lane] + y;
            error_sums[(3 * plane_row + 1) * LANES + lane] = error_sums[(3 * plane_row + 1) * LANES + lane] + y * xn;
            error_sums[(3 * plane_row + 2) * LANES + lane] = error_sums[(3 * plane_row + 2) * LANES + lane] + side(x - mean[lane]);
            write_gradients;
          end else begin
            v = (y - average[lane] - round_shift(5134 * (side(x - mean[lane]) * 4096 - tilt[lane]) * slope[lane], 24)) * m[lane];
            put(`F(95), plane, at, v, `F(77) + sh[0], 0);
          end
        end
        11: begin
          // momentum, gradient, decay: operands F(80..82), factors F(83..85), shifts F(86..88); rate F(89), shifts F(90), F(91)
          v = round_shift(`F(83) * element(`F(80), block, at, lane), `F(86)) + round_shift(element(`F(81), block, at, lane), `F(87));
          if (`F(85)) v = v + round_shift(`F(85) * element(`F(82), block, at, lane), `F(88));
          put(`F(95), block, at, v, `F(77), 0);
          v = round_shift(element(`F(82), block, at, lane), `F(90)) + round_shift(-`F(89) * last_put, `F(91));
          put(`F(76), block, at, v, `F(73), 0);
          if (`F(72) >= 0) put(`F(72), block, at, last_put, `F(74), 0);
        end
        12, 13, 14, 15: windows;
      endcase
    end
  endtask
  initial for (n = 0; n < PLANES * LANES; n = n + 1) begin
    sums[n] = 0; deviations[n] = 0;
    error_sums[n] = 0; error_sums[PLANES * LANES + n] = 0; error_sums[2 * PLANES * LANES + n] = 0;
    statistics[n] = 0; statistics[PLANES * LANES + n] = 0; parameters[n] = 0; parameters[PLANES * LANES + n] = 0;
    gradients[n] = 0; gradients[PLANES * LANES + n] = 0;
  end
  reg signed [63:0] elements;
  reg [FIELDS*32-1:0] entering;
  always @(posedge clk) begin
    if (starts) begin
      elements = `F(17) * `F(96);
      if (`F(60) != 0)
        for (e = begun * elements / groups; e < (begun + 1) * elements / groups; e = e + 1) process;
    end
    stages <= {stages, starts};
    begun <= now_begun; done <= now_done;
    for (k = 0; k < 7; k = k + 1) begin count_asked[k] <= now_asked[k]; count_answered[k] <= now_answered[k]; end
    if (accept) begin
      active <= 1; row <= next_row; begun <= 0; done <= 0;
      for (k = 0; k < 7; k = k + 1) begin count_asked[k] <= 0; count_answered[k] <= 0; end
      entering = passes[next_row];
      for (i = 0; i < 3; i = i + 1) for (k = 0; k < entering[32*(7+i) +: 32] * WORD; k = k + 1) results[i * RESULT_BYTES + k] = 0;
    end
    if (finish) active <= 0;
  end
endmodule
