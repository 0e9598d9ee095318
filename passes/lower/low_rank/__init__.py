"""Lowering of the low-rank form."""

from dtc.forms import LowRank
from dtc.forms.composite import Product
from dtc.passes.lower.kinds import FormKind
from dtc.passes.lower.low_rank.lowering import lower, refuse

KIND = FormKind(form=LowRank, lower=lower, refuse=refuse, recurrent=("low_rank",), merges_into=Product)
