"""LSTM and GRU with weights in any form."""
