"""Inference requests of one input, as JSON says them."""


def tensor(datatype="FP32", shape=(1, 4), name="x", **more):
    return {"name": name, "datatype": datatype, "shape": list(shape), **more}


def one(datatype="FP32", shape=(1, 4), **more):
    """Return a request for an identity model."""
    return {"inputs": [tensor(datatype, shape, **more)]}
