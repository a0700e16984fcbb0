"""Hardware in Verilog, written from the documents, beside the parts that it is for: ``etasim validate rtl``."""
