"""The model as a graph: loading, saving, and the sites where a weight can be compressed.

Beside that: new nodes (`dtc.graph.builder`), the cells of LSTM and GRU (`dtc.graph.cells`), opsets (`dtc.graph.opset`).
"""

from dtc.graph.file_tensor import FileTensor, relocate
from dtc.graph.files import file_bytes, model_files
from dtc.graph.load import load_model
from dtc.graph.output import check_output, check_space, only_writer, publish
from dtc.graph.quantizers import Quantizer, bypass_quantizers, find_quantizers, share_scales
from dtc.graph.roles import CONVOLUTIONS, DENSE_ROLES, INPUT_ROLES, RECURRENT_ROLES, Role, view_of, weight_inputs
from dtc.graph.save import model_message, save_model
from dtc.graph.sites import Reader, Site, find_sites, site_of, why_no_site
from dtc.graph.views import MatrixView
from dtc.graph.walk import all_graphs, all_nodes, find_initializer, nesting, source_of

__all__ = [
    "CONVOLUTIONS",
    "DENSE_ROLES",
    "INPUT_ROLES",
    "RECURRENT_ROLES",
    "FileTensor",
    "MatrixView",
    "Quantizer",
    "Reader",
    "Role",
    "Site",
    "all_graphs",
    "all_nodes",
    "bypass_quantizers",
    "check_output",
    "check_space",
    "file_bytes",
    "find_initializer",
    "find_quantizers",
    "find_sites",
    "load_model",
    "model_files",
    "model_message",
    "nesting",
    "only_writer",
    "publish",
    "relocate",
    "save_model",
    "share_scales",
    "site_of",
    "source_of",
    "view_of",
    "weight_inputs",
    "why_no_site",
]
