"""The contract between the operator and the SDK: a leaf package, imported by both, importing neither.

`flowcluster_api.driver` needs the standard library only, so that the SDK starts quickly;
`flowcluster_api.v1alpha1` holds the pydantic models from which the CRD is generated.
"""

#: Version of the whole project. `make generate` writes it into chart and documents.
__version__ = "0.1.0"
