// A processing element (docs/models/array.md): one stationary vector of LANES codes meets COLUMNS streamed vectors a cycle.
// Multiply, a register a level of the adder tree, accumulate: a group taken in cycle t is in the psum memory from t + 2 + log2(LANES) on.
// A code (docs/models/arithmetic.md) is sign, segment, magnitude; SEGMENTED 0: sign and magnitude alone; FLOAT: E4M3, or E5M2 where `wide`
// says so (of the stationary operand, of the streamed one), summed exactly. SCALED: a column's sum is shifted by what its scales come to.
module pe #(parameter LANES = 8, COLUMNS = 8, ACC = 48, DEPTH = 64, SEGMENTED = 1, PACKED = 1, READS = 1, FLOAT = 0, SCALED = 0) (
  input clk, input valid, input clear, input half, input [$clog2(DEPTH)-1:0] entry,
  input [8*LANES-1:0] stationary, input [8*LANES*COLUMNS-1:0] stream,
  input [READS*($clog2(DEPTH)+1)-1:0] read_at, output [READS*COLUMNS*ACC-1:0] read_sums,  // READS entries of all columns at once
  input [1:0] wide, input [6*COLUMNS-1:0] shifts
);
  localparam LEVELS = $clog2(LANES), A = $clog2(DEPTH) + 1;
  localparam BITS = FLOAT ? 52 : SEGMENTED ? 25 : 15;  // of a product
  localparam SUM = BITS + LEVELS;
  genvar c, l, v, h;
  // What goes along with the products.
  reg [A+1:0] along [0:LEVELS];
  integer k;
  always @(posedge clk) begin
    along[0] <= {valid, clear, half, entry};
    for (k = 1; k <= LEVELS; k = k + 1) along[k] <= along[k-1];
  end
  wire now_valid = along[LEVELS][A+1], now_clear = along[LEVELS][A];
  wire [A-1:0] now_at = along[LEVELS][A-1:0];
  // Two columns share the stationary operand of a lane, and a multiplier where PACKED.
  wire [COLUMNS*LANES*BITS-1:0] products;
  generate
    for (c = 0; c < COLUMNS; c = c + 1 + PACKED) begin : pair
      for (l = 0; l < LANES; l = l + 1) begin : lane
        if (FLOAT) begin : floats
          float_pair #(BITS) p (clk, wide, stationary[8*l +: 8], stream[8*(LANES*c+l) +: 8], stream[8*(LANES*(c+1)+l) +: 8],
            products[BITS*(LANES*c+l) +: BITS], products[BITS*(LANES*(c+1)+l) +: BITS]);
        end else if (PACKED) begin : both
          product_pair #(SEGMENTED, BITS) p (clk, stationary[8*l +: 8], stream[8*(LANES*c+l) +: 8], stream[8*(LANES*(c+1)+l) +: 8],
            products[BITS*(LANES*c+l) +: BITS], products[BITS*(LANES*(c+1)+l) +: BITS]);
        end else begin : one
          product_pair #(SEGMENTED, BITS) p (clk, stationary[8*l +: 8], stream[8*(LANES*c+l) +: 8], 8'd0,
            products[BITS*(LANES*c+l) +: BITS], );
        end
      end
    end
    for (c = 0; c < COLUMNS; c = c + 1) begin : column
      reg signed [SUM-1:0] tree [1:2*LANES-1];
      for (l = 0; l < LANES; l = l + 1) begin : leaf
        always @* tree[LANES+l] = $signed(products[BITS*(LANES*c+l) +: BITS]);
      end
      for (v = 1; v < LANES; v = v + 1) begin : node
        always @(posedge clk) tree[v] <= tree[2*v] + tree[2*v+1];
      end
      // Sums are added up in one half while the other drains, so each half has one reader: the adder, or the drain's first port.
      wire [ACC-1:0] found [0:1];
      wire signed [ACC-1:0] kept = now_clear ? {ACC{1'b0}} : found[now_at[A-1]];
      wire signed [ACC-1:0] unscaled = tree[1];
      wire signed [ACC-1:0] sum = kept + (SCALED ? unscaled <<< shifts[6*c +: 6] : unscaled);
      for (h = 0; h < 2; h = h + 1) begin : halves
        (* ram_style = "distributed" *) reg [ACC-1:0] psums [0:DEPTH-1];
        wire adds = now_valid && now_at[A-1] == h;
        wire [A-2:0] at = adds ? now_at[A-2:0] : read_at[A-2:0];
        assign found[h] = psums[at];
        always @(posedge clk) if (adds) psums[now_at[A-2:0]] <= sum;
        wire [READS*ACC-1:0] further;
        for (v = 1; v < READS; v = v + 1) begin : port
          assign further[ACC*v +: ACC] = psums[read_at[A*v +: A-1]];
        end
      end
      assign read_sums[ACC*c +: ACC] = found[read_at[A-1]];
      for (v = 1; v < READS; v = v + 1) begin : port
        assign read_sums[ACC*(COLUMNS*v+c) +: ACC] = read_at[A*v+A-1] ? halves[1].further[ACC*v +: ACC] : halves[0].further[ACC*v +: ACC];
      end
    end
  endgenerate
endmodule

// Products of two codes with a third. Magnitudes of up to 7 bits: both in one multiplier, 17 bits apart.
module product_pair #(parameter SEGMENTED = 1, BITS = 25) (
  input clk, input [7:0] w, input [7:0] x, input [7:0] y, output [BITS-1:0] wx, output [BITS-1:0] wy
);
  localparam M = SEGMENTED ? 6 : 7;
  reg [30:0] both;
  reg wx_sign, wy_sign;
  reg [1:0] wx_shift, wy_shift;
  always @(posedge clk) begin
    both <= {y[M-1:0], {(17-M){1'b0}}, x[M-1:0]} * w[M-1:0];
    {wx_sign, wy_sign} <= {w[7] ^ x[7], w[7] ^ y[7]};
    wx_shift <= SEGMENTED ? w[6] + x[6] : 2'd0;
    wy_shift <= SEGMENTED ? w[6] + y[6] : 2'd0;
  end
  function signed [BITS-1:0] placed(input [13:0] m, input [1:0] shift, input sign);
    reg [BITS-1:0] wide;
    begin
      wide = m;
      wide = shift == 0 ? wide : shift == 1 ? wide << M : wide << 2 * M;
      placed = sign ? -wide : wide;
    end
  endfunction
  assign wx = placed(both[13:0], wx_shift, wx_sign);
  assign wy = placed(both[30:17], wy_shift, wy_sign);
endmodule

// Products of a floating-point code with two others, as integers of the least magnitudes: a significand is placed by its exponent.
module float_pair #(parameter BITS = 52) (
  input clk, input [1:0] wide, input [7:0] w, input [7:0] x, input [7:0] y, output [BITS-1:0] wx, output [BITS-1:0] wy
);
  function [3:0] significand(input is_wide, input [7:0] code);
    significand = is_wide ? {1'b0, code[6:2] != 0, code[1:0]} : {code[6:3] != 0, code[2:0]};
  endfunction
  function [4:0] place(input is_wide, input [7:0] code);
    place = is_wide ? (code[6:2] == 0 ? 5'd0 : code[6:2] - 5'd1) : (code[6:3] == 0 ? 5'd0 : {1'b0, code[6:3]} - 5'd1);
  endfunction
  wire [3:0] sx = significand(wide[1], x), sy = significand(wide[1], y), sw = significand(wide[0], w);
  reg [24:0] both;
  reg wx_sign, wy_sign;
  reg [5:0] wx_place, wy_place;
  always @(posedge clk) begin
    both <= {sy, 13'd0, sx} * sw;
    {wx_sign, wy_sign} <= {w[7] ^ x[7], w[7] ^ y[7]};
    wx_place <= place(wide[0], w) + place(wide[1], x);
    wy_place <= place(wide[0], w) + place(wide[1], y);
  end
  function signed [BITS-1:0] placed(input [7:0] m, input [5:0] shift, input sign);
    reg [BITS-1:0] wide_product;
    begin
      wide_product = m;
      wide_product = wide_product << shift;
      placed = sign ? -wide_product : wide_product;
    end
  endfunction
  assign wx = placed(both[7:0], wx_place, wx_sign);
  assign wy = placed(both[24:17], wy_place, wy_sign);
endmodule
