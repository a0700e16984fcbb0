// Plays a router's neighbours as recorded: flits that arrive, credits that come back.
module router_tb;
  parameter PORTS = 5, VCS = 2, DEPTH = 4, SPECULATIVE = 1, ROUTES = 64;
  localparam FLIT = 32;
  reg clk = 0;
  integer now = 0, file, n, cycle, end_cycle, p, lane, route, length, data;
  reg [7:0] kind;
  reg [PORTS-1:0] arrives;
  reg [PORTS*8-1:0] arrives_lane, arrives_length;
  reg [PORTS*16-1:0] arrives_route;
  reg [PORTS*FLIT-1:0] arrives_data;
  reg [PORTS*VCS-1:0] credit;
  wire [PORTS-1:0] sent;
  wire [PORTS*8-1:0] sent_lane, sent_length;
  wire [PORTS*16-1:0] sent_route;
  wire [PORTS*FLIT-1:0] sent_data;
  wire [PORTS*VCS-1:0] released;
  router #(PORTS, VCS, DEPTH, FLIT, SPECULATIVE, ROUTES) dut (clk, arrives, arrives_lane, arrives_route, arrives_length, arrives_data, credit,
    sent, sent_lane, sent_route, sent_length, sent_data, released);
  initial begin
    $readmemh("ports.hex", dut.route_ports);
    $readmemh("vcs.hex", dut.route_vcs);
    file = $fopen("stimuli.txt", "r");
    n = $fscanf(file, "%d", end_cycle);
    n = $fscanf(file, "%d %c", cycle, kind);
    while (now < end_cycle) begin
      arrives = 0; credit = 0;
      while (n == 2 && cycle == now) begin
        case (kind)
          "F": begin
            n = $fscanf(file, "%d %d %d %d %d", p, lane, route, length, data);
            arrives[p] = 1;
            arrives_lane[8*p +: 8] = lane; arrives_route[16*p +: 16] = route; arrives_length[8*p +: 8] = length;
            arrives_data[FLIT*p +: FLIT] = data;
          end
          "c": begin n = $fscanf(file, "%d", p); credit[p] = 1; end
        endcase
        n = $fscanf(file, "%d %c", cycle, kind);
      end
      #1 clk = 1;
      #1 clk = 0;
      for (p = 0; p < PORTS; p = p + 1) if (sent[p])
        $display("%0d sent.%0d %0d %0d %0d %0d", now, p, sent_lane[8*p +: 8], sent_route[16*p +: 16], sent_length[8*p +: 8], sent_data[FLIT*p +: FLIT]);
      for (p = 0; p < PORTS * VCS; p = p + 1) if (released[p]) $display("%0d released.%0d", now, p);
      now = now + 1;
    end
    $finish;
  end
endmodule
