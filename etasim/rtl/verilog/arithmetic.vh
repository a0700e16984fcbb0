// Arithmetic of docs/models/arithmetic.md on 64-bit integers.
function automatic signed [63:0] round_shift(input signed [63:0] v, input signed [63:0] s);
  if (s > 62) round_shift = 0;
  else if (s > 0) round_shift = (v + ((64'sd1 <<< (s - 1)) - 1 + ((v >>> s) & 64'sd1))) >>> s;
  else round_shift = v <<< -s;
endfunction
function automatic signed [63:0] clip(input signed [63:0] v, input signed [63:0] limit);
  clip = v > limit ? limit : v < -limit ? -limit : v;
endfunction
function automatic signed [63:0] magnitude(input signed [63:0] v);
  magnitude = v < 0 ? -v : v;
endfunction
// clip(round_shift(v, s), limit) where the quotient itself may not fit.
function automatic signed [63:0] stored(input signed [63:0] v, input signed [63:0] s, input signed [63:0] limit);
  if (s >= 0) stored = clip(round_shift(v, s), limit);
  else if (magnitude(v) > (limit >>> (-s > 62 ? 62 : -s))) stored = v > 0 ? limit : -limit;
  else stored = v <<< (-s > 62 ? 62 : -s);
endfunction
function automatic [7:0] bit_length(input [63:0] v);
  reg [63:0] left;
  begin
    left = v;
    bit_length = 0;
    while (left != 0) begin left = left >> 1; bit_length = bit_length + 1; end
  end
endfunction
// v / n by a reciprocal of 16 bits, to nearest even.
function automatic signed [63:0] div(input signed [63:0] v, input signed [63:0] n);
  reg signed [63:0] m, rest;
  reg signed [63:0] s;
  begin
    s = 15 + bit_length(n);
    m = (64'sd1 <<< s) / n;
    rest = (64'sd1 <<< s) % n;
    if (2 * rest > n || (2 * rest == n && m[0])) m = m + 1;
    div = round_shift(v * m, s);
  end
endfunction
function automatic signed [63:0] side(input signed [63:0] v);
  side = v > 0 ? 64'sd1 : v < 0 ? -64'sd1 : 64'sd0;
endfunction
// A code of `bits` with `segments` of `m` bits of magnitude for v / 2^s.
function automatic [15:0] encode(input signed [63:0] v, input signed [63:0] s, input [7:0] m, input [7:0] segments, input [7:0] bits);
  reg signed [63:0] t, r, top;
  reg [7:0] k;
  reg carry;
  begin
    t = magnitude(v);
    k = 0;
    while (k + 1 < segments && (t >>> (m * (k + 1) + s < 0 ? 0 : m * (k + 1) + s > 63 ? 63 : m * (k + 1) + s)) != 0) k = k + 1;
    r = stored(t, s + m * k, 64'sd1 <<< m);
    carry = (r >>> m) != 0;
    top = (k <<< m) + r + (carry ? (k + 1 < segments ? 64'sd1 : -64'sd1) : 64'sd0);
    encode = top[15:0] | (v < 0 && r > 0 ? 16'd1 << (bits - 1) : 16'd0);
  end
endfunction
