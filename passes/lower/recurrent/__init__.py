"""LSTM and GRU nodes in lowered graphs: as operators of the domain `dtc`, or as a Scan."""
