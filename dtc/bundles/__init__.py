"""Bundles: a folder with a model and all that a device needs to run it, made for a target and checked as it is.

`making` writes one, `checking` builds and runs it; what is special to a target lies in `deploy/targets/`.
"""

from dtc.bundles.checking import check_bundle
from dtc.bundles.document import BundleCheck, BundleDescription
from dtc.bundles.making import DeployOptions, deploy

__all__ = ["BundleCheck", "BundleDescription", "DeployOptions", "check_bundle", "deploy"]
